// The settings: what is changed is kept at once and takes effect at once; a search leaves only what has its words.

import { make } from "./dom.js";
import { page } from "./page.js";
import { say, tell } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 500; // milliseconds without a change before it is kept
const controls = page.controls.settings;

/** Keeps what was changed, wherever on the page. Events: "kept" with a sentence as its detail. */
class Keeping extends EventTarget {
  #timer = null;
  #kept = null;

  constructor() {
    super();
    controls.addEventListener("change", () => this.#changed());
  }

  #changed() {
    window.webuiTheme.choose(controls.values.theme);
    if (this.#kept === null) {
      this.#kept = { ...controls.values }; // what they begin with is kept already
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(), PAUSE);
  }

  async #keep() {
    const others = Object.entries(controls.values).filter(([name, value]) => value !== this.#kept[name]);
    const changed = Object.fromEntries(others.filter(([name]) => controls.check(name))); // what is wrong holds up nothing else
    if (Object.keys(changed).length === 0) return;
    try {
      await ask("/x/settings", { values: changed });
      Object.assign(this.#kept, changed);
      this.dispatchEvent(new CustomEvent("kept", { detail: "Saved." }));
    } catch (error) {
      if (error.status === undefined) throw error;
      if (!controls.blame(error.message)) say(error.message, { wrong: true });
    }
  }
}

const keeping = new Keeping();

class Settings extends HTMLElement {
  #search = make("input", { type: "search", class: "w-search", placeholder: "Search settings", "aria-label": "Search settings", id: "settings_search" });
  #said = make("span", { class: "w-aside", id: "settings_said" });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(this.#search, this.#said);
    controls.open();
    import("./filename.js").then(({ exampleOfNames }) => exampleOfNames());
    this.#search.addEventListener("input", () => this.#filter());
    keeping.addEventListener("kept", ({ detail }) => {
      this.#said.textContent = detail;
      tell(detail);
    });
    page.opened.then(({ user }) => user.owner || this.#close(), () => {});
  }

  #filter() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const parameter of controls.parameters) {
      const text = `${parameter.label} ${parameter.help} ${parameter.name}`.toLowerCase();
      const fits = words.every((word) => text.includes(word));
      controls.block(parameter.name)?.classList.toggle("w-away", !fits);
      left += fits ? 1 : 0;
    }
    for (const section of document.querySelectorAll("#settings .w-section")) {
      const some = [...section.querySelectorAll(".block[id^=settings_]")].some((block) => !block.classList.contains("w-away"));
      section.classList.toggle("w-away", !some);
    }
    this.#said.textContent = left === 0 ? "No setting has these words." : "";
    tell(left === 1 ? "One setting." : `${left} settings.`);
  }

  /** What only an owner may change is closed to everybody else. */
  #close() {
    const theirs = controls.parameters.filter((parameter) => parameter.owner);
    controls.fill(Object.fromEntries(theirs.map((parameter) => [parameter.name, { interactive: false }])));
  }
}

customElements.define("webui-settings", Settings);
