// The run as columns, and what can be asked of them.

const run = JSON.parse(document.getElementById("run").textContent);
const count = run.at.length;
const DULL = 1, LOST = 2, PENDING = 4;
/// Kinds that say the most come first; those behind the gap are off until somebody wants them.
const QUIET_KINDS = new Set(["heartbeat", "gossip", "link", "timer", "disk"]);
const kinds = run.kinds;
const shownKinds = new Set(kinds.filter((kind) => !QUIET_KINDS.has(kind)));
const hosts = run.hosts;
const isServer = hosts.map((name) => name.startsWith("s"));

const at = new Float64Array(count);
for (let i = 0, now = 0; i < count; i += 1) {
  now += run.at[i];
  at[i] = now;
}
const since = (i) => at[i] - run.took[i];
const isMessage = (i) => run.peer[i] >= 0;
const isLost = (i) => (run.flags[i] & LOST) !== 0;
const isPending = (i) => (run.flags[i] & PENDING) !== 0;
const isDull = (i) => (run.flags[i] & DULL) !== 0;
const kindOf = (i) => kinds[run.kind[i]];
const sortOf = (i) => run.sorts[run.sort[i]];
const textOf = (i) => run.texts[run.text[i]];
const causeOf = (i) => (run.cause[i] === 0 ? -1 : i - run.cause[i]);

/// Where an event is seen: a message that arrived is at who received it.
const placeOf = (i) => (isMessage(i) && !isLost(i) && !isPending(i) ? run.peer[i] : run.host[i]);

const whoOf = (i) => {
  const from = run.host[i] < 0 ? (kindOf(i) === "checker" ? "checker" : "plan") : hosts[run.host[i]];
  return isMessage(i) ? `${from} → ${hosts[run.peer[i]]}` : from;
};

/// By event: what it caused. Made when first asked for.
let firstChild = null, nextSibling = null;
const childrenOf = (i, most) => {
  if (firstChild === null) {
    firstChild = new Int32Array(count).fill(-1);
    nextSibling = new Int32Array(count).fill(-1);
    for (let child = count - 1; child >= 0; child -= 1) {
      const cause = causeOf(child);
      if (cause >= 0) {
        nextSibling[child] = firstChild[cause];
        firstChild[cause] = child;
      }
    }
  }
  const children = [];
  for (let child = firstChild[i]; child >= 0 && children.length < most; child = nextSibling[child]) {
    if (!isDull(child)) children.push(child);
  }
  return children;
};

/// The causes of an event, nearest first.
const causesOf = (i, most) => {
  const causes = [];
  for (let cause = causeOf(i); cause >= 0 && causes.length < most; cause = causeOf(cause)) {
    causes.push(cause);
  }
  return causes;
};

/// The first event at or after a moment.
const firstAt = (moment) => {
  let low = 0, high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at[middle] < moment) low = middle + 1; else high = middle;
  }
  return low;
};

const isShown = (i) => shownKinds.has(kindOf(i));

/// `12.345 s`, as exactly as the eye can use.
const seconds = (us, digits) => `${(us / 1e6).toFixed(digits)} s`;
const digitsFor = (span) => (span > 2e7 ? 1 : span > 2e6 ? 2 : span > 2e5 ? 3 : span > 2e4 ? 4 : 6);

/// Lives of tasks on each host, each in a row in which nothing else lives at that time.
const LIFE_ROWS = 4;
const lives = run.lives.map(([host, from, until, name]) => ({ host, from, until, name, row: 0 }));
{
  const free = hosts.map(() => []);
  for (const life of lives.slice().sort((a, b) => a.from - b.from)) {
    const rows = free[life.host];
    let row = rows.findIndex((end) => end <= life.from);
    if (row < 0) row = Math.min(rows.length, LIFE_ROWS - 1);
    rows[row] = Math.max(rows[row] ?? 0, life.until);
    life.row = row;
  }
}
const reigns = run.reigns.map(([term, host, from, until]) => ({ term, host, from, until }));
const faults = run.faults.map(([host, word, from, until, text]) => ({ host, word, from, until, text }));

/// What a search found, oldest first.
let found = [], isFound = null;
const find = (words) => {
  const wanted = words.toLowerCase().split(/\s+/).filter((word) => word !== "");
  found = [];
  isFound = null;
  if (wanted.length === 0) return;
  isFound = new Uint8Array(count);
  for (let i = 0; i < count; i += 1) {
    if (!isShown(i)) continue;
    const text = `${whoOf(i)} ${kindOf(i)} ${textOf(i)}`.toLowerCase();
    if (wanted.every((word) => text.includes(word))) {
      found.push(i);
      isFound[i] = 1;
    }
  }
};
