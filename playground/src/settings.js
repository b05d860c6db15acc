// The controls of the mapping: names, ranges and defaults come from the engine.

import { $, h } from "./dom.js";

const UNITS = {
  MaximumBatchingWindowInSeconds: " s",
  MaximumRecordAgeInSeconds: " s",
  Timeout: " s",
  TumblingWindowInSeconds: " s",
};

const LOWEST = { MaximumRecordAgeInSeconds: "-1, or 60" };

export class Settings {
  constructor(controls, changed) {
    this.controls = controls;
    $("settings-form").replaceChildren(...controls.map((control) => this.#row(control)));
    $("settings-form").addEventListener("input", () => {
      this.tell();
      changed();
    });
  }

  #row({ name, meaning, low, high, choices, text, default: value }) {
    const id = `setting-${name}`;
    const range = text || low === undefined ? "" : ` ${LOWEST[name] ?? low} to ${high.toLocaleString("en")}${UNITS[name] ?? ""}.`;
    const described = { id, "aria-describedby": `${id}-meaning` };
    let input;
    if (choices) input = h("select", described, ...choices.map((choice) => h("option", {}, choice)));
    else if (text) input = h("input", { ...described, type: "text", spellcheck: "false" });
    else if (low === undefined) input = h("input", { ...described, type: "checkbox" });
    else input = h("input", { ...described, type: "number", min: low, max: high, step: 1 });
    const row = h("div", { class: `setting${choices || text ? " long" : ""}` }, h("label", { for: id }, name), input, h("span", { class: "hint", id: `${id}-meaning` }, `${meaning}${range}`));
    this.#set(input, value);
    return row;
  }

  #set(input, value) {
    if (input.type === "checkbox") input.checked = Boolean(value);
    else input.value = String(value);
  }

  // The values that are not the default; a number that is none goes on as text, for Python to refuse.
  get values() {
    const found = {};
    for (const { name, low, default: value } of this.controls) {
      const input = $(`setting-${name}`);
      let given = input.type === "checkbox" ? input.checked : input.value;
      if (low !== undefined) given = /^-?\d+$/.test(given) ? Number(given) : given;
      if (given !== value) found[name] = given;
    }
    return found;
  }

  set values(values) {
    for (const { name, default: value } of this.controls) this.#set($(`setting-${name}`), values[name] ?? value);
    this.tell();
  }

  // Says which settings differ from others, as the rest of a sentence.
  differences(before) {
    const value = (values, name, none) => values[name] ?? none;
    const told = this.controls
      .map(({ name, default: none }) => [name, value(before, name, none), value(this.values, name, none)])
      .filter(([, was, is]) => was !== is)
      .map(([name, was, is]) => `${name} ${was} → ${is}`);
    return told.length ? `, and set ${told.join(", ")}` : "";
  }

  tell() {
    const told = Object.entries(this.values).map(([name, value]) => (value === true ? name : `${name} ${value}`));
    $("settings-told").textContent = told.length ? told.join(", ") : "AWS's defaults";
  }
}
