// The tester of filters and the converter: two texts, and Python's answer while one types.

import { $, h } from "./dom.js";

const PAUSE_MILLISECONDS = 250;

export class Tools {
  #typing = null;

  constructor(engine, copyLink) {
    this.engine = engine;
    this.copyLink = copyLink;
  }

  wire(about) {
    this.about = about;
    $("filter-example").replaceChildren(...about.filter_examples.map(({ title }) => h("option", {}, title)));
    $("filter-example").addEventListener("change", () => this.#example());
    for (const id of ["pattern", "record"]) $(id).addEventListener("input", () => this.#soon(() => this.#filter()));
    $("typed").addEventListener("input", () => this.#soon(() => this.#convert("plain", "typed", "plain")));
    $("plain").addEventListener("input", () => this.#soon(() => this.#convert("typed", "plain", "typed")));
    $("copy-filter").addEventListener("click", () => this.copyLink({ tab: "filters", pattern: $("pattern").value, record: $("record").value }));
  }

  // Opens a tab with what an address says, or with an example if nothing is there yet.
  open({ tab, pattern, record }) {
    if (tab === "filters") {
      if (pattern !== undefined) [$("pattern").value, $("record").value] = [String(pattern), String(record ?? "")];
      else if (!$("pattern").value) return this.#example();
      return this.#filter();
    }
    if (tab === "converter" && !$("typed").value) {
      $("typed").value = this.about.converter_example;
      return this.#convert("plain", "typed", "plain");
    }
    return null;
  }

  closed() {
    clearTimeout(this.#typing);
  }

  #soon(action) {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(action, PAUSE_MILLISECONDS);
  }

  #example() {
    const { pattern, record } = this.about.filter_examples[$("filter-example").selectedIndex];
    $("pattern").value = pattern;
    $("record").value = record;
    return this.#filter();
  }

  async #filter() {
    const answer = await this.#ask({ what: "filter", pattern: $("pattern").value, record: $("record").value });
    if (!answer) return;
    const { error, ok } = answer;
    if (error) {
      const place = error.line ? `, line ${error.line}` : "";
      $("matches").replaceChildren(h("p", { class: "bad" }, h("strong", {}, `✕ ${error.part === "pattern" ? "Pattern" : "Record"}${place}: `), `${error.message}.`));
      return;
    }
    $("matches").replaceChildren(
      ...ok.records.map((record) => h("div", {}, ok.records.length > 1 ? h("h3", {}, record.name) : null, ...this.#matches(record, ok.patterns))),
      ...ok.patterns.flatMap(({ warnings, deployable }, index) => {
        const which = ok.patterns.length > 1 ? `Pattern ${index + 1}: ` : "";
        const told = [...warnings, ...(deployable ? [`Lambda may refuse it: ${deployable}`] : [])];
        return told.map((warning) => h("p", { class: "warning" }, h("strong", {}, "⚠ Warning: "), `${which}${warning}.`));
      }),
      h("p", { class: "hint" }, ok.quota),
    );
  }

  #matches({ matches }, patterns) {
    const any = matches.some((each) => each.matches);
    const head = h("p", { class: any ? "good" : "bad" }, h("strong", {}, any ? "✓ Lambda sends the record. " : "✕ Lambda does not send the record. "),
      patterns.length > 1 ? "A record passes if any of the patterns matches." : "");
    const rows = matches.map((each, index) => {
      const which = patterns.length > 1 ? `Pattern ${index + 1}: ` : "";
      if (each.matches) return h("li", {}, `${which}all conditions are met: ${each.met.join(", ")}.`);
      return h("li", {}, which, h("code", {}, each.path), ` fails: ${each.reason}.`, each.met.length ? ` Met before it: ${each.met.join(", ")}.` : "");
    });
    return [head, h("ul", {}, ...rows)];
  }

  async #convert(what, from, to) {
    const answer = await this.#ask({ what, text: $(from).value });
    if (!answer) return;
    const { error, ok } = answer;
    $("converted").className = error ? "bad" : "good";
    $(to).classList.toggle("old", Boolean(error));
    $(from).classList.remove("old");
    if (error) {
      $("converted").replaceChildren(h("strong", {}, `✕ ${error.line ? `Line ${error.line}: ` : ""}`), `${error.message}.`);
      return;
    }
    $(to).value = ok.text;
    $("converted").replaceChildren(h("strong", {}, "✓ Converted."));
  }

  // Returns the answer of Python; null where a newer question took its place.
  async #ask(request) {
    try {
      return await this.engine.ask(request);
    } catch (error) {
      if (error.name === "Stopped") return null;
      throw error;
    }
  }
}
