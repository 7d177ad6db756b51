// Folds with what is seldom set: each makes its fields when it is opened, and says while it is closed how much in it is set.

import { icon, make } from "./dom.js";
import { page } from "./page.js";
import { fieldFor } from "./picturefield.js";

class Fold {
  node;
  #controls;
  #names;
  #title;
  #fields = null; // once it was opened
  #count = make("span", { class: "w-fold-count", hidden: true });
  #inside = make("div", { class: "w-fields" });

  constructor({ task, controls }, title, names) {
    this.#controls = controls;
    this.#names = names;
    this.#title = title;
    const id = `${task}_${title.toLowerCase().replaceAll(" ", "_")}_fold`;
    this.node = make("details", { class: "w-fold w-own-fold", id }, make("summary", {}, icon("next"), title, this.#count), this.#inside);
    this.node.addEventListener("toggle", () => this.node.open && this.#fill());
    controls.addEventListener("change", () => this.draw());
    controls.addEventListener("face", () => this.#fields?.forEach((field) => field.draw()));
    controls.addEventListener("reveal", ({ detail }) => names.includes(detail) && this.open());
    this.draw();
  }

  /** Open it, with its fields there at once. */
  open() {
    this.#fill();
    this.node.open = true;
  }

  draw() {
    const { parameters, values } = this.#controls;
    const changed = parameters.filter(({ name, default: usual }) => this.#names.includes(name) && name in values && (values[name] ?? null) !== (usual ?? null));
    this.#count.hidden = changed.length === 0;
    this.#count.textContent = `${changed.length} set`;
    this.#count.title = changed.map(({ name, label, picture }) => `${label}: ${values[name] === null ? "empty" : picture ? "a picture" : values[name]}`).join("\n");
    this.#fields?.forEach((field) => field.draw());
  }

  #fill() {
    if (this.#fields) return;
    const known = Object.fromEntries(this.#controls.parameters.map((parameter) => [parameter.name, parameter]));
    this.#fields = this.#names.map((name) => fieldFor(this.#controls, known[name], shortened(known[name].label, this.#title)));
    this.#inside.append(...this.#fields.map(({ node }) => node));
    this.node.dispatchEvent(new Event("filled", { bubbles: true }));
  }
}

/** "Hires upscaler" is the upscaler, below "Hires fix". */
function shortened(label, title) {
  const [first] = title.split(" ");
  const rest = label.startsWith(`${first} `) ? label.slice(first.length + 1) : label;
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

class Folds extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount > 0) return;
    const tab = page.tabOf(this);
    const beside = this.closest(".w-start") !== null;
    let added = false;
    for (const { title, names, beside: where, extension } of page.config.folds[tab.task]) {
      if (where !== beside) continue;
      if (extension && !added) this.append(make("h3", { class: "w-folds-head" }, "Extensions"));
      added ||= Boolean(extension);
      this.append(new Fold(tab, title, names).node);
    }
  }
}

customElements.define("webui-folds", Folds);
