// Places of a picture. Time goes to the right by event, not by second: a day between two retries
// takes little more room than a second, and things of one moment stand beside each other.

const CELL = 19;
export const MOST_CELLS = 10;

export function widthOf(call) {
  return 8 + CELL * Math.max(1, Math.min(call.records.length, MOST_CELLS)) + (call.records.length > MOST_CELLS ? 26 : 0);
}

// Returns short names of items: without what all of their keys begin with, up to a sign.
export function namesOf(picture) {
  const keys = [...new Set(picture.writes.map(({ key }) => key))];
  const prefix = /^[\p{L}\p{N}]*[^\p{L}\p{N}]/u.exec(keys[0] ?? "")?.[0] ?? "";
  const shared = keys.every((key) => key.startsWith(prefix)) ? prefix.length : 0;
  const short = (key) => (key.length - shared > 3 ? `…${key.slice(-2)}` : key.slice(shared));
  return new Map(picture.writes.map(({ sequence, key }) => [sequence, short(key)]));
}

export const cellAt = (index) => 4 + CELL * index;

const gapOf = (seconds) => (seconds <= 0 ? 4 : 6 + 17 * Math.log10(1 + seconds / 0.004));

// Returns the x of each line of the timeline, as far as zoom and bars ask for room.
export function places(picture, zoom) {
  const { lines } = picture;
  const least = new Map(); // line -> [[earlier line, distance], ...]
  const keep = (from, to, distance) => {
    if (from === to || to >= lines.length) return;
    least.set(to, [...(least.get(to) ?? []), [from, distance]]);
  };
  for (const row of rowsOf(picture)) {
    row.calls.forEach((call, index) => {
      keep(call.first, call.last, widthOf(call));
      const next = row.calls[index + 1];
      if (next) keep(call.first, next.first, widthOf(call) + 6);
    });
  }
  const spread = (marks, distance) =>
    marks.forEach((mark, index) => index && keep(marks[index - 1].entry, mark.entry, distance));
  spread(picture.writes, 24);
  spread(picture.faults, 26);
  spread([...picture.given_up, ...picture.lost].sort((one, other) => one.entry - other.entry), 26);
  const xs = [];
  lines.forEach((line, index) => {
    const before = index ? xs[index - 1] + gapOf(line.at - lines[index - 1].at) * zoom : 24;
    const asked = (least.get(index) ?? []).map(([from, distance]) => xs[from] + distance);
    xs.push(Math.max(before, ...asked));
  });
  const ends = picture.calls.map((call) => (xs[call.first] ?? 0) + widthOf(call));
  return { xs, width: Math.max(xs.at(-1) ?? 0, ...ends) + 34 };
}

// Returns the time at an x, between the lines that stand left and right of it.
export function timeAt(x, xs, lines) {
  if (!xs.length || x <= xs[0]) return 0;
  let index = xs.findIndex((each) => each > x);
  if (index < 0) return lines.at(-1).at + (x - xs.at(-1)) / 100;
  const [left, right] = [index - 1, index];
  const part = (x - xs[left]) / (xs[right] - xs[left]);
  return lines[left].at + part * (lines[right].at - lines[left].at);
}

export const xAt = (time, xs, lines) => {
  let found = 0;
  lines.forEach((line, index) => line.at <= time + 1e-9 && (found = index));
  return xs[found] ?? 24;
};

// Returns the lanes of each function, in the order of the shards, and what came otherwise.
export function rowsOf(picture) {
  const rows = new Map();
  const order = new Map(picture.shards.map((shard, index) => [shard.id, index]));
  for (const call of picture.calls) {
    const key = `${call.who} ${call.shard ?? ""} ${call.lane ?? ""}`;
    if (!rows.has(key)) rows.set(key, { who: call.who, shard: call.shard, lane: call.lane, calls: [] });
    rows.get(key).calls.push(call);
  }
  const placeOf = (row) => (row.shard === null ? 1e6 : (order.get(row.shard) ?? 1e5));
  const who = [...new Set(picture.calls.map((call) => call.who))];
  return [...rows.values()].sort(
    (one, other) =>
      who.indexOf(one.who) - who.indexOf(other.who) || placeOf(one) - placeOf(other) || one.lane - other.lane,
  );
}
