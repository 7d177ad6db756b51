// Interrupt and Skip, beside Generate: they work while there is something to stop.

import { button } from "./dom.js";
import { page } from "./page.js";
import { tried } from "./say.js";

class Run extends HTMLElement {
  #interrupt = button("Interrupt", "stop", () => this.#act("interrupt"), { title: "End now and keep the picture as it is" });
  #skip = button("Skip", "next", () => this.#act("skip"), {
    title: "Drop the picture that is being drawn and go on with the next (Alt+Enter)",
  });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    const { task } = page.tabOf(this);
    this.#interrupt.id = `${task}_interrupt`;
    this.#skip.id = `${task}_skip`;
    this.append(this.#interrupt, this.#skip);
    page.addEventListener("drawn", () => this.#draw());
    page.jobs.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const job = page.target;
    this.#interrupt.disabled = job === null;
    this.#skip.disabled = job?.state !== "running";
  }

  async #act(what) {
    const job = page.target;
    if (job) await tried(() => page.jobs.act(job.id, what));
  }
}

customElements.define("webui-run", Run);
