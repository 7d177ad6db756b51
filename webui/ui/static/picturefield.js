// A parameter that is a picture: a small place for one, which is brought to the program; the value is its digest.

import "./picker.js";
import { make } from "./dom.js";
import { Field } from "./field.js";
import { inputSource } from "./inputs.js";
import { ask } from "./server.js";

/** The field of any parameter. */
export function fieldFor(controls, parameter, short) {
  return parameter.picture ? new PictureField(controls, parameter, short) : new Field(controls, parameter, short);
}

class PictureField {
  node;
  #controls;
  #parameter;
  #picker;
  #shown = ""; // the digest that is seen, or will be

  constructor(controls, parameter, short = parameter.label) {
    this.#controls = controls;
    this.#parameter = parameter;
    const id = `${controls.area}_${parameter.name}`;
    this.#picker = make("webui-picker", { label: short, name: parameter.name });
    this.#picker.upload = (file) => ask("/x/inputs", undefined, { method: "POST", body: file });
    this.#picker.addEventListener("change", () => this.#told());
    const info = make("div", { class: "info-text", id: `${id}_info` }, parameter.help);
    this.node = make("div", { class: "block w-own w-own-wide w-own-picture", id }, this.#picker, info);
    this.draw();
  }

  get name() {
    return this.#parameter.name;
  }

  /** Show the picture that the controls say. */
  draw() {
    if (!this.#picker.isConnected) return void requestAnimationFrame(() => this.#picker.isConnected && this.draw());
    const digest = this.#controls.face(this.name).value ?? "";
    if (digest === this.#shown) return;
    this.#shown = digest;
    this.#picker.setValue(digest ? { url: inputSource(digest), digest, width: 0, height: 0, name: "" } : null);
  }

  #told() {
    const { value } = this.#picker;
    if (value && !value.digest) return this.#controls.hold?.(this.#picker.settled()); // it is on its way
    const digest = value?.digest ?? "";
    if (digest === (this.#controls.face(this.name).value ?? "")) return undefined;
    this.#shown = digest;
    return this.#controls.set(this.name, digest);
  }
}
