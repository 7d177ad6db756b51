// The buttons beside the seed: a new random one each time, or that of the picture on the stage.

import { button } from "./dom.js";
import { page } from "./page.js";
import { say } from "./say.js";

const RANDOM = "-1";

class Seed extends HTMLElement {
  connectedCallback() {
    const tab = page.tabOf(this);
    const random = button("Random seed", "dice", () => tab.controls.fill({ seed: RANDOM }), { shown: false, id: `${tab.task}_seed_random` });
    const reuse = button("Seed of the last picture", "redo", () => this.#reuse(tab), { shown: false, id: `${tab.task}_seed_reuse` });
    this.replaceChildren(random, reuse);
  }

  async #reuse({ stage: { picture }, controls }) {
    if (!picture) return say("There is no picture yet whose seed could be used again.");
    return controls.fill({ seed: String(picture.seed) });
  }
}

customElements.define("webui-seed", Seed);
