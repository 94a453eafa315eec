// The field: lanes, bands, arrows and what is written on them, as much as there is room for.

const field = document.getElementById("field");
const overview = document.getElementById("overview");
const AXIS_H = 28, PLAN_H = 26, SERVER_H = 56;
/// Many clients get low lanes: a canvas has its bounds, and so has a reader's patience.
const clients = isServer.filter((is) => !is).length;
const CLIENT_H = clients <= 40 ? 24 : clients <= 150 ? 14 : clients <= 1000 ? 8 : 3;
/// Of how many lanes one is named.
const NAME_EVERY = Math.ceil(13 / CLIENT_H);
/// Of a server's lane: the strip that says in which term it leads.
const REIGN_H = 15;
const FONT = (size, weight) => `${weight ?? 400} ${size}px ${getComputedStyle(document.documentElement).getPropertyValue("--sans")}`;

/// Lanes from top to bottom; host -1 is the plan.
const lanes = [{ host: -1, name: "plan", kind: "plan", y: AXIS_H, h: PLAN_H }];
const laneOf = new Map([[-1, lanes[0]]]);
const addLane = (host) => {
  const last = lanes[lanes.length - 1];
  const lane = { host, name: hosts[host], kind: isServer[host] ? "server" : "client", y: last.y + last.h, h: isServer[host] ? SERVER_H : CLIENT_H };
  lanes.push(lane);
  laneOf.set(host, lane);
};
hosts.forEach((_, host) => { if (isServer[host]) addLane(host); });
hosts.forEach((_, host) => { if (!isServer[host]) addLane(host); });
const FIELD_H = lanes[lanes.length - 1].y + lanes[lanes.length - 1].h + 2;
const middleOf = (lane) => (lane.kind === "server" ? lane.y + REIGN_H + (lane.h - REIGN_H) / 2 : lane.y + lane.h / 2);
const yOf = (host) => middleOf(laneOf.get(host));

/// What is seen: a stretch of time, and what was chosen.
const END = Math.max(run.end, 1);
const SPAN_MIN = 50;
const view = { from: 0, until: END, chosen: -1 };
let width = 0;
const xOf = (us) => ((us - view.from) / (view.until - view.from)) * width;
const usOf = (x) => view.from + (x / width) * (view.until - view.from);

let colours = {};
const readColours = () => {
  const style = getComputedStyle(document.documentElement);
  colours = new Proxy({}, { get: (known, name) => (known[name] ??= style.getPropertyValue(`--${name}`).trim()) });
};
const termColour = (term) => colours[`term-${term % 6}`];

/// Whatever was written or drawn for itself: nothing is put over it.
let taken = [], drawn = [];
const isFree = (box) => taken.every((other) => box.x + box.w <= other.x || other.x + other.w <= box.x || box.y + box.h <= other.y || other.y + other.h <= box.y);
const take = (box) => taken.push(box);

/// Writes a text if there is room for it, and remembers where.
const write = (context, text, x, y, { size = 11, weight, colour, most = 320, backed = false, last = false } = {}) => {
  context.font = FONT(size, weight);
  let shown = text;
  let w = context.measureText(shown).width;
  if (w > most) {
    const keep = Math.floor((shown.length * most) / w) - 1;
    if (keep < 6) return false;
    shown = `${shown.slice(0, keep)}…`;
    w = context.measureText(shown).width;
  }
  const box = { x: x - 2, y: y - size / 2 - 2, w: w + 4, h: size + 4, text: shown };
  if (box.x < 0 || width < box.x + box.w || !isFree(box)) return false;
  take(box);
  drawn.push(box);
  const now = () => paint(context, shown, box, x, y, { size, weight, colour, backed });
  if (last) lasting.push(now); else now();
  return true;
};

/// What is painted over all marks: its place is taken before them.
let lasting = [];
const paint = (context, shown, box, x, y, { size, weight, colour, backed }) => {
  context.font = FONT(size, weight);
  if (backed) {
    context.globalAlpha = 0.86;
    context.fillStyle = colours.card;
    context.fillRect(box.x, box.y, box.w, box.h);
    context.globalAlpha = 1;
  }
  context.fillStyle = colour ?? colours.ink;
  context.textBaseline = "middle";
  context.fillText(shown, x, y + 0.5);
};

const fit = (canvas, height) => {
  const scale = window.devicePixelRatio || 1;
  const w = canvas.clientWidth;
  if (canvas.width !== Math.round(w * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(w * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, w, height);
  return [context, w];
};

const STEPS = [1, 2, 5];
const stepFor = (span, room) => {
  const least = span / Math.max(1, room / 110);
  for (let power = 1; ; power *= 10) {
    for (const step of STEPS) if (step * power >= least) return step * power;
  }
};

const drawAxis = (context) => {
  context.lineWidth = 1;
  const span = view.until - view.from;
  const step = stepFor(span, width);
  const digits = Math.max(0, 6 - Math.floor(Math.log10(step)));
  for (let tick = Math.ceil(view.from / step) * step; tick <= view.until; tick += step) {
    const x = Math.round(xOf(tick)) + 0.5;
    context.strokeStyle = colours.line;
    context.beginPath();
    context.moveTo(x, AXIS_H - 6);
    context.lineTo(x, FIELD_H);
    context.stroke();
    write(context, seconds(tick, digits), Math.max(3, x + 4), AXIS_H / 2 - 1, { colour: colours.quiet });
  }
};

const drawLanes = (context) => {
  lanes.forEach((lane, place) => {
    context.fillStyle = place % 2 === 0 ? colours.stripe : colours.card;
    context.fillRect(0, lane.y, width, lane.h);
    context.strokeStyle = colours.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, lane.y + 0.5);
    context.lineTo(width, lane.y + 0.5);
    context.stroke();
  });
};

/// A stretch of time in pixels, at least wide enough to be seen; nothing if it is out of sight.
const stretch = (from, until, least) => {
  if (until < view.from || view.until < from) return null;
  const x = Math.max(-4, xOf(from));
  return { x, w: Math.max(least, Math.min(width + 4, xOf(until)) - x) };
};

const drawReigns = (context) => {
  for (const reign of reigns) {
    const lane = laneOf.get(reign.host);
    const at = stretch(reign.from, reign.until, 1.5);
    if (at === null || !lane) continue;
    context.fillStyle = termColour(reign.term);
    context.globalAlpha = 0.1;
    context.fillRect(at.x, lane.y + 1, at.w, lane.h - 1);
    context.globalAlpha = 0.5;
    context.fillRect(at.x, lane.y + 1, at.w, REIGN_H);
    context.globalAlpha = 1;
    context.fillRect(at.x, lane.y + 1, Math.min(at.w, 2), REIGN_H);
  }
};

const PATTERNS = { "down": "down", "power off": "power", "paused": "paused", "cut off": "cut", "slow disk": "slow", "full disk": "full" };
const drawFaults = (context) => {
  for (const fault of faults) {
    const lane = laneOf.get(fault.host);
    const at = fault.until > fault.from ? stretch(fault.from, fault.until, 1.5) : null;
    if (at === null || !lane) continue;
    const colour = colours[PATTERNS[fault.word] ?? "fault"];
    const isDisk = fault.word.endsWith("disk");
    const isGone = fault.word === "down" || fault.word === "power off";
    const strip = lane.kind === "server" ? REIGN_H : 0;
    const pad = lane.h < 14 ? 0.5 : 3;
    const height = isDisk ? Math.min(4, lane.h / 3) : lane.h - strip - 2 * pad;
    const top = isDisk ? lane.y + lane.h - height - 1 : lane.y + strip + pad;
    context.save();
    context.beginPath();
    context.rect(at.x, top, at.w, height);
    context.clip();
    context.fillStyle = colour;
    context.globalAlpha = isDisk ? 0.55 : isGone ? 0.3 : 0.16;
    context.fillRect(at.x, top, at.w, height);
    if (!isDisk) {
      context.globalAlpha = isGone ? 0.55 : 0.4;
      context.strokeStyle = colour;
      context.lineWidth = 1;
      context.beginPath();
      const slant = fault.word === "cut off" ? -1 : 1;
      for (let x = Math.floor(at.x / 7) * 7 - height; x < at.x + at.w + height; x += 7) {
        context.moveTo(x, slant > 0 ? top + height : top);
        context.lineTo(x + height, slant > 0 ? top : top + height);
      }
      if (fault.word === "paused") {
        context.beginPath();
        for (let x = Math.floor(at.x / 6) * 6; x < at.x + at.w; x += 6) {
          context.moveTo(x, top);
          context.lineTo(x, top + height);
        }
      }
      context.stroke();
    }
    context.restore();
    context.globalAlpha = 1;
  }
};

const drawLives = (context) => {
  context.fillStyle = colours.task;
  for (const life of lives) {
    const lane = laneOf.get(life.host);
    const at = stretch(life.from, life.until, 1);
    if (at === null || !lane) continue;
    context.globalAlpha = 0.75;
    const pad = lane.h < 14 ? 1 : 4;
    const row = (lane.h - 2 * pad) / LIFE_ROWS;
    context.fillRect(at.x, lane.y + pad + life.row * row, Math.max(1, at.w - 1), Math.max(1, row - 1));
  }
  context.globalAlpha = 1;
};

/// What bands mean, where they are wide enough to say it.
const writeBands = (context) => {
  for (const reign of reigns) {
    const lane = laneOf.get(reign.host);
    const at = stretch(reign.from, reign.until, 0);
    if (at === null || at.w < 34) continue;
    const x = Math.max(4, at.x + 5);
    const text = at.w > 110 ? `leads, term ${reign.term}` : at.w > 58 ? `term ${reign.term}` : `${reign.term}`;
    write(context, text, x, lane.y + 1 + REIGN_H / 2, { size: 11, weight: 600, most: at.x + at.w - x - 4 });
  }
  for (const fault of faults) {
    const lane = laneOf.get(fault.host);
    const at = fault.until > fault.from ? stretch(fault.from, fault.until, 0) : null;
    if (at === null || at.w < 54 || lane.h < 14 || fault.word.endsWith("disk")) continue;
    const x = Math.max(4, at.x + 5);
    const y = lane.kind === "server" ? lane.y + lane.h - 12 : lane.y + lane.h / 2;
    write(context, fault.word, x, y, { size: 10.5, most: at.x + at.w - x - 4, backed: true });
  }
  for (const life of lives) {
    const lane = laneOf.get(life.host);
    const at = stretch(life.from, life.until, 0);
    if (at === null || at.w < 96 || lane.h < 20) continue;
    const x = Math.max(4, at.x + 12);
    write(context, life.name.split(" ")[0], x, lane.y + 5.5 + life.row * ((lane.h - 8) / LIFE_ROWS), { size: 10, colour: colours.task, most: at.x + at.w - x - 4, backed: true });
  }
};

/// A moment of the whole world.
const drawMoment = (context, us, text, colour, dash, message = "") => {
  if (us < view.from || view.until < us) return;
  const x = Math.min(width - 1, Math.round(xOf(us))) + 0.5;
  context.strokeStyle = colour;
  context.lineWidth = dash.length === 0 ? 2 : 1;
  context.setLineDash(dash);
  context.beginPath();
  context.moveTo(x, AXIS_H - 4);
  context.lineTo(x, FIELD_H);
  context.stroke();
  context.setLineDash([]);
  context.font = FONT(12, 650);
  const w = context.measureText(text).width;
  const left = x + w + 10 < width ? x + 6 : x - w - 8;
  write(context, text, left, AXIS_H / 2 - 1, { size: 12, weight: 650, colour, most: 400, backed: true, last: true });
  if (message === "") return;
  context.font = FONT(11.5);
  const room = Math.max(x - 12, width - x - 12) - 4;
  const long = Math.min(context.measureText(message).width, room);
  const start = x - 12 > width - x - 12 ? x - 8 - long : x + 8;
  write(context, message, start, lanes[0].y + lanes[0].h / 2, { size: 11.5, colour, most: room, backed: true, last: true });
};
