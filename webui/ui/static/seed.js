// The buttons beside the seed: a new random one each time, or that of the picture on the stage.

import { button } from "./dom.js";
import { page } from "./page.js";
import { say } from "./say.js";

const RANDOM = "-1";

class Seed extends HTMLElement {
  connectedCallback() {
    const random = button("Random seed", "dice", () => page.controls.txt2img.fill({ seed: RANDOM }), { shown: false, id: "txt2img_seed_random" });
    const reuse = button("Seed of the last picture", "redo", () => this.#reuse(), { shown: false, id: "txt2img_seed_reuse" });
    this.replaceChildren(random, reuse);
  }

  async #reuse() {
    const { picture } = page.stage;
    if (!picture) return say("There is no picture yet whose seed could be used again.");
    return page.controls.txt2img.fill({ seed: String(picture.seed) });
  }
}

customElements.define("webui-seed", Seed);
