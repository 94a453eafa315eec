// What is told in words beside the field: the chosen event, what was found, which kinds are shown.

const detail = document.getElementById("detail");

const element = (name, properties = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
};

const eventButton = (i) => {
  const button = element("button", { type: "button" }, element("b", {}, seconds(at[i], 6)), ` ${whoOf(i)}  ${textOf(i)}`);
  button.style.setProperty("--kind", colours[kindOf(i)]);
  button.addEventListener("click", () => chooseEvent(i, true));
  return element("li", {}, button);
};

const list = (heading, events) => {
  if (events.length === 0) return [];
  return [element("h3", {}, heading), element("ol", { className: "events" }, ...events.map(eventButton))];
};

const fateOf = (i) => {
  if (isLost(i)) return isMessage(i) ? "never arrives" : "never done";
  if (isPending(i)) return isMessage(i) ? "had not arrived at the end" : "was not done at the end";
  return isMessage(i) ? `sent at ${seconds(since(i), 6)}, ${(run.took[i] / 1000).toFixed(3)} ms on its way` : "";
};

const showDetail = () => {
  const i = view.chosen;
  if (i < 0) {
    showFound();
    return;
  }
  const facts = [["Time", seconds(at[i], 6)], ["Host", whoOf(i)], ["Kind", kindOf(i)], ["Way", fateOf(i)]];
  const rows = facts.filter(([, value]) => value !== "").flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  detail.replaceChildren(
    element("h2", {}, "Event"),
    element("p", { className: "what" }, textOf(i)),
    element("dl", {}, ...rows),
    ...list("Caused by, nearest first", causesOf(i, 12)),
    ...list("Led to", childrenOf(i, 20)),
  );
};

const FOUND_SHOWN = 60;
const showFound = () => {
  if (isFound === null) {
    detail.replaceChildren(element("h2", {}, "Event"), element("p", { className: "quiet" }, "Choose an event in the timeline, or search for one."));
    return;
  }
  const note = found.length > FOUND_SHOWN ? `The first ${FOUND_SHOWN} of ${found.length}.` : "";
  detail.replaceChildren(element("h2", {}, "Found"), element("p", { className: "quiet" }, note), ...list("Oldest first", found.slice(0, FOUND_SHOWN)));
};

const makeKinds = () => {
  const box = document.getElementById("kinds");
  const counts = new Array(kinds.length).fill(0);
  for (let i = 0; i < count; i += 1) counts[run.kind[i]] += 1;
  kinds.forEach((kind, place) => {
    if (counts[place] === 0) return;
    const input = element("input", { type: "checkbox", checked: shownKinds.has(kind), value: kind });
    input.addEventListener("change", () => {
      if (input.checked) shownKinds.add(kind); else shownKinds.delete(kind);
      find(document.getElementById("search").value);
      tellFound();
      draw();
    });
    const dot = element("i", { ariaHidden: "true" });
    dot.style.color = `var(--${kind})`;
    box.append(element("label", { title: `${counts[place]} events` }, input, dot, element("span", {}, kind)));
  });
};

const makeLanes = () => {
  const box = document.getElementById("lanes");
  box.style.height = `${FIELD_H}px`;
  const axis = element("li", { className: "axis" }, "time");
  axis.style.height = `${AXIS_H}px`;
  box.append(axis);
  let unnamed = 0;
  for (const lane of lanes) {
    const isNamed = lane.kind !== "client" || unnamed % NAME_EVERY === 0;
    unnamed += lane.kind === "client" ? 1 : 0;
    const item = element("li", { className: lane.kind, id: `lane-${lane.name}`, ariaLabel: lane.name, title: lane.name }, isNamed ? element("span", {}, lane.name) : "");
    item.style.height = `${lane.h}px`;
    box.append(item);
  }
};

const tellFound = () => {
  document.getElementById("found").textContent = isFound === null ? "" : `${found.length} found`;
};
