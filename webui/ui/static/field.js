// A field of our own for a parameter, for the folds: made when somebody opens one, so that what is seldom used costs the page nothing.
//
// It has the ids and classes of Gradio's, so that help, problems and whoever looks for a control find one like the other.

import { make } from "./dom.js";

const LONG = 300; // characters from which a text gets several lines
const LONGEST_SLIDER = 200; // steps, as for Gradio's: with more a slider is too fine to aim with

/** The field of one parameter: shows the value that `controls` has, and tells it of another. */
export class Field {
  node;
  #controls;
  #parameter;
  #inputs = []; // which all show the value
  #shown = undefined; // the choices that are listed

  /** `short` is its label where what stands above it says the rest. */
  constructor(controls, parameter, short = parameter.label) {
    this.#controls = controls;
    this.#parameter = parameter;
    const id = `${controls.area}_${parameter.name}`;
    const label = make("span", { "data-testid": "block-info" }, short);
    const info = make("div", { class: "info-text", id: `${id}_info` }, parameter.help);
    const parts = this.#make(`${id}_field`);
    this.node = parameter.kind === "bool"
      ? make("div", { class: "block w-own w-own-check", id }, make("label", {}, ...parts, label), info)
      : make("div", { class: `block w-own${this.#wide ? " w-own-wide" : ""}`, id }, make("label", { for: `${id}_field` }, label), info, ...parts);
    if (short !== parameter.label) for (const input of this.#inputs) input.setAttribute("aria-label", parameter.label);
    this.draw();
  }

  get name() {
    return this.#parameter.name;
  }

  /** Show what the controls say now. */
  draw() {
    const { value, placeholder, choices } = this.#controls.face(this.name);
    for (const input of this.#inputs) {
      if (input.tagName === "SELECT") this.#list(input, choices ?? this.#parameter.one_of.map((each) => [each, each]), value);
      else if (input.type === "checkbox") input.checked = Boolean(value);
      else if (!same(this.#read(input), value)) input.value = value ?? "";
      if (input.type === "range") input.style.setProperty("--done", String((input.value - input.min) / (input.max - input.min)));
      else if ("placeholder" in input) input.placeholder = placeholder ?? this.#parameter.unset;
    }
  }

  get #wide() {
    const { kind, longest } = this.#parameter;
    return (kind === "str" && longest > LONG && !this.#chosen) || this.#slides;
  }

  get #chosen() {
    return this.#parameter.choices !== null || this.#parameter.one_of.length > 0;
  }

  get #slides() {
    const { kind, optional, min, max, exact } = this.#parameter;
    if (!["int", "float"].includes(kind) || exact || optional || min === null || max === null) return false;
    return (max - min) / this.#step <= LONGEST_SLIDER;
  }

  get #step() {
    return this.#parameter.step ?? (this.#parameter.kind === "int" ? 1 : 0.01);
  }

  #make(id) {
    const { kind, longest, exact, label, min, max } = this.#parameter;
    const tell = ({ target }) => this.#told(target);
    if (kind === "bool") return [this.#add(make("input", { type: "checkbox", id, onchange: tell }))];
    if (this.#chosen) return [this.#add(make("select", { id, onchange: tell }))];
    if (kind === "str" && longest > LONG) return [this.#add(make("textarea", { id, rows: "2", oninput: tell }))];
    if (kind === "str" || exact) return [this.#add(make("input", { type: "text", id, autocomplete: "off", spellcheck: "false", oninput: tell }))];
    const number = this.#add(make("input", { type: "number", id, min, max, step: "any", inputmode: kind === "int" ? "numeric" : "decimal", oninput: tell }));
    number.addEventListener("keydown", (event) => this.#walk(event, number));
    if (!this.#slides) return [number];
    const range = this.#add(make("input", { type: "range", min, max, step: this.#step, "aria-label": label, tabindex: "-1", oninput: tell }));
    return [make("div", { class: "w-own-slider" }, range, number)];
  }

  #add(input) {
    this.#inputs.push(input);
    return input;
  }

  /** Up and down by the parameter's own step: what is typed may be finer. */
  #walk(event, input) {
    const by = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { min, max } = this.#parameter;
    const from = input.value === "" ? Number(input.placeholder.match(/^-?[\d.]+/)?.[0] ?? min ?? 0) : Number(input.value);
    const to = Math.round((from + by * this.#step) / this.#step) * this.#step;
    input.value = String(Number(Math.min(Math.max(to, min ?? -Infinity), max ?? Infinity).toFixed(6)));
    this.#told(input);
  }

  #told(input) {
    const value = this.#read(input);
    this.#controls.set(this.name, value);
    this.draw();
  }

  #read(input) {
    const { kind, optional, exact } = this.#parameter;
    if (kind === "bool") return input.checked;
    if (kind === "str" || exact) return optional && input.value === "" ? null : input.value;
    return input.value === "" ? null : Number(input.value);
  }

  #list(select, choices, value) {
    const text = JSON.stringify(choices);
    if (text !== this.#shown) {
      const empty = this.#parameter.optional ? [make("option", { value: "" }, this.#parameter.unset || "None")] : [];
      select.replaceChildren(...empty, ...choices.map(([label, name]) => make("option", { value: name }, label)));
      this.#shown = text;
    }
    select.value = value ?? "";
    if (select.selectedIndex < 0 && value) {
      select.append(make("option", { value }, String(value))); // what came from elsewhere is shown, and checked when it is used
      select.value = value;
      this.#shown = undefined;
    }
  }
}

function same(one, other) {
  return (one ?? null) === (other ?? null);
}
