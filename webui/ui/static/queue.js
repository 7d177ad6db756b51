// This person's other open jobs: what waits and what runs besides what is on the stage, and what can be done about it. Those of a
// plot are not among them: it says itself how far it is.

import { button, make } from "./dom.js";
import { page } from "./page.js";
import { tried } from "./say.js";
import { brief } from "./status.js";

class Queue extends HTMLElement {
  #rows = new Map();
  #list = make("ol", { class: "w-queue", "aria-label": "Your other jobs" });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(this.#list);
    page.addEventListener("drawn", () => this.#draw());
    page.jobs.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const shown = page.tabOf(this).stage?.job;
    const jobs = inOrder([...page.jobs.open.values()].filter((job) => job.task !== "map" && !job.group && (job !== shown || job.state === "queued")));
    for (const [id, row] of this.#rows) {
      if (jobs.some((job) => job.id === id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    const waiting = jobs.filter((job) => job.state === "queued");
    for (const job of jobs) {
      if (!this.#rows.has(job.id)) this.#rows.set(job.id, new Row(job));
      const row = this.#rows.get(job.id);
      row.draw(job, waiting[waiting.indexOf(job) - 1] ?? null, shown);
      if (this.#list.children[jobs.indexOf(job)] !== row.node) this.#list.insertBefore(row.node, this.#list.children[jobs.indexOf(job)] ?? null);
    }
    this.hidden = jobs.length === 0;
  }
}

/** A job is seen where it was asked for. */
function show(job) {
  const tab = page.tabs[job.task];
  tab.withStage((stage) => stage.showJob(job));
  page.show(job.task);
}

/** Those that run, then the others as they will begin. */
function inOrder(jobs) {
  const rank = (job) => (job.state === "running" ? -1 : (job.position ?? Infinity));
  return jobs.sort((one, other) => rank(one) - rank(other));
}

class Row {
  #prompt = make("span", { class: "w-queue-prompt" });
  #state = make("span", { class: "w-queue-state" });
  #before = null;

  constructor(job) {
    const act = (what, body) => tried(() => page.jobs.act(job.id, what, body));
    this.show = button("Show", null, () => show(job), { class: "w-slim" });
    this.up = button("Move up", "up", () => act("move", { before: this.#before }), { shown: false });
    this.stop = button("Interrupt, keep the pictures", "stop", () => act("interrupt"), { shown: false });
    this.cancel = button("Cancel", "cancel", () => act("cancel"), { shown: false });
    this.node = make("li", { data: { job: job.id } }, this.#prompt, this.#state, this.show, this.up, this.stop, this.cancel);
  }

  draw(job, before, shown) {
    const runs = job.state === "running";
    this.#before = before?.id ?? null;
    this.node.dataset.state = job.state;
    this.#prompt.textContent = job.prompt.trim() || "(no prompt)";
    this.#prompt.title = job.prompt;
    this.#state.textContent = `${job.pictures > 1 ? `${job.pictures} pictures · ` : ""}${brief(job)}`;
    this.show.hidden = job === shown || !page.tabs[job.task];
    this.stop.hidden = !runs;
    this.up.hidden = runs || before === null;
    this.cancel.hidden = runs;
  }
}

customElements.define("webui-queue", Queue);
