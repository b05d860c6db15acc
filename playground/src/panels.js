// The panels around the picture: the result, table and copy, details, timeline.

import { $, clock, counted, duration, h } from "./dom.js";

export function verdict(result, { isPipeline }) {
  const wrong = result.problems.length > 0;
  const counts = Object.values(result.outcome).filter((each) => each.delivered);
  const sum = (name) => counts.reduce((total, each) => total + each[name].length, 0);
  const told = [counted(result.writes.length, "change"), counted(sum("delivered"), "invocation"), counted(sum("dead_letters"), "dead letter"), ...(sum("lost") ? [`${counted(sum("lost"), "record")} lost`] : [])].join(", ");
  const parts = [
    h("p", { class: wrong ? "bad" : "good" }, h("strong", {}, wrong ? "✕ The copy is wrong in the end. " : `✓ ${isPipeline ? "Every copy is" : "The copy is"} right in the end. `), told, "."),
  ];
  if (wrong) parts.push(h("ul", {}, ...result.problems.slice(0, 6).map((problem) => h("li", {}, problem))));
  if (result.hint) parts.push(h("p", {}, h("strong", {}, "Hint: "), `${result.hint}.`));
  if (result.advice) parts.push(h("p", {}, h("strong", {}, "In the browser: "), `${result.advice}.`));
  if (sum("lost")) parts.push(h("p", { class: "hint" }, "Lost: Lambda does not send these records again, and no dead letter holds them. A failed attempt may have done some of them all the same."));
  if (result.unpoisoned.length) parts.push(h("p", { class: "hint" }, `Once all was quiet, the page wrote ${result.unpoisoned.join(", ")} again, without the poison: ${counted(result.unpoisoned.length, "change")} that your schedule does not have, and that the copy is compared with.`));
  if (result.calls_left_out) parts.push(h("p", {}, `The picture shows the first ${result.calls.length} invocations; ${result.calls_left_out} more came.`));
  return parts;
}

const named = ({ title, label }) => (label ? `${title}, ${label}` : title);

// In place of the words of an example, once something that was changed in it has run.
export function changed(example, reopen) {
  return [h("div", { class: "bar" }, h("h2", {}, `Yours, begun from: ${named(example)}`), h("button", { id: "story-reopen", onclick: reopen }, "Open the example again"))];
}

// What to look at in an example, and what its twin does otherwise.
export function story(example, twin, openTwin) {
  return [
    h("div", { class: "bar" }, h("h2", {}, named(example), h("span", { id: "story-before", hidden: true }, " – before your change")), twin ? h("button", { onclick: openTwin }, `Show the ${twin.label} one`) : null),
    h("p", {}, h("strong", {}, "Look at: "), example.look),
    example.difference ? h("p", {}, h("strong", {}, "The difference: "), example.difference) : null,
  ].filter(Boolean);
}

export function states(result, entry, { isPipeline }) {
  const state = result.states.findLast((each) => each.entry <= entry) ?? result.states[0];
  if (!state) return [h("p", { class: "hint" }, "Nothing yet.")];
  if (!state.by_row) return apart(state, isPipeline);
  const rows = state.rows.map(([key, table, copy, differs]) =>
    h("tr", { class: differs ? "differs" : "" }, h("th", { scope: "row" }, key || "whole"), h("td", {}, table || "–"),
      h("td", {}, copy || "–"), h("td", {}, differs ? "≠ differs" : "=")));
  const head = ["key", "table implies", "copy has", ""];
  return [
    h("table", {}, h("thead", {}, h("tr", {}, ...head.map((name) => (name ? h("th", { scope: "col" }, name) : h("td", {}))))), h("tbody", {}, ...rows)),
    ...(state.problems.length && !state.rows.some((row) => row[3]) ? [h("ul", { class: "bad" }, ...state.problems.slice(0, 8).map((each) => h("li", {}, `≠ ${each}`)))] : []),
    ...(state.rows.length ? [] : [h("p", { class: "hint" }, "Table and copy are empty.")]),
  ];
}

// Table and copy below each other, where they have no keys in common that could be compared.
function apart(state, isPipeline) {
  const rows = (column) => state.rows.filter((row) => row[column]).map((row) => h("tr", {}, h("th", { scope: "row" }, row[0] || "whole"), h("td", {}, row[column])));
  const table = (name, column) =>
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, name), h("td", {}))), h("tbody", {}, ...(rows(column).length ? rows(column) : [h("tr", {}, h("td", {}, "empty"), h("td", {}))])));
  return [
    table("table", 1),
    ...(isPipeline ? [] : [table("copy", 2)]),
    ...(state.problems.length ? [h("ul", { class: "bad" }, ...state.problems.slice(0, 8).map((each) => h("li", {}, `≠ ${each}`)))] : []),
    h("p", { class: "hint" }, isPipeline ? "The three copies have forms of their own, and are compared with the table." : "The copy has a form of its own: compare() of the handler says what is wrong with it."),
  ];
}

const json = (value) => h("pre", {}, JSON.stringify(value, null, 1));

const AGE = "Iterator age: how old the last record of a batch was when the function got it. It grows while a batch is retried or waits; records older than MaximumRecordAgeInSeconds are given up, and the stream forgets them after 24 hours.";

export function details(what, result, faults) {
  if (what.call) {
    const { call } = what;
    const facts = [
      ["outcome", call.text],
      ["attempt", call.attempt ?? "not by the mapping"],
      ["iterator age", call.age === null ? "–" : duration(call.age)],
      ["took", duration(call.until - call.at)],
      ["shard", call.shard ? `…${call.shard.slice(-8)}, lane ${call.lane + 1} of ${result.mapping.ParallelizationFactor}` : "–"],
      ...call.records.map((record) => [record.change, `${record.outcome === "left" ? "left for a retry" : record.outcome}, ..${record.sequence.slice(-6)}`]),
    ];
    return [facing(`Invocation at ${clock(call.at)}`, facts), ...(call.age === null ? [] : [h("p", { class: "hint" }, AGE)]), fold("Request", call.request), fold(call.error ? "Error" : "Answer", call.error ?? call.answer)];
  }
  if (what.write) {
    const { write } = what;
    return [facing(`${write.change} at ${clock(write.at)}`, [["sequence number", write.sequence]]), fold("Record", write.record)];
  }
  if (what.fault) return [facing(`Fault at ${clock(what.fault.at)}`, [["kind", what.fault.kind], ["effect", faults.find(({ kind }) => kind === what.fault.kind)?.effect ?? "–"], ["to move it", "drag it, or Alt and the arrow keys; Delete removes it"]])];
  const { mark } = what;
  const document = result.documents.find((each) => JSON.stringify(each).includes(mark.sequences[0]));
  return [facing(`${clock(mark.at)}`, [["event", mark.text], ["records", mark.changes.join(", ")]]), ...(document && what.class === "letter" ? [fold("Document", document)] : [])];
}

function facing(title, facts) {
  return h("div", {}, h("h3", {}, title), h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))])));
}

const fold = (title, value) => h("details", {}, h("summary", {}, title), typeof value === "string" ? h("pre", {}, value) : json(value));

export class Timeline {
  constructor(host, choose) {
    this.host = host;
    host.addEventListener("click", (event) => {
      const item = event.target.closest("li");
      if (item) choose([...host.children].indexOf(item));
    });
    host.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      choose(this.entry + step);
    });
  }

  show(result) {
    const aside = (index) => (index === result.quiet ? h("span", { class: "aside" }, "All is quiet, and the faults are over. What follows belongs to the end: steps that come later, items written without their poison, dead letters redriven.") : null);
    this.host.replaceChildren(...result.lines.map((line, index) => h("li", { class: line.kind }, aside(index), line.text)));
    this.host.scrollTop = 0;
    if (result.lines_left_out) this.host.append(h("li", {}, `... and ${result.lines_left_out} more lines`));
  }

  goTo(entry, { scroll = true } = {}) {
    this.entry = entry;
    this.host.querySelector("[aria-current]")?.removeAttribute("aria-current");
    const item = this.host.children[entry];
    if (!item) return;
    item.setAttribute("aria-current", "true");
    const { host } = this;
    if (!scroll) return;
    if (item.offsetTop < host.scrollTop || item.offsetTop > host.scrollTop + host.clientHeight - 30) {
      host.scrollTop = item.offsetTop - host.clientHeight / 2;
    }
  }
}

export const say = (text) => ($("status").textContent = text);
