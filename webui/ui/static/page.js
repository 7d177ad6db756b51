// The page as one object: what its parts need of each other. Gradio's controls call it as `webui`.

import { confirm } from "./confirm.js";
import { Controls } from "./controls.js";
import { Jobs } from "./jobs.js";
import { Pictures } from "./pictures.js";
import { ask } from "./server.js";
import { Stream } from "./stream.js";
import { Tab } from "./tab.js";

const CONFIG = JSON.parse(document.getElementById("webui-config").textContent);

class Page extends EventTarget {
  config = CONFIG;
  hint = CONFIG.hint;
  controls = Object.fromEntries(Object.entries(CONFIG.areas).map(([area, parameters]) => [area, new Controls(area, parameters)]));
  tabs = Object.fromEntries(Object.entries(CONFIG.generating).map(([task, inputs]) => [task, new Tab(this, task, this.controls[task], inputs)]));
  stream = new Stream();
  jobs = new Jobs(this.stream);
  pictures = new Pictures();
  viewer = null;
  detailPanels = null; // (picture, task) -> what extensions say of it, once their panels are there
  /** What the program knows of this person: who they are, models, styles, and the values of their controls. */
  opened = ask("/x/opening");
  #last = Object.values(this.tabs)[0];

  /** The tab that makes pictures and is looked at, or was last. */
  get tab() {
    this.#last = Object.values(this.tabs).find((tab) => tab.shown) ?? this.#last;
    return this.#last;
  }

  /** The tab that an element stands in. */
  tabOf(element) {
    return this.tabs[element.closest(".w-workspace").id];
  }

  get stage() {
    return this.tab.stage;
  }

  /** The job that Interrupt and Skip are about: what is on the stage, else what runs. */
  get target() {
    const shown = this.stage?.job;
    if (shown && !shown.ended) return shown;
    const open = [...this.jobs.open.values()];
    return open.find((job) => job.state === "running") ?? open[0] ?? null;
  }

  /** Gradio has made the controls of the tab that is seen first: what they begin with. The others are filled when they are opened. */
  async begin(first) {
    const opening = await this.opened;
    document.getElementById("w-waiting")?.remove();
    this.controls[first].ready.then(() => (document.documentElement.dataset.ready = "true"));
    for (const [area, controls] of Object.entries(this.controls)) if (area !== first) controls.prepare(opening.fill[area]);
    for (const [task, inputs] of Object.entries(opening.inputs)) this.tabs[task].inputs.begin(inputs);
    return this.controls[first].begin(opening.fill[first]);
  }

  /** Queue what a tab's controls say; `given` are their values as Gradio has them. */
  generate(area, given = null) {
    return this.tabs[area].generate(given);
  }

  /** Delete pictures from the trash, once it is certain that this is meant. */
  async deleteForGood(ids) {
    const what = ids.length === 1 ? "this picture" : `these ${ids.length} pictures`;
    const sure = !this.controls.settings.values.confirm_deleting || await confirm(`Delete ${what} for good?`, "The files are removed from the disk. This cannot be undone.", "Delete for good");
    return sure && this.pictures.act("delete", ids);
  }

  /** Go to a tab. */
  show(tab) {
    document.querySelector("dialog[open]")?.close();
    document.getElementById(`tab_${tab}-button`)?.click();
  }

  /** A stage has changed. */
  drawn() {
    const job = this.target;
    const percent = job?.state === "running" ? `${Math.round(job.fraction * 100)} % · ` : "";
    document.title = percent + CONFIG.title;
    this.dispatchEvent(new Event("drawn"));
  }
}

export const page = new Page();
window.webui = page;
