// The button beside the styles that opens what is chosen with the eye: LoRA, embeddings and whatever else extensions have cards for.

import { button } from "./dom.js";
import { page } from "./page.js";

let drawer = null; // made when it is first opened

class Cards extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount > 0 || !page.config.extensions.cards) return;
    const tab = page.tabOf(this);
    const toggle = button("LoRA, embeddings and more", "cards", () => this.#open(tab, toggle), { shown: false, id: `${tab.task}_cards`, "aria-expanded": "false" });
    this.append(toggle);
  }

  async #open(tab, toggle) {
    const { Drawer } = await import("./drawer.js");
    drawer ??= new Drawer();
    drawer.toggle(tab, toggle);
  }
}

customElements.define("webui-cards", Cards);
