// The settings: what is changed is kept at once; a search leaves only what has its words.

import { make } from "./dom.js";
import { page } from "./page.js";
import { tell } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 500; // milliseconds without a change before it is kept

class Settings extends HTMLElement {
  #controls = page.controls.settings;
  #timer = null;
  #kept = null;
  #search = make("input", { type: "search", class: "w-search", placeholder: "Search settings", "aria-label": "Search settings", id: "settings_search" });
  #said = make("span", { class: "w-aside", id: "settings_said" });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(this.#search, this.#said);
    this.#search.addEventListener("input", () => this.#filter());
    this.#controls.addEventListener("change", () => this.#changed());
    page.opened.then(({ user }) => this.#owner(user.owner), () => {});
  }

  #filter() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const parameter of this.#controls.parameters) {
      const block = this.#controls.block(parameter.name);
      const text = `${parameter.label} ${parameter.help} ${parameter.name}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      block?.classList.toggle("w-away", !fits);
      left += fits ? 1 : 0;
    }
    this.#said.textContent = left === 0 ? "No setting has these words." : "";
    tell(left === 1 ? "One setting." : `${left} settings.`);
  }

  #changed() {
    this.#kept ??= { ...this.#controls.values }; // what they begin with is kept already
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(), PAUSE);
  }

  async #keep() {
    const { values } = this.#controls;
    const changed = Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== this.#kept[name]));
    if (Object.keys(changed).length === 0 || !this.#controls.check()) return;
    try {
      await ask("/x/settings", { values: changed });
      Object.assign(this.#kept, changed);
      this.#said.textContent = "Saved.";
      tell("Saved.");
    } catch (error) {
      if (error.status === undefined) throw error;
      if (!this.#controls.blame(error.message)) this.#said.textContent = error.message;
    }
  }

  /** What only the owner may change is marked, and closed to everybody else. */
  #owner(owner) {
    const theirs = this.#controls.parameters.filter((parameter) => parameter.owner);
    if (!owner) this.#controls.fill(Object.fromEntries(theirs.map((parameter) => [parameter.name, { interactive: false }])));
  }
}

customElements.define("webui-settings", Settings);
