// The page as one object: what its parts need of each other. Gradio's controls call it as `webui`.

import { confirm } from "./confirm.js";
import { Controls } from "./controls.js";
import { Jobs } from "./jobs.js";
import { Pictures } from "./pictures.js";
import { say } from "./say.js";
import { ask } from "./server.js";
import { Stream } from "./stream.js";

const CONFIG = JSON.parse(document.getElementById("webui-config").textContent);

class Page extends EventTarget {
  config = CONFIG;
  hint = CONFIG.hint;
  controls = Object.fromEntries(Object.entries(CONFIG.areas).map(([area, parameters]) => [area, new Controls(area, parameters)]));
  stream = new Stream();
  jobs = new Jobs(this.stream);
  pictures = new Pictures();
  stage = null;
  viewer = null;
  model = null; // the chosen one; "model" is told when it is another
  /** What the program knows of this person: who they are, models, styles, and the values of their controls. */
  opened = ask("/x/opening");

  /** What a job that begins now would look like. */
  get shape() {
    const { values } = this.controls.txt2img;
    const own = this.model?.native_size ?? 1;
    return { width: values.width || own, height: values.height || own };
  }

  /** The job that Interrupt and Skip are about: what is on the stage, else what runs. */
  get target() {
    const shown = this.stage?.job;
    if (shown && !shown.ended) return shown;
    const open = [...this.jobs.open.values()];
    return open.find((job) => job.state === "running") ?? open[0] ?? null;
  }

  /** Gradio has made its controls: what they begin with. */
  async begin(area) {
    const opening = await this.opened;
    document.getElementById("w-waiting")?.remove();
    this.controls[area].ready.then(() => (document.documentElement.dataset.ready = "true"));
    return this.controls[area].begin(opening.fill[area]);
  }

  /** Queue what the controls say; `given` are their values as Gradio has them. */
  async generate(given = null) {
    const controls = this.controls.txt2img;
    if (given) controls.changed(given);
    this.refuse("");
    if (!controls.check()) return controls.lead();
    const { styles, ...values } = controls.values;
    try {
      this.stage?.release();
      await this.jobs.submit("txt2img", set(controls, values), styles ?? []);
    } catch (error) {
      if (error.status === undefined) throw error;
      if (error.status !== 0 && controls.blame(error.message)) controls.lead();
      else this.refuse(error.message);
    }
    return undefined;
  }

  /** Say below the buttons why nothing was queued. */
  refuse(sentence) {
    const line = document.getElementById("txt2img_refusal");
    line.textContent = sentence;
    line.hidden = sentence === "";
  }

  /** Take over what a picture's text says into the controls. */
  async read(text) {
    const { values, notes } = await ask("/x/read", { area: "txt2img", text });
    await this.controls.txt2img.fill(values);
    this.refuse("");
    say(["The parameters are in the controls.", ...notes].join(" "));
  }

  /** Put an example into the prompt and draw it. */
  async tryOut(prompt) {
    await this.controls.txt2img.fill({ prompt });
    await this.controls.txt2img.comeToBe((values) => values.prompt === prompt);
    await this.generate();
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

  /** The stage has changed. */
  drawn() {
    const job = this.target;
    const percent = job?.state === "running" ? `${Math.round(job.fraction * 100)} % · ` : "";
    document.title = percent + CONFIG.title;
    this.dispatchEvent(new Event("drawn"));
  }
}

/** The values that say something; the others are left to the program, which knows the defaults. */
function set(controls, values) {
  const optional = new Set(controls.parameters.filter((parameter) => parameter.optional).map((parameter) => parameter.name));
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => value !== null && !(value === "" && optional.has(name))));
}

export const page = new Page();
window.webui = page;
