// One direction of a plot: what changes along it, its values, and what such values look like.

import { button, make } from "./dom.js";
import { Field } from "./field.js";

const NUMBERS = "1, 2, 3 · 1-5 · 1-5 (+2) · 1-10 [5]";
const LOOKS = { // of an axis's values, by its kind
  number: NUMBERS,
  integer: NUMBERS,
  flag: "true, false",
  size: "512x512, 512x768",
  replace: "a text of the prompt, then what is put in its place: cube, ball, cone",
  order: "texts of the prompt, which change their places: cube, red, sand",
};
const NOTHING = "nothing";
const MOST_LISTED = 60; // names that are one press away

export class AxisField {
  node = make("div", { class: "w-axis" });
  #form;
  #type;
  #values;
  #kinds;
  #help = make("p", { class: "w-aside w-axis-help" });
  #names = make("div", { class: "w-axis-names", hidden: true });
  #shown = "";

  /** `type` and `values` are parameters of the form, `kinds` what can be an axis; `swap` exchanges this axis and the next. */
  constructor(form, type, values, kinds, swap) {
    this.#form = form;
    this.#kinds = kinds;
    this.#type = new Field(form, type);
    this.#values = new Field(form, values);
    const exchange = swap ? button(`Exchange this and the next axis`, "swap", swap, { shown: false, class: "w-slim w-axis-swap", data: { swap: type.name } }) : null;
    this.node.append(this.#type.node, exchange ?? "", this.#values.node, this.#help, this.#names);
    form.addEventListener("change", () => this.draw());
    this.draw();
  }

  draw() {
    this.#type.draw();
    this.#values.draw();
    const kind = this.#kinds.find(({ label }) => label === this.#form.values[this.#type.name]);
    const none = !kind || kind.kind === NOTHING;
    for (const part of [this.#values.node, this.#help]) part.hidden = none;
    const known = none ? [] : [...kind.choices, ...kind.one_of.filter((each) => !kind.choices.includes(each))];
    this.#help.textContent = none ? "" : [kind.help, known.length > 0 ? "" : (LOOKS[kind.kind] ?? "")].filter(Boolean).join(" ");
    this.#listNames(known);
    const chosen = new Set(listed(this.#form.values[this.#values.name] ?? ""));
    for (const chip of this.#names.querySelectorAll("[aria-pressed]")) chip.setAttribute("aria-pressed", String(chosen.has(chip.textContent)));
  }

  #listNames(known) {
    if (this.#shown === JSON.stringify(known)) return;
    this.#shown = JSON.stringify(known);
    this.#names.hidden = known.length === 0;
    const name = (each) => make("button", { type: "button", class: "w-chip", "aria-pressed": "false", onclick: () => this.#toggle(each) }, each);
    this.#names.replaceChildren(
      make("button", { type: "button", class: "w-chip w-chip-all", onclick: () => this.#set(known) }, "All"),
      ...known.slice(0, MOST_LISTED).map(name));
  }

  /** Put a name among the values, or take it out. */
  #toggle(name) {
    const now = listed(this.#form.values[this.#values.name] ?? "");
    this.#set(now.includes(name) ? now.filter((each) => each !== name) : [...now, name]);
  }

  #set(names) {
    this.#form.set(this.#values.name, names.map(quoted).join(", "));
  }
}

/** The values of a text with commas between them, of which quoted ones may have some in them. */
function listed(text) {
  const found = text.match(/"(?:[^"]|"")*"|[^,]+/g) ?? [];
  return found.map((each) => each.trim()).filter(Boolean).map((each) => (each.startsWith('"') ? each.slice(1, -1).replaceAll('""', '"') : each));
}

function quoted(name) {
  return /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}
