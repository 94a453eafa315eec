// The page: what is seen, how one moves, and what a machine may ask about it.

let facts = {};

const draw = () => {
  readColours();
  const [context, w] = fit(field, FIELD_H);
  width = w;
  taken = [];
  drawn = [];
  drawLanes(context);
  drawReigns(context);
  drawFaults(context);
  drawLives(context);
  if (run.failure) drawMoment(context, run.failure.at, `✗ ${run.failure.checker}`, colours.bad, [], run.failure.message.split("\n")[0]);
  if (run.heal < run.end) drawMoment(context, run.heal, "all faults end", colours.quiet, [4, 4]);
  drawAxis(context);
  facts = drawEvents(context);
  drawOverview();
  const span = view.until - view.from;
  const digits = digitsFor(span);
  document.getElementById("span").textContent = `${seconds(view.from, digits)} to ${seconds(view.until, digits)}`;
  tellMachine();
};

const drawOverview = () => {
  const [context, w] = fit(overview, 40);
  const x = (us) => (us / END) * w;
  context.fillStyle = colours.stripe;
  context.fillRect(0, 0, w, 40);
  for (const reign of reigns) {
    context.fillStyle = termColour(reign.term);
    context.fillRect(x(reign.from), 4, Math.max(1, x(reign.until) - x(reign.from)), 12);
  }
  context.globalAlpha = 0.35;
  for (const fault of faults) {
    context.fillStyle = colours[PATTERNS[fault.word] ?? "fault"];
    context.fillRect(x(fault.from), isServer[fault.host] ? 19 : 27, Math.max(1, x(fault.until) - x(fault.from)), 7);
  }
  context.globalAlpha = 1;
  if (run.failure) {
    context.fillStyle = colours.bad;
    context.fillRect(Math.min(w - 2, x(run.failure.at)), 0, 2, 40);
  }
  const [left, right] = [x(view.from), Math.max(x(view.until), x(view.from) + 3)];
  context.fillStyle = colours.paper;
  context.globalAlpha = 0.66;
  context.fillRect(0, 0, left, 40);
  context.fillRect(right, 0, w - right, 40);
  context.globalAlpha = 1;
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.strokeRect(left + 1, 1, Math.max(2, right - left - 2), 38);
};

let isPlanned = false;
const drawSoon = () => {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    draw();
  });
};

const look = (from, until) => {
  const span = Math.min(END, Math.max(SPAN_MIN, until - from));
  view.from = Math.max(0, Math.min(END - span, from));
  view.until = view.from + span;
  drawSoon();
};
const zoom = (factor, around = (view.from + view.until) / 2) => {
  look(around - (around - view.from) * factor, around + (view.until - around) * factor);
};
const shift = (share) => look(view.from + (view.until - view.from) * share, view.until + (view.until - view.from) * share);

const chooseEvent = (i, isMoving) => {
  view.chosen = i;
  if (i >= 0 && isMoving && (at[i] < view.from || view.until < at[i])) {
    const span = view.until - view.from;
    look(at[i] - span / 2, at[i] + span / 2);
  }
  showDetail();
  drawSoon();
};

/// The next or the previous event that is shown: of what was found, if something was.
const stepEvent = (way) => {
  const from = view.chosen >= 0 ? view.chosen : way > 0 ? firstAt(view.from) - 1 : firstAt(view.until);
  for (let i = from + way; 0 <= i && i < count; i += way) {
    if (isShown(i) && !isDull(i) && (isFound === null || isFound[i])) {
      chooseEvent(i, true);
      return;
    }
  }
};

/// What happened last before the failure: as much as can be read at once.
const FAILURE_EVENTS = 120;
const goToFailure = () => {
  if (!run.failure) return;
  let left = FAILURE_EVENTS;
  let i = count - 1;
  while (i > 0 && left > 0) {
    if (isShown(i) && !isDull(i)) left -= 1;
    i -= 1;
  }
  const before = Math.min(5e6, Math.max(2e4, run.failure.at - at[i]));
  look(run.failure.at - before, run.failure.at + before * 0.04);
};

const place = (event) => {
  const box = field.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};

const listen = () => {
  const on = (id, act) => document.getElementById(id)?.addEventListener("click", act);
  on("zoom-in", () => zoom(0.5));
  on("zoom-out", () => zoom(2));
  on("zoom-all", () => look(0, END));
  on("previous", () => stepEvent(-1));
  on("next", () => stepEvent(1));
  on("go-failure", () => { goToFailure(); document.getElementById("timeline").scrollIntoView({ block: "nearest" }); });
  const search = document.getElementById("search");
  search.addEventListener("input", () => {
    find(search.value);
    tellFound();
    view.chosen = -1;
    showDetail();
    drawSoon();
  });
  search.addEventListener("keydown", (event) => { if (event.key === "Enter") stepEvent(event.shiftKey ? -1 : 1); });
  const tip = document.getElementById("tip");
  let drag = null;
  field.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, from: view.from, until: view.until, moved: false };
    field.setPointerCapture(event.pointerId);
  });
  field.addEventListener("pointermove", (event) => {
    if (drag !== null) {
      const by = event.clientX - drag.x;
      drag.moved ||= Math.abs(by) > 3;
      if (drag.moved) {
        field.classList.add("moving");
        tip.hidden = true;
        const us = (by / width) * (drag.until - drag.from);
        look(drag.from - us, drag.until - us);
      }
      return;
    }
    const { x, y } = place(event);
    const i = hit(x, y);
    field.classList.toggle("over", i >= 0);
    tip.hidden = i < 0;
    if (i >= 0) {
      tip.textContent = `${seconds(at[i], 6)}  ${whoOf(i)}  ${textOf(i)}`;
      tip.style.left = `${Math.max(0, Math.min(x + 14, width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${Math.min(y + 16, FIELD_H - tip.offsetHeight)}px`;
    }
  });
  field.addEventListener("pointerup", (event) => {
    field.classList.remove("moving");
    if (drag !== null && !drag.moved) {
      const { x, y } = place(event);
      chooseEvent(hit(x, y), false);
    }
    drag = null;
  });
  field.addEventListener("pointerleave", () => { tip.hidden = true; });
  field.addEventListener("dblclick", (event) => zoom(0.4, usOf(place(event).x)));
  field.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.008), usOf(place(event).x));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      shift((event.deltaX || event.deltaY) / width);
    }
  }, { passive: false });
  const brush = (event) => {
    const box = overview.getBoundingClientRect();
    const us = ((event.clientX - box.left) / box.width) * END;
    const span = Math.min(view.until - view.from, END / 4);
    look(us - span / 2, us + span / 2);
  };
  overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); brush(event); });
  overview.addEventListener("pointermove", (event) => { if (event.buttons === 1) brush(event); });
  const keys = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "−": () => zoom(2), "0": () => look(0, END), n: () => stepEvent(1), p: () => stepEvent(-1), f: goToFailure, ArrowLeft: () => shift(-0.2), ArrowRight: () => shift(0.2), Escape: () => chooseEvent(-1, false) };
  field.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  new ResizeObserver(drawSoon).observe(field);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
};

/// The part behind `#`: `view=12.5-13`, `find=words`, `event=first` of what was found, and `check`, which
/// writes into the page where everything stands.
const wishes = new Map(decodeURIComponent(location.hash.slice(1)).split("&").map((wish) => { const [name, ...value] = wish.split("="); return [name, value.join("=")]; }));

const follow = () => {
  const stretchWanted = /^([\d.]+)-([\d.]+)$/.exec(wishes.get("view") ?? "");
  if (stretchWanted) look(Number(stretchWanted[1]) * 1e6, Number(stretchWanted[2]) * 1e6);
  if (wishes.has("failure")) goToFailure();
  if (wishes.has("find")) {
    document.getElementById("search").value = wishes.get("find");
    find(wishes.get("find"));
    tellFound();
    showDetail();
  }
  if (wishes.has("event")) chooseEvent(wishes.get("event") === "last" ? found[found.length - 1] ?? -1 : found[0] ?? -1, true);
};

const boxOf = (node) => {
  const { left, top, width: w, height: h } = node.getBoundingClientRect();
  return { x: left, y: top, w, h };
};
const overlap = (a, b) => a.x + 0.5 < b.x + b.w && b.x + 0.5 < a.x + a.w && a.y + 0.5 < b.y + b.h && b.y + 0.5 < a.y + a.h;
const pairs = (boxes) => {
  const found = [];
  boxes.forEach((a, place) => boxes.slice(place + 1).forEach((b) => { if (overlap(a, b)) found.push(`${a.text} / ${b.text}`); }));
  return found;
};

const tellMachine = () => {
  if (!wishes.has("check")) return;
  const named = (selector) => [...document.querySelectorAll(selector)].map((node) => ({ ...boxOf(node), text: node.textContent.trim().slice(0, 40) || node.id }));
  const laneBoxes = named("#lanes li");
  const texts = named("h1, .facts > div, #verdict > *, .tools button, .search, #found, #span, .kinds label, .hint, .overview canvas, #timeline, #detail, .sheet").filter((box) => box.w > 0 && box.h > 0);
  const told = {
    lanes: laneBoxes.map((box) => box.text),
    lanesInLine: lanes.every((lane) => Math.abs(boxOf(document.getElementById(`lane-${lane.name}`)).y - boxOf(field).y - lane.y) < 1),
    laneOverlaps: pairs(laneBoxes),
    clipped: [...document.querySelectorAll("#lanes li, button, .kinds label")].filter((node) => node.scrollWidth > node.clientWidth + 1).map((node) => node.textContent),
    labels: drawn.map((box) => box.text),
    labelOverlaps: pairs(drawn),
    labelsOutside: drawn.filter((box) => box.x < 0 || box.y < 0 || width < box.x + box.w || FIELD_H < box.y + box.h).map((box) => box.text),
    textOverlaps: pairs(texts),
    wider: document.documentElement.scrollWidth - innerWidth,
    events: count, inSight: facts.events, arrows: facts.arrows, marks: facts.marks, found: found.length,
    chosen: detail.textContent.slice(0, 400),
  };
  let told_to = document.getElementById("told");
  if (told_to === null) {
    told_to = element("pre", { id: "told", hidden: true });
    document.body.append(told_to);
  }
  told_to.textContent = JSON.stringify(told);
};

readColours();
makeLanes();
makeKinds();
listen();
follow();
draw();
