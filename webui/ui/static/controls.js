// The Gradio controls of one tab, seen from our own code: their values, filling them, and saying beside one what is wrong.
//
// Gradio owns the values. It hands them over when one changes (`changed`), and takes new ones through a hidden button whose
// handler is `handOver`: so what is filled in is what Gradio knows, in closed accordions and tabs too.

import { subject, wrong } from "./check.js";
import { make } from "./dom.js";

/** Events: "change" with {before} when values changed, whoever changed them. */
export class Controls extends EventTarget {
  values = {};
  #pending = {};
  #mounted;
  ready = new Promise((resolve) => (this.#mounted = resolve));

  constructor(area, parameters) {
    super();
    this.area = area;
    this.parameters = parameters;
    this.names = parameters.map((parameter) => parameter.name);
  }

  /** Gradio's controls are there; returns what they begin with. */
  begin(values) {
    const wanted = { ...this.#pending, ...values };
    this.#pending = {};
    setTimeout(this.#mounted);
    return this.#handOver(wanted);
  }

  /** Gradio tells the values of all controls, because one changed. */
  changed(given) {
    this.#take(Object.fromEntries(this.names.map((name, at) => [name, given[at] ?? null])));
  }

  #take(values) {
    const before = this.values;
    if (this.names.every((name) => same(before[name], values[name]))) return;
    this.values = values;
    for (const parameter of this.parameters) {
      if (this.problemOf(parameter.name) && !wrong(parameter, values[parameter.name])) this.mend(parameter.name);
    }
    this.dispatchEvent(new CustomEvent("change", { detail: { before } }));
  }

  /** Put values into controls, by name: a value, or {value, placeholder, choices} with any of these. */
  async fill(wanted) {
    Object.assign(this.#pending, wanted);
    await this.ready;
    if (Object.keys(this.#pending).length > 0) document.querySelector(`#${this.area}_fill`).click();
  }

  /** Wait until the values are as wanted: Gradio takes its time with what is filled in. */
  comeToBe(wanted) {
    return new Promise((resolve) => {
      const look = () => {
        if (!wanted(this.values)) return;
        this.removeEventListener("change", look);
        resolve();
      };
      this.addEventListener("change", look);
      look();
    });
  }

  /** What Gradio's hidden button takes: an update for each control, which says nothing where nothing is to change. */
  handOver() {
    const wanted = this.#pending;
    this.#pending = {};
    return this.#handOver(wanted);
  }

  /** Updates for Gradio. Controls in a tab that was never opened tell of no change, so it is taken note of here. */
  #handOver(wanted) {
    const updates = this.names.map((name) => update(wanted[name]));
    const values = { ...this.values };
    this.names.forEach((name, at) => {
      if (!("value" in updates[at])) return;
      values[name] = updates[at].value ?? null;
      this.mend(name);
    });
    this.#take(values);
    return updates;
  }

  /** Look at one value, or all, and say beside each what is wrong; returns whether nothing is. */
  check(name = null) {
    const looked = this.parameters.filter((parameter) => name === null || parameter.name === name);
    const faults = looked.map((parameter) => [parameter, wrong(parameter, this.values[parameter.name])]);
    for (const [parameter, sentence] of faults) this.complain(parameter.name, sentence);
    return faults.every(([, sentence]) => sentence === "");
  }

  /** Say a sentence of the program beside the control it is about; returns whether there is one, and it can be seen. */
  blame(sentence) {
    const parameter = subject(this.parameters, sentence);
    return parameter !== null && this.complain(parameter.name, sentence);
  }

  /** Say beside a control what is wrong; "" takes it back. */
  complain(name, sentence) {
    this.mend(name);
    const block = this.block(name);
    if (!block || sentence === "") return false;
    const id = `${this.area}_${name}_problem`;
    block.append(make("p", { class: "w-problem", id, role: "alert" }, sentence));
    for (const input of block.querySelectorAll("input, textarea")) {
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", id);
    }
    return true;
  }

  /** Nothing is wrong with a control any more. */
  mend(name) {
    this.problemOf(name)?.remove();
    for (const input of this.block(name)?.querySelectorAll("[aria-invalid]") ?? []) {
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
    }
  }

  /** The first control with a problem is shown and gets the focus. */
  lead() {
    const block = this.names.map((name) => this.problemOf(name)).find(Boolean)?.parentElement;
    block?.scrollIntoView({ block: "center", behavior: "smooth" });
    block?.querySelector("input:not([type=range]), textarea")?.focus({ preventScroll: true });
  }

  block(name) {
    return document.getElementById(`${this.area}_${name}`);
  }

  problemOf(name) {
    return document.getElementById(`${this.area}_${name}_problem`);
  }
}

const UPDATES = ["value", "placeholder", "choices", "interactive"];

function isUpdate(wanted) {
  return wanted !== null && typeof wanted === "object" && !Array.isArray(wanted);
}

function same(one, other) {
  return JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
}

/** What Gradio takes as a change of a component. */
function update(wanted) {
  const parts = wanted === undefined ? {} : isUpdate(wanted) ? wanted : { value: wanted };
  const known = Object.entries(parts).filter(([name]) => UPDATES.includes(name));
  return { __type__: "update", ...Object.fromEntries(known) };
}
