// Events: arrows for messages, marks for the rest, and a histogram where there are too many of them.

const ARROWS_MAX = 900, DULL_ARROWS_MAX = 350, ARROW_LABELS_MAX = 90;
/// Pixels for each mark of a lane, so that they can be told apart.
const MARK_ROOM = 26;
const BIN = 4;
/// How much an event matters: 0 is drawn at any zoom.
const WEIGHTS = { fault: 1, checker: 0, election: 2, request: 2, plan: 2, task: 3, commit: 3, snapshot: 3, raft: 4, work: 4, disk: 5, link: 5, heartbeat: 6, gossip: 6, timer: 6 };
const MARK_SORTS = { leads: 0, down: 0, start: 0, halt: 0 };
const weightOf = (i) => MARK_SORTS[sortOf(i)] ?? WEIGHTS[kindOf(i)] ?? 6;

/// What can be hit with the pointer: marks and arrows on the field.
let targets = [];

/// Events in sight that somebody wants to see; a message is in sight while it travels.
const inSight = () => {
  const events = [];
  const slack = Math.min(5e6, Math.max(2e5, (view.until - view.from) * 0.5));
  for (let i = firstAt(view.from); i < count && at[i] <= view.until + slack; i += 1) {
    if (!isShown(i)) continue;
    if (at[i] <= view.until || (isMessage(i) && since(i) <= view.until)) events.push(i);
  }
  return events;
};

const drawHistogram = (context, events) => {
  const bins = Math.ceil(width / BIN);
  const most = {};
  const counted = new Map();
  for (const i of events) {
    const bin = Math.floor(xOf(at[i]) / BIN);
    if (bin < 0 || bins <= bin) continue;
    for (const host of isMessage(i) ? [run.host[i], run.peer[i]] : [run.host[i]]) {
      let row = counted.get(host);
      if (!row) counted.set(host, (row = new Uint32Array(bins)));
      row[bin] += 1;
      most[isServer[host]] = Math.max(most[isServer[host]] ?? 0, row[bin]);
    }
  }
  for (const [host, row] of counted) {
    if (host < 0) continue;
    const lane = laneOf.get(host);
    const room = lane.kind === "server" ? lane.h * 0.4 : lane.h * 0.22;
    const full = Math.log2(1 + most[isServer[host]]);
    context.fillStyle = colours.raft;
    context.globalAlpha = 0.32;
    for (let bin = 0; bin < bins; bin += 1) {
      if (row[bin] === 0) continue;
      const h = Math.max(1, (Math.log2(1 + row[bin]) / full) * room);
      context.fillRect(bin * BIN, lane.y + lane.h - h, BIN - 1, h);
    }
    context.globalAlpha = 1;
  }
};

const drawArrow = (context, i, isStrong, hasHead) => {
  const from = { x: xOf(since(i)), y: yOf(run.host[i]) };
  const isOpen = isLost(i) || isPending(i);
  let to = { x: xOf(at[i]), y: yOf(run.peer[i]) };
  if (isOpen) {
    const way = Math.sign(to.y - from.y) || 1;
    const length = Math.min(26, Math.abs(to.y - from.y) * 0.6);
    to = { x: from.x + length * 0.55, y: from.y + way * length };
  }
  context.strokeStyle = colours[kindOf(i)];
  context.globalAlpha = isStrong ? 1 : isDull(i) ? 0.35 : 0.75;
  context.lineWidth = isStrong ? 2.5 : 1.1;
  context.setLineDash(isOpen ? [3, 3] : []);
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y);
  context.stroke();
  context.setLineDash([]);
  if (isLost(i)) {
    context.globalAlpha = isDull(i) && !isStrong ? 0.5 : 1;
    context.strokeStyle = colours.bad;
    context.lineWidth = 1.6;
    context.beginPath();
    context.moveTo(to.x - 3, to.y - 3);
    context.lineTo(to.x + 3, to.y + 3);
    context.moveTo(to.x + 3, to.y - 3);
    context.lineTo(to.x - 3, to.y + 3);
    context.stroke();
  } else if (hasHead && !isOpen) {
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    context.fillStyle = colours[kindOf(i)];
    context.beginPath();
    context.moveTo(to.x, to.y);
    context.lineTo(to.x - 7 * Math.cos(angle - 0.4), to.y - 7 * Math.sin(angle - 0.4));
    context.lineTo(to.x - 7 * Math.cos(angle + 0.4), to.y - 7 * Math.sin(angle + 0.4));
    context.fill();
  }
  context.globalAlpha = 1;
  targets.push({ i, from, to });
};

const drawMark = (context, i, isStrong) => {
  const x = xOf(at[i]);
  const lane = laneOf.get(run.host[i]);
  const y = middleOf(lane);
  const r = isStrong ? 6 : lane.kind === "client" ? 3 : 4;
  const sort = sortOf(i);
  context.fillStyle = colours[kindOf(i)];
  context.strokeStyle = colours.card;
  context.lineWidth = 1;
  context.beginPath();
  if (sort === "leads") {
    context.rect(x - 0.5, y - 9, 2, 18);
    context.moveTo(x + 1, y - 9);
    context.lineTo(x + 11, y - 5);
    context.lineTo(x + 1, y - 1);
  } else if (sort === "down" || sort === "halt" || sort === "end") {
    context.moveTo(x - r, y - r * 0.8);
    context.lineTo(x + r, y - r * 0.8);
    context.lineTo(x, y + r);
  } else if (sort === "start" || sort === "begin") {
    context.moveTo(x - r, y + r * 0.8);
    context.lineTo(x + r, y + r * 0.8);
    context.lineTo(x, y - r);
  } else if (kindOf(i) === "commit" || kindOf(i) === "plan") {
    context.rect(x - 1.2, y - r - 2, 2.4, 2 * r + 4);
  } else if (kindOf(i) === "request") {
    context.moveTo(x, y - r - 1);
    context.lineTo(x + r + 1, y);
    context.lineTo(x, y + r + 1);
    context.lineTo(x - r - 1, y);
  } else {
    context.arc(x, y, r - 0.5, 0, Math.PI * 2);
  }
  context.closePath();
  context.fill();
  context.stroke();
  targets.push({ i, from: { x, y }, to: { x, y } });
};

const ring = (context, x, y, colour) => {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  context.arc(x, y, 8, 0, Math.PI * 2);
  context.stroke();
};

/// In every lane as many weights as there is room for, the most important first.
const choose = (events) => {
  const counts = new Map();
  for (const i of events) {
    const host = run.host[i];
    if (!counts.has(host)) counts.set(host, new Array(7).fill(0));
    counts.get(host)[weightOf(i)] += 1;
  }
  const least = new Map();
  for (const [host, weights] of counts) {
    const most = width / (host < 0 ? 10 : MARK_ROOM);
    let sum = 0;
    let weight = 0;
    while (weight < 7 && (sum += weights[weight]) <= most) weight += 1;
    // Of the plan at least the faults: those that stand close are one mark.
    least.set(host, host < 0 ? Math.max(2, weight) : weight);
  }
  return events.filter((i) => weightOf(i) < least.get(run.host[i]) || kindOf(i) === "checker");
};

const drawEvents = (context) => {
  const events = inSight();
  const messages = events.filter(isMessage);
  const isFar = view.until - view.from > 6e7;
  const marks = events.filter((i) => !isMessage(i) && !(isFar && kindOf(i) === "task"));
  const telling = messages.filter((i) => !isDull(i));
  const arrows = messages.length <= DULL_ARROWS_MAX ? messages : telling.length <= ARROWS_MAX ? telling : [];
  targets = [];
  if (arrows.length < messages.length) drawHistogram(context, events);
  const hasHeads = arrows.length < 320;
  for (const i of arrows) drawArrow(context, i, false, hasHeads);
  const order = choose(marks).sort((a, b) => weightOf(a) - weightOf(b) || a - b);
  const crowd = new Set();
  const kept = [];
  for (const i of order) {
    const place = `${run.host[i]}:${Math.floor(xOf(at[i]) / 7)}`;
    if (crowd.has(place) && weightOf(i) > 0) continue;
    crowd.add(place);
    kept.push(i);
  }
  for (const i of kept.slice().reverse()) drawMark(context, i, false);
  for (const i of kept) take({ x: xOf(at[i]) - 5, y: yOf(run.host[i]) - 5, w: 10, h: 10 });
  drawFound(context);
  drawChosen(context);
  writeBands(context);
  writeMarks(context, kept);
  writeArrows(context, arrows);
  lasting.forEach((now) => now());
  lasting = [];
  return { events: events.length, arrows: arrows.length, marks: kept.length };
};

/// Marks speak where there is room, the most important first.
const writeMarks = (context, marks) => {
  const isClose = view.until - view.from < 3e6;
  for (const i of marks) {
    const lane = laneOf.get(run.host[i]);
    if (!isClose && weightOf(i) > 2 && marks.length > 120) continue;
    if (view.until - view.from > 6e7 && lane.kind !== "plan" && sortOf(i) !== "plan") continue;
    if (sortOf(i) === "leads") continue;
    const text = isClose || lane.kind === "plan" ? textOf(i).replace(/^plan: /, "") : short(i);
    write(context, text, xOf(at[i]) + 8, middleOf(lane), { size: 10.5, colour: colours[kindOf(i)], most: isClose ? 260 : 150, backed: true });
  }
};
const short = (i) => textOf(i).replace(/^plan: /, "").split(/[;:(]/)[0].trim();

const DULL_LABELS_MAX = 16;
const writeArrows = (context, arrows) => {
  const telling = arrows.filter((i) => !isDull(i));
  const spoken = arrows.length <= DULL_LABELS_MAX ? arrows : telling.length <= ARROW_LABELS_MAX ? telling : [];
  for (const i of spoken) {
    const from = { x: xOf(since(i)), y: yOf(run.host[i]) };
    const to = { x: xOf(at[i]), y: yOf(run.peer[i]) };
    const isOpen = isLost(i) || isPending(i);
    const long = textOf(i).split("  ")[0];
    for (const share of isOpen ? [0] : [0.5, 0.3, 0.7]) {
      const x = from.x + (to.x - from.x) * share + 6;
      const y = isOpen ? from.y + Math.sign(to.y - from.y) * 16 : from.y + (to.y - from.y) * share;
      const style = { size: 10.5, colour: colours[kindOf(i)], most: 190, backed: true };
      if (write(context, long, x, y, style)) break;
    }
  }
};

const drawFound = (context) => {
  if (isFound === null) return;
  let before = -100;
  for (const i of found) {
    if (at[i] < view.from || view.until < at[i]) continue;
    const x = xOf(at[i]);
    if (found.length > 400 && x - before < 3) continue;
    before = x;
    ring(context, x, yOf(placeOf(i)), colours.accent);
  }
};

/// The chosen event and the way that led to it.
const drawChosen = (context) => {
  if (view.chosen < 0) return;
  for (const i of [view.chosen, ...causesOf(view.chosen, 40)]) {
    if (isMessage(i)) drawArrow(context, i, true, true); else if (laneOf.has(run.host[i])) drawMark(context, i, true);
  }
  ring(context, xOf(at[view.chosen]), yOf(placeOf(view.chosen)), colours.ink);
};

/// The event nearest to the pointer, or -1.
const hit = (x, y) => {
  let best = -1, nearest = 9;
  for (const { i, from, to } of targets) {
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const length = dx * dx + dy * dy;
    const share = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - from.x) * dx + (y - from.y) * dy) / length));
    const away = Math.hypot(x - from.x - share * dx, y - from.y - share * dy) + (length === 0 ? -2 : 0);
    if (away < nearest) [best, nearest] = [i, away];
  }
  return best;
};
