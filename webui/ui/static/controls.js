// The Gradio controls of one tab, seen from our own code: their values, filling them, and saying beside one what is wrong.
//
// Gradio owns the values. It hands them over when one changes (`changed`), and takes new ones through a hidden button whose
// handler is `handOver`: so what is filled in is what Gradio knows, in closed accordions too. What is filled into a tab that was
// never opened waits here until it is, for Gradio is slow to fill what nobody sees; meanwhile its values are those kept here.
// Parameters in folds have fields of our own (field.js), which Gradio knows nothing of: their values are those kept here, always.

import { subject, wrong } from "./check.js";
import { make } from "./dom.js";

/** Events: "change" with {before} when values changed, whoever changed them; "face" when fields of ours are to look otherwise;
 * "reveal" with a parameter's name as its detail when its field is to be seen. */
export class Controls extends EventTarget {
  values = {};
  #pending = {}; // {value, placeholder, choices, interactive} by name, with any of these
  #faces = {}; // {placeholder, choices} of our own fields, by name
  #open = false; // whether Gradio has what was filled in
  #mounted;
  #held = new Set(); // what values wait for, such as a picture that is being sent
  ready = new Promise((resolve) => (this.#mounted = resolve));

  constructor(area, parameters) {
    super();
    this.area = area;
    this.parameters = parameters;
    this.names = parameters.map((parameter) => parameter.name);
    this.told = parameters.filter(({ own }) => !own).map(({ name }) => name); // those that Gradio has, in its order
  }

  /** Gradio's controls are there; returns what they begin with. */
  begin(values) {
    this.#want(values);
    setTimeout(this.#mounted);
    return this.handOver();
  }

  /** What the controls of a tab begin with that was not opened yet. */
  prepare(values) {
    this.#pending = {};
    this.#want(values);
    this.#note();
    this.#mounted();
  }

  /** The tab has been opened. */
  open() {
    if (!this.#open) this.ready.then(() => this.#press());
  }

  /** Gradio tells values by name. */
  changed(given) {
    if (!this.#open) return; // it has not heard of what was filled in
    const told = Object.entries(given).map(([name, value]) => [name, value ?? null]);
    this.#take({ ...this.values, ...Object.fromEntries(told) });
  }

  /** Gradio tells the values of all controls, in their order. */
  all(given) {
    this.changed(Object.fromEntries(this.told.map((name, at) => [name, given[at]])));
  }

  /** A field of ours tells its value. */
  set(name, value) {
    this.#take({ ...this.values, [name]: value });
  }

  /** What a field of ours shows: {value, placeholder, choices}. */
  face(name) {
    return { ...this.#faces[name], value: this.values[name] };
  }

  /** A value is on its way; whoever uses the values waits for it. */
  hold(promise) {
    this.#held.add(promise);
    promise.catch(() => {}).finally(() => this.#held.delete(promise)); // what went wrong is said where it did
  }

  /** Wait until every value is there. Raises what went wrong where that happens meanwhile. */
  settled() {
    return Promise.all(this.#held);
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
    this.#want(wanted);
    await this.ready;
    if (!this.#open || !this.told.some((name) => this.#pending[name])) this.#note();
    else this.#press();
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
    const wanted = this.#note();
    this.#pending = {};
    this.#open = true;
    return this.told.map((name) => ({ __type__: "update", ...wanted[name] }));
  }

  #press() {
    document.querySelector(`#${this.area}_fill`).click();
  }

  #want(wanted) {
    for (const [name, each] of Object.entries(wanted)) Object.assign((this.#pending[name] ??= {}), parts(each));
  }

  /** Take note of the values that wait; controls in folds that were never opened tell of no change. */
  #note() {
    const values = { ...this.values };
    for (const name of this.names) {
      if (!this.#pending[name] || !("value" in this.#pending[name])) continue;
      values[name] = this.#pending[name].value ?? null;
      this.mend(name);
    }
    this.#dress();
    this.#take(values);
    return this.#pending;
  }

  /** What waits for our own fields is theirs now. */
  #dress() {
    const own = this.parameters.filter((parameter) => parameter.own && this.#pending[parameter.name]);
    for (const { name } of own) {
      const { value: _, ...face } = this.#pending[name];
      Object.assign((this.#faces[name] ??= {}), face);
      delete this.#pending[name];
    }
    if (own.length > 0) this.dispatchEvent(new Event("face"));
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
    if (sentence === "") return false;
    this.dispatchEvent(new CustomEvent("reveal", { detail: name }));
    const block = this.block(name);
    if (!block) return false;
    const id = `${this.area}_${name}_problem`;
    block.append(make("p", { class: "w-problem", id, role: "alert" }, sentence));
    for (const input of block.querySelectorAll("input, textarea, select")) {
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
    block?.querySelector("input:not([type=range]), textarea, select")?.focus({ preventScroll: true });
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

/** What is to be changed of a component, a value alone being its value. */
function parts(wanted) {
  const known = Object.entries(isUpdate(wanted) ? wanted : { value: wanted });
  return Object.fromEntries(known.filter(([name]) => UPDATES.includes(name)));
}
