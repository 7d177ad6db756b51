// Keeps the values of the controls: a reload, another tab and another machine go on with what this person last set.

import { button } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 600; // milliseconds without a change before it is kept

/** Keeps a tab's values, whether or not it was ever opened. Events: "state" when it changes from "changed" to "kept" or back. */
class Keeping extends EventTarget {
  state = "";
  #timer = null;
  #kept = "";

  constructor({ controls, task }) {
    super();
    this.controls = controls;
    this.task = task;
    controls.addEventListener("change", () => this.#later());
    addEventListener("pagehide", () => this.#keep(true));
  }

  #later() {
    const values = JSON.stringify(this.controls.values);
    this.#kept ||= values; // what the controls begin with is kept already
    clearTimeout(this.#timer);
    this.#say(values === this.#kept ? "kept" : "changed");
    this.#timer = setTimeout(() => this.#keep(false), PAUSE);
  }

  async #keep(leaving) {
    clearTimeout(this.#timer);
    const { values } = this.controls;
    const text = JSON.stringify(values);
    if (text === this.#kept || !this.#kept) return;
    this.#kept = text;
    try {
      await ask(`/x/state/${this.task}`, { values }, { keepalive: leaving });
      this.#say("kept");
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#kept = "?"; // not kept; the next change tries again
    }
  }

  #say(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

const KEEPING = Object.fromEntries(Object.values(page.tabs).map((tab) => [tab.task, new Keeping(tab)]));

class Preferences extends HTMLElement {
  #tab = null;

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { task } = this.#tab;
    this.append(
      button("Save as default", null, () => this.#saveDefaults(), { id: `${task}_save`, class: "w-slim" }),
      button("Reset", null, () => this.#reset(), { id: `${task}_reset`, class: "w-slim", title: "Back to your defaults" }),
    );
    const keeping = KEEPING[task];
    const draw = () => (this.dataset.state = keeping.state);
    keeping.addEventListener("state", draw);
    draw();
  }

  async #saveDefaults() {
    const { prompt, negative: _, seed: __, ...values } = this.#tab.values;
    if (!(await tried(() => ask(`/x/defaults/${this.#tab.task}`, { values })))) return;
    say(`These settings are your defaults now${prompt === undefined ? "." : "; the prompts and the seed are not among them."}`);
  }

  async #reset() {
    const { controls, task } = this.#tab;
    const answer = await tried(() => ask(`/x/defaults/${task}`));
    if (!answer) return;
    const before = controls.values;
    const { prompt: _, negative: __, ...values } = answer.values; // what a person wrote is never thrown away by a button
    await controls.fill(values);
    say("The settings are your defaults again.", { undo: { label: "Undo", act: () => controls.fill(before) } });
  }
}

customElements.define("webui-preferences", Preferences);
