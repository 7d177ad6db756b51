// Values of fields of ours that are no tab's controls, such as those of a script: it shows them, and hears what was typed.

import { fieldFor } from "./picturefield.js";

/** Events: "change" when a value is another. */
export class Form extends EventTarget {
  constructor(area, fields, values = {}) {
    super();
    this.area = area;
    this.parameters = fields.map((field) => ({ ...USUAL, ...field }));
    this.values = { ...Object.fromEntries(this.parameters.map(({ name, default: usual }) => [name, usual])), ...values };
  }

  face(name) {
    return { value: this.values[name] };
  }

  set(name, value) {
    this.put({ [name]: value });
  }

  put(values) {
    this.values = { ...this.values, ...values };
    this.dispatchEvent(new Event("change"));
  }

  /** The node of each field, in their order; they show what is put. */
  nodes() {
    const fields = this.parameters.map((parameter) => fieldFor(this, parameter));
    this.addEventListener("change", () => fields.forEach((field) => field.draw()));
    return fields.map(({ node }) => node);
  }
}

const USUAL = {
  label: "", help: "", kind: "str", optional: false, default: "", min: null, max: null, step: null, longest: 300, unset: "", exact: false,
  one_of: [], choices: null, picture: false,
}; // what a field is where it says nothing else
