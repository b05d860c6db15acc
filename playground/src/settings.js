// The controls of the mapping: names, ranges and defaults come from the engine.

import { $, h } from "./dom.js";

const UNITS = { MaximumBatchingWindowInSeconds: "s", MaximumRecordAgeInSeconds: "s, -1 is no limit", TumblingWindowInSeconds: "s", MaximumRetryAttempts: "-1 is no limit", Timeout: "s, of the function" };

export class Settings {
  constructor(controls, changed) {
    this.controls = controls;
    $("settings-form").replaceChildren(...controls.map((control) => this.#row(control)));
    $("settings-form").addEventListener("input", () => {
      this.tell();
      changed();
    });
  }

  #row({ name, low, high, choices, default: value }) {
    const id = `setting-${name}`;
    const told = choices ? "" : low === undefined ? "" : `${low} to ${high}${UNITS[name] ? `, ${UNITS[name]}` : ""}`;
    let input;
    if (choices) input = h("select", { id }, ...choices.map((choice) => h("option", {}, choice)));
    else if (low === undefined) input = h("input", { id, type: "checkbox" });
    else input = h("input", { id, type: "number", min: low, max: high, step: 1, "aria-describedby": `${id}-range` });
    const row = h("div", { class: "setting" }, h("label", { for: id }, name), input, told ? h("span", { class: "hint", id: `${id}-range` }, told) : null);
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

  tell() {
    const told = Object.entries(this.values).map(([name, value]) => (value === true ? name : `${name} ${value}`));
    $("settings-told").textContent = told.length ? told.join(", ") : "AWS's defaults";
  }
}
