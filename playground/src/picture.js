// Draws a run as SVG: time to the right; table, faults, lanes, dead letters, age and copy below
// each other. Outcomes differ by colour, by sign and by pattern.

import { clock, duration, h, s } from "./dom.js";
import { cellAt, MOST_CELLS, namesOf, places, rowsOf, timeAt, widthOf, xAt } from "./layout.js";

export const OUTCOMES = {
  done: ["done", "M-3.5 0.5 L-1 3 L4 -3"],
  failed: ["failed", "M-3 -3 L3 3 M-3 3 L3 -3"],
  left: ["left for a retry", "M3.2 -1.5 A3.4 3.4 0 1 0 3.2 1.8 M3.6 -4 L3.4 -1.2 L0.7 -1.6"],
  killed: ["process killed", "M1 -4.5 L-2.5 0.7 L0 0.7 L-1 4.5 L2.5 -0.7 L0 -0.7 Z"],
  ignored: ["answer ignored", "M-3.5 0 L3.5 0"],
};
const KINDS = { INSERT: "M-4 0 L4 0 M0 -4 L0 4", MODIFY: "M-4 1 Q-2 -3 0 0 T4 -1", REMOVE: "M-4 0 L4 0" };
const LETTER = "M-6 -4 H6 V4 H-6 Z M-6 -4 L0 1 L6 -4";
const LOST = "M-5 0 A5 5 0 1 0 5 0 A5 5 0 1 0 -5 0 M-4 4 L4 -4";
const PAUSE = "M-2 -4 V4 M2 -4 V4";
const FLAG = "M0 10 V-9 M0 -9 H11 L8 -5.5 L11 -2 H0";
const LABELS = 104;
const NARROW_LABELS = 92;
const LANE = 64;

export class Picture {
  constructor(host, { choose, moved, removed }) {
    Object.assign(this, { host, choose, moved, removed, zoom: 1, entry: 0, data: null, marks: [] });
    new ResizeObserver(() => this.#resized()).observe(host);
  }

  #resized() {
    if (!this.data || this.host.clientWidth === this.drawnAt) return;
    this.#draw();
    this.goTo(this.entry, { scroll: false });
  }

  // Shows the end of a run, scrolled to where something goes wrong first.
  show(data) {
    this.data = data;
    this.entry = Math.max(0, data.lines.length - 1);
    this.#draw();
    this.goTo(this.entry, { scroll: false });
    const wrong = data.calls.filter(({ outcome }) => ["failed", "killed", "left"].includes(outcome)).map(({ first }) => first);
    const entry = Math.min(...wrong, ...data.faults.map((fault) => fault.entry), ...data.given_up.map((each) => each.entry));
    this.scroller.scrollLeft = Number.isFinite(entry) ? this.xs[entry] - 90 : 0;
  }

  setZoom(zoom) {
    this.zoom = Math.min(8, Math.max(0.25, zoom));
    if (!this.data) return;
    this.#draw();
    this.goTo(this.entry);
  }

  goTo(entry, { scroll = true } = {}) {
    if (!this.data) return;
    this.entry = Math.min(this.data.lines.length - 1, Math.max(0, entry));
    const x = this.xs[this.entry] ?? 0;
    this.cursor?.setAttribute("transform", `translate(${x} 0)`);
    for (const mark of this.marks) {
      for (const part of [mark.node, mark.texts]) part.classList.toggle("later", mark.entry > this.entry);
    }
    const { scroller } = this;
    if (!scroll) return;
    const visible = scroller.clientWidth;
    if (x < scroller.scrollLeft + 20 || x > scroller.scrollLeft + visible - 40) {
      scroller.scrollLeft = x - visible / 2;
    }
  }

  #draw() {
    const { data } = this;
    this.drawnAt = this.host.clientWidth;
    const scrolled = this.scroller?.scrollLeft ?? 0;
    const rows = this.#rows();
    const { xs, width: asked } = places(data, this.zoom);
    Object.assign(this, { xs, marks: [], names: namesOf(data) });
    const height = rows.at(-1).y + rows.at(-1).height + 6;
    const labelWidth = this.host.clientWidth < 480 ? NARROW_LABELS : LABELS;
    const width = Math.max(asked, this.host.clientWidth - labelWidth - 1);
    const labels = s("svg", { width: labelWidth, height, class: "labels", "aria-hidden": "true" });
    const svg = s("svg", { width, height, role: "group", "aria-label": this.#summary() });
    this.cursor = s("g", { class: "cursor" }, s("path", { d: `M0 20 V${height}` }), s("path", { d: "M-5 15 H5 L0 22 Z", class: "head" }));
    const bands = rows.map((row) => s("rect", { class: row.kind === "lane" ? "band" : "band plain", x: 0, y: row.y, width, height: row.height }));
    svg.append(patterns(), ...bands, this.cursor);
    for (const row of rows) {
      const band = row.kind === "lane" ? "band" : "band plain";
      labels.append(s("rect", { class: band, x: 0, y: row.y, width: labelWidth, height: row.height }));
      row.label.forEach((text, index) =>
        labels.append(
          s("text", { x: 6, y: row.y + row.height / 2 + 4 + (index - (row.label.length - 1) / 2) * 12, class: index && row.kind === "lane" ? "small" : "" },
            cut(text, (labelWidth - 8) / (index && row.kind === "lane" ? 5.6 : 6.2)))),
      );
      this[`_${row.kind}`](svg, row);
    }
    this.scroller = h("div", { class: "scroller", onscroll: () => this.#edges() }, svg);
    this.host.replaceChildren(labels, this.scroller);
    this.svg = svg;
    this.#rove();
    this.scroller.scrollLeft = scrolled;
    this.#edges();
    svg.addEventListener("click", (event) => event.target.closest(".mark") || this.#clicked(event));
  }

  // Marks the sides to which there is more to see.
  #edges() {
    const { scrollLeft, clientWidth, scrollWidth } = this.scroller;
    this.host.classList.toggle("more-left", scrollLeft > 4);
    this.host.classList.toggle("more-right", scrollLeft + clientWidth < scrollWidth - 4);
  }

  #rows() {
    const { data } = this;
    let y = 0;
    const rows = [];
    const add = (kind, height, label, rest = {}) => {
      rows.push({ kind, y, height, label, ...rest });
      y += height + 3;
    };
    add("ruler", 28, ["time,", "not to scale"]);
    add("table", 42, ["table"]);
    if (data.faults.length) add("faults", 32, ["faults"]);
    const all = new Map(data.shards.map((shard) => [shard.id, shard]));
    const several = new Set(data.calls.map((call) => call.who)).size > 1;
    for (const row of rowsOf(data)) {
      const own = shardsOf(row.who, data);
      const shard = own.indexOf(row.shard) + 1;
      const parent = own.indexOf(all.get(row.shard)?.parent) + 1;
      const lanes = data.mapping.ParallelizationFactor;
      const lane = lanes > 1 ? [`lane ${row.lane + 1} of ${lanes}`] : [];
      const place = row.shard === null ? ["other calls"] : [`shard ${shard}${parent ? ` after ${parent}` : ""}`, ...lane];
      add("lane", LANE, several ? [row.who, ...place] : place, row);
    }
    if (data.given_up.length || data.lost.length) add("letters", 30, ["dead", "letters"]);
    add("age", 34, ["iterator", "age"]);
    add("copy", 24, ["copy"]);
    return rows;
  }

  #summary() {
    const { data } = this;
    return `Picture of ${data.writes.length} changes, ${data.calls.length} invocations and ${data.given_up.length} dead letters. Arrow keys go from mark to mark; the timeline below has the same as text.`;
  }

  // A thing that can be chosen: by mouse, by arrow keys, by a screen reader.
  // Its texts stand beside it, hidden from screen readers: the label says them in words.
  #mark(svg, entry, label, x, y, what, ...children) {
    const transform = `translate(${x} ${y})`;
    const isText = (child) => child?.tagName === "text";
    const node = s("g", { class: `mark ${what.class ?? ""}`, transform, role: "button", tabindex: -1, "aria-label": label },
      s("title", {}, label), ...children.filter((child) => !isText(child)));
    const texts = s("g", { class: "texts", transform, "aria-hidden": "true" }, ...children.filter(isText));
    const mark = { node, texts, entry, what, label };
    node.addEventListener("click", () => this.#chosen(mark));
    node.addEventListener("focus", () => this.#chosen(mark));
    node.addEventListener("mouseenter", () => this.choose(what, entry, true));
    node.addEventListener("keydown", (event) => this.#pressed(event, mark));
    this.marks.push(mark);
    svg.append(node, texts);
    return node;
  }

  #chosen(mark) {
    this.marks.forEach(({ node }) => node.setAttribute("tabindex", node === mark.node ? 0 : -1));
    this.svg.querySelector(".chosen")?.classList.remove("chosen");
    mark.node.classList.add("chosen");
    this.choose(mark.what, mark.entry, false);
  }

  #rove() {
    this.marks.sort((one, other) => one.entry - other.entry);
    this.marks.forEach(({ node }, index) => node.setAttribute("tabindex", index ? -1 : 0));
  }

  #pressed(event, mark) {
    const index = this.marks.indexOf(mark);
    const { fault } = mark.what;
    if (fault && event.altKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      this.moved(fault, Math.max(0, fault.at + (event.key === "ArrowLeft" ? -0.1 : 0.1)));
      return;
    }
    if (fault && event.key === "Delete") return this.removed(fault);
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: this.marks.length - 1 }[event.key];
    if (to === undefined || !this.marks[to]) return;
    event.preventDefault();
    this.marks[to].node.focus();
  }

  #clicked(event) {
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    let nearest = 0;
    this.xs.forEach((each, index) => Math.abs(each - x) < Math.abs(this.xs[nearest] - x) && (nearest = index));
    this.choose(null, nearest, false);
  }

  _ruler(svg, row) {
    let [free, told] = [0, ""];
    this.data.lines.forEach((line, index) => {
      const x = this.xs[index];
      const isNew = !index || line.at > this.data.lines[index - 1].at;
      const text = line.at < 3600 ? duration(line.at) : clock(line.at).slice(0, 8);
      if (!isNew || x < free || text === told) return;
      told = text;
      svg.append(s("path", { class: "tick", d: `M${x} 15 V22` }), s("text", { x, y: 12, class: "small" }, text));
      free = x + 66;
    });
  }

  _table(svg, row) {
    for (const write of this.data.writes) {
      const kind = write.change.split(" ")[0];
      const x = this.xs[write.entry];
      const label = `${clock(write.at)} table: ${write.change}${write.expired ? ", by Time to Live" : ""}`;
      this.#mark(svg, write.entry, label, x, row.y + 14, { write, class: `write ${kind}` },
        s("circle", { r: 8 }), s("path", { class: "sign", d: KINDS[kind] ?? KINDS.MODIFY }),
        s("text", { y: 21, class: "small", "text-anchor": "middle" }, this.names.get(write.sequence)));
    }
  }

  _faults(svg, row) {
    for (const fault of this.data.faults) {
      const label = `${clock(fault.at)} fault: ${fault.kind}. Alt and arrow keys move it, Delete removes it.`;
      const node = this.#mark(svg, fault.entry, label, this.xs[fault.entry], row.y + 17, { fault, class: "fault" },
        s("rect", { x: -4, y: -13, width: 18, height: 26, class: "grip" }), s("path", { class: "sign", d: FLAG }));
      node.addEventListener("pointerdown", (event) => this.#drag(event, fault, node, row));
    }
  }

  #drag(event, fault, node, row) {
    event.preventDefault();
    node.setPointerCapture(event.pointerId);
    const begun = event.clientX;
    const left = this.svg.getBoundingClientRect().left;
    const move = (at) => node.setAttribute("transform", `translate(${at.clientX - left} ${row.y + 17})`);
    const end = (at) => {
      node.removeEventListener("pointermove", move);
      if (Math.abs(at.clientX - begun) > 4) this.moved(fault, timeAt(at.clientX - left, this.xs, this.data.lines));
    };
    node.addEventListener("pointermove", move);
    node.addEventListener("pointerup", end, { once: true });
  }

  _lane(svg, row) {
    const middle = row.y + 36;
    for (const call of row.calls) {
      const earlier = this.data.calls[call.retry_of ?? -1];
      const from = earlier && row.calls.includes(earlier) ? this.xs[earlier.first] + widthOf(earlier) : null;
      if (from !== null) {
        const to = this.xs[call.first];
        svg.append(s("path", { class: "retry", d: `M${from} ${middle} C${from + 8} ${middle + 22} ${to - 8} ${middle + 22} ${to} ${middle}` }));
      }
    }
    for (const call of row.calls) this.#bar(svg, call, middle);
    for (const throttle of this.data.throttles) {
      const next = this.data.calls.find((call) => call.first > throttle.entry && call.records.some(({ sequence }) => throttle.sequences.includes(sequence)));
      if (next ? !row.calls.includes(next) : row !== row) continue;
      this.#mark(svg, throttle.entry, `${clock(throttle.at)} ${throttle.text}`, this.xs[throttle.entry], middle, { mark: throttle, class: "throttle" },
        s("circle", { r: 8 }), s("path", { class: "sign", d: PAUSE }));
    }
    for (const point of this.data.checkpoints.filter((each) => each.shard === row.shard && each.who === row.who && row.lane === Math.min(...this.data.calls.filter((call) => call.shard === row.shard).map((call) => call.lane)))) {
      const x = xAt(point.at, this.xs, this.data.lines);
      svg.append(s("path", { class: "checkpoint", d: `M${x - 4} ${row.y + row.height - 1} L${x + 4} ${row.y + row.height - 1} L${x} ${row.y + row.height - 8} Z` },
        s("title", {}, `${clock(point.at)} checkpoint ..${point.place.slice(-6)}`)));
    }
  }

  #bar(svg, call, middle) {
    const width = widthOf(call);
    const attempt = call.attempt > 1 ? `, attempt ${call.attempt}` : "";
    const late = call.shard === null ? (call.operation ? `, ${call.operation} by an operator` : ", by somebody who is not the mapping") : "";
    const names = call.records.map(({ change, outcome }) => `${change} ${OUTCOMES[outcome][0]}`).join(", ");
    const label = `${clock(call.at)} ${call.who} invoked${attempt}${late}: ${names || "no records"}. ${call.text}`;
    const cells = call.records.slice(0, MOST_CELLS).map(({ outcome }, index) =>
      s("g", { class: `cell ${outcome}`, transform: `translate(${cellAt(index)} -15)` },
        s("rect", { width: 17, height: 30, rx: 2 }), s("g", { transform: "translate(8.5 9)" }, s("path", { class: "sign", d: OUTCOMES[outcome][1] }))));
    const below = call.records.slice(0, MOST_CELLS).map(({ outcome, sequence }, index) =>
      s("text", { class: `name ${outcome}`, x: cellAt(index) + 8.5, y: 10, "text-anchor": "middle" }, this.names.get(sequence) ?? ""));
    const rest = call.records.length - MOST_CELLS;
    this.#mark(svg, call.first, label, this.xs[call.first], middle, { call, class: `call ${call.outcome}` },
      s("rect", { class: "bar", y: -18, width, height: 36, rx: 4 }), ...cells, ...below,
      call.records.length ? null : s("text", { x: width / 2, y: 4, class: "small", "text-anchor": "middle" }, "–"),
      rest > 0 ? s("text", { x: width - 28, y: 4, class: "small" }, `+${rest}`) : null,
      call.attempt > 1 ? s("text", { x: width / 2, y: -22, class: "small", "text-anchor": "middle" }, `${call.attempt}.`) : null);
  }

  _letters(svg, row) {
    const marks = [["given_up", "letter", LETTER], ["lost", "lost", LOST]];
    for (const [name, kind, path] of marks) {
      for (const mark of this.data[name]) {
        this.#mark(svg, mark.entry, `${clock(mark.at)} ${mark.who}: ${mark.text}`, this.xs[mark.entry] + 6, row.y + 15, { mark, class: kind },
          s("rect", { class: "grip", x: -9, y: -9, width: 18, height: 18 }), s("path", { class: "sign", d: path }));
      }
    }
  }

  _age(svg, row) {
    const calls = this.data.calls.filter((call) => call.age !== null && call.shard !== null);
    const most = Math.max(0.004, ...calls.map((call) => call.age));
    const tall = (age) => (row.height - 12) * (Math.log10(1 + age / 0.004) / Math.log10(1 + most / 0.004));
    const oldest = calls.find((call) => call.age === most);
    const xOf = (call) => this.xs[call.first];
    const isNear = (one, other) => calls.some((call) => call !== oldest && one < xOf(call) && xOf(call) < other);
    const isLeft = oldest && isNear(xOf(oldest), xOf(oldest) + 56) && !isNear(xOf(oldest) - 62, xOf(oldest));
    for (const call of calls) {
      const size = tall(call.age);
      svg.append(s("rect", { class: "age", x: this.xs[call.first], y: row.y + row.height - 1 - size, width: 5, height: Math.max(1, size) },
        s("title", {}, `iterator age ${duration(call.age)}`)));
      if (call === oldest && most >= 0.01) svg.append(s("text", { class: "small", x: xOf(call) + (isLeft ? -4 : 8), y: row.y + 11, "text-anchor": isLeft ? "end" : "start" }, duration(most)));
    }
  }

  _copy(svg, row) {
    const { states } = this.data;
    states.forEach((state, index) => {
      const from = this.xs[state.entry] ?? 0;
      const to = index + 1 < states.length ? this.xs[states[index + 1].entry] : this.xs.at(-1) + 28;
      const wrong = state.problems.length;
      if (to - from < 1) return;
      svg.append(s("rect", { class: wrong ? "differs" : "equals", x: from, y: row.y + 4, width: to - from - 1, height: row.height - 8 },
        s("title", {}, state.problems.join("\n") || "the copy is what the table implies")));
      if (to - from > 24) svg.append(s("text", { class: "small", x: from + 5, y: row.y + 16 }, wrong ? `≠ ${wrong}` : "="));
    });
  }
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

// Returns the shards that a function reads, and their parents, in the order of the stream.
function shardsOf(who, { calls, shards }) {
  const read = new Set(calls.filter((call) => call.who === who).map((call) => call.shard));
  const parents = new Set(shards.filter(({ id }) => read.has(id)).map(({ parent }) => parent));
  return [...new Set(shards.map(({ id }) => id))].filter((id) => read.has(id) || parents.has(id));
}

function patterns() {
  const stripes = (id, angle) =>
    s("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: `rotate(${angle})` },
      s("rect", { width: 5, height: 5, class: `ground ${id}` }), s("path", { d: "M0 0 V5", class: `stripe ${id}` }));
  return s("defs", {}, stripes("stripes-left", 45), stripes("stripes-differ", -45));
}

export function legend() {
  const entry = (cls, path, text) =>
    h("span", { class: "key" }, s("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": "true" },
      s("g", { class: `cell ${cls}` }, s("rect", { x: -7, y: -8, width: 14, height: 16, rx: 2 }), s("path", { class: "sign", d: path }))), text);
  const plain = (cls, path, text) =>
    h("span", { class: "key" }, s("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, s("g", { class: cls }, s("path", { class: "sign", d: path }))), text);
  return [
    ...Object.entries(OUTCOMES).map(([name, [text, path]]) => entry(name, path, text)),
    plain("letter", LETTER, "dead letter"), plain("lost", LOST, "lost"), plain("throttle", PAUSE, "throttled"),
    plain("fault", FLAG.replace("M0 10 V-9", "M-5 8 V-8").replace("M0 -9 H11 L8 -5.5 L11 -2 H0", "M-5 -8 H5 L2 -4.5 L5 -1 H-5"), "fault"),
    plain("checkpoint", "M-4 4 L4 4 L0 -3 Z", "checkpoint"),
  ];
}
