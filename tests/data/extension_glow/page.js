// The tab and the panel of glow.

import { button, current, extension, insert, make, on, set, values } from "webui";
import { WORDS } from "./words.js";

const own = extension(import.meta.url);

class GlowTab extends HTMLElement {
  async connectedCallback() {
    if (this.childElementCount > 0) return;
    const said = make("p", { class: "glow-said" });
    const heard = make("ol", { class: "glow-heard" });
    this.append(make("h2", {}, "Glow"), said, button("Glow fully", null, () => set("txt2img", "glow_strength", 1), { id: "glow_fully" }),
      button("Say it", null, () => insert("txt2img", WORDS), { id: "glow_say" }), heard);
    on("picture", ({ task }) => heard.append(make("li", {}, `${task}: ${own.value("strength", "txt2img")}`)));
    on("tab", ({ name }) => (this.dataset.tab = name));
    const { greeting, version, user } = await own.get("greeting");
    said.textContent = `${greeting}, ${user}! This is ${version}; txt2img has ${Object.keys(values("txt2img")).length} values, ${current()} is looked at.`;
    this.dataset.state = "ready";
  }
}

class GlowNote extends HTMLElement {
  connectedCallback() {
    this.textContent = `Glow knows ${this.picture.width} × ${this.picture.height} in ${this.task}.`;
  }
}

customElements.define("glow-tab", GlowTab);
customElements.define("glow-note", GlowNote);
