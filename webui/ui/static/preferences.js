// Keeps the values of the controls: a reload, another tab and another machine go on with what this person last set.

import { button } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 600; // milliseconds without a change before it is kept

class Preferences extends HTMLElement {
  #timer = null;
  #kept = "";

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(
      button("Save as default", null, () => this.#saveDefaults(), { id: "txt2img_save", class: "w-slim" }),
      button("Reset", null, () => this.#reset(), { id: "txt2img_reset", class: "w-slim", title: "Back to your defaults" }),
    );
    page.controls.txt2img.addEventListener("change", () => this.#later());
    addEventListener("pagehide", () => this.#keep(true));
  }

  #later() {
    const values = JSON.stringify(page.controls.txt2img.values);
    this.#kept ||= values; // what the controls begin with is kept already
    clearTimeout(this.#timer);
    this.dataset.state = values === this.#kept ? "kept" : "changed";
    this.#timer = setTimeout(() => this.#keep(false), PAUSE);
  }

  async #keep(leaving) {
    clearTimeout(this.#timer);
    const { values } = page.controls.txt2img;
    const text = JSON.stringify(values);
    if (text === this.#kept || !this.#kept) return;
    this.#kept = text;
    try {
      await ask("/x/state/txt2img", { values }, { keepalive: leaving });
      this.dataset.state = "kept";
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#kept = "?"; // not kept; the next change tries again
    }
  }

  async #saveDefaults() {
    const { prompt: _, negative: __, seed: ___, ...values } = page.controls.txt2img.values;
    if (await tried(() => ask("/x/defaults/txt2img", { values }))) say("These settings are your defaults now; the prompts and the seed are not among them.");
  }

  async #reset() {
    const answer = await tried(() => ask("/x/defaults/txt2img"));
    if (!answer) return;
    const before = page.controls.txt2img.values;
    const { prompt: _, negative: __, ...values } = answer.values; // what a person wrote is never thrown away by a button
    await page.controls.txt2img.fill(values);
    say("The settings are your defaults again.", { undo: { label: "Undo", act: () => page.controls.txt2img.fill(before) } });
  }
}

customElements.define("webui-preferences", Preferences);
