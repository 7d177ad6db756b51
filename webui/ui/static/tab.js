// One tab that makes pictures: its controls, the pictures it starts from, its stage, and how a job begins.

import { Inputs } from "./inputs.js";
import { say } from "./say.js";
import { ask } from "./server.js";

export class Tab {
  stage = null; // once the tab was opened
  model = null; // the chosen one; "model" is told when it is another
  panel = null; // where its pictures are chosen, once the tab was opened
  script = null; // where a script is chosen, which makes many jobs of one form
  #page;
  #waiting = []; // what is done with the stage as soon as there is one

  constructor(page, task, controls, inputs) {
    this.#page = page;
    this.task = task;
    this.controls = controls;
    this.inputs = new Inputs(task, inputs);
  }

  get values() {
    return this.controls.values;
  }

  /** Whether it is the one that is looked at. */
  get shown() {
    return document.getElementById(this.task)?.checkVisibility() ?? false;
  }

  /** What a job that begins now would look like. */
  get shape() {
    const { width, height, scale_by: by } = this.values;
    const own = this.model?.native_size ?? 1;
    const given = this.inputs.values.picture ?? this.inputs.values.depth;
    if (width || height || !given?.width) return { width: width || own, height: height || own };
    const scale = by || own / Math.sqrt(given.width * given.height);
    return { width: Math.round(given.width * scale), height: Math.round(given.height * scale) };
  }

  /** Do something with the stage, when there is one. */
  withStage(act) {
    if (this.stage) act(this.stage);
    else this.#waiting.push(act);
  }

  /** The stage is there. */
  arrive(stage) {
    this.stage = stage;
    for (const act of this.#waiting.splice(0)) act(stage);
  }

  /** Queue what the controls say; `given` are their values as Gradio has them. */
  async generate(given = null) {
    const { controls } = this;
    if (given) controls.all(given);
    this.refuse("");
    if (!controls.check()) return controls.lead();
    try {
      await controls.settled();
      if (await this.panel?.instead()) return undefined;
      const refusal = this.panel?.refusal() ?? "";
      if (refusal) return this.refuse(refusal);
      if (await this.script?.instead()) return undefined;
      await this.submit(await this.inputs.settled());
    } catch (error) {
      if (error.status === undefined) throw error;
      if (error.status !== 0 && controls.blame(error.message)) controls.lead();
      else this.refuse(error.message);
    }
    return undefined;
  }

  /** Queue a job of these inputs; returns its id. */
  submit(inputs, more = {}) {
    const { styles, ...values } = this.said;
    this.stage?.release();
    for (const digest of Object.values(inputs)) this.inputs.used.add(digest);
    return this.#page.jobs.submit(this.task, { ...values, ...more }, styles ?? [], inputs);
  }

  /** The values that say something; the others are left to the program, which knows the defaults, and may have lost an extension. */
  get said() {
    const known = Object.fromEntries(this.controls.parameters.map((parameter) => [parameter.name, parameter]));
    const says = ([name, value]) => value !== null && !(value === "" && known[name]?.optional) && !(known[name]?.extension && value === known[name].default);
    return Object.fromEntries(Object.entries(this.values).filter(says));
  }

  /** Say below the buttons why nothing was queued. */
  refuse(sentence) {
    const line = document.getElementById(`${this.task}_refusal`);
    if (!line) return;
    line.replaceChildren(sentence);
    line.hidden = sentence === "";
  }

  /**
   * Take over what a picture's text says into the controls; with `keep`, what it does not say stays as it is. What could not be
   * taken over, and the `further` sentences, are kept as notes; `whole` is what the text was found in: {text}, {file} or {picture}.
   */
  async read(text, { keep = false, quietly = false, further = [], whole = { text } } = {}) {
    const { values, notes } = await ask("/x/read", { area: this.task, text, keep });
    await this.controls.fill(values);
    this.took([...notes, ...further], whole, quietly);
  }

  /** The controls hold what was said there, as far as the notes do not say otherwise. */
  took(notes, whole, quietly = false) {
    this.refuse("");
    this.notes.set(notes, whole);
    this.notes.mount();
    const { length } = this.notes.sentences;
    const left = length === 0 ? "" : `, but for ${length === 1 ? "one thing" : `${length} things`}: see below the button`;
    if (!quietly) say(`The parameters are in the controls${left}.`);
  }

  /** Start from these pictures, by name, and from no other. */
  start(inputs) {
    for (const name of this.inputs.names) this.inputs.set(name, inputs[name] ?? null);
    this.refuse("");
  }

  /** Let the person write the prompt anew. */
  async write() {
    for (let waited = 0; waited < 60; waited += 1) {
      const field = document.querySelector(`#${this.task}_prompt textarea`);
      if (field?.checkVisibility()) {
        field.focus();
        field.select();
        return;
      }
      await new Promise(requestAnimationFrame); // Gradio draws a tab when it is opened
    }
  }

  /** Put an example into the prompt and draw it. */
  async tryOut(prompt) {
    await this.controls.fill({ prompt });
    await this.controls.comeToBe((values) => values.prompt === prompt);
    await this.generate();
  }
}
