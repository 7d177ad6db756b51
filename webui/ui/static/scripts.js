// Scripts, which make many jobs of one form: a plot over parameters, a matrix of a prompt's parts, a list of prompts.
//
// While one is chosen, Generate starts it. How much it would make is said beside it before anything is begun.

import { AxisField } from "./axis.js";
import { button, icon, make } from "./dom.js";
import { Field } from "./field.js";
import { Form } from "./form.js";
import { groups } from "./groups.js";
import { latest } from "./latest.js";
import { page } from "./page.js";
import { OPEN } from "./plot.js";
import { tried } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 300; // milliseconds without a change before it is counted anew
const MOST_PAST = 5; // groups that are listed
const AXES = "axes"; // the registry of what can be an axis

class Scripts extends HTMLElement {
  #tab = null;
  #scripts = null; // once they were asked for
  #chosen = null;
  #forms = new Map(); // of scripts by name, kept while one looks at another
  #choice = make("select", { onchange: () => this.#choose(this.#choice.value) });
  #fields = make("div", { class: "w-fields w-script-fields" });
  #count = make("p", { class: "w-script-count", role: "status", data: { state: "idle" } });
  #past = make("div", { class: "w-script-past" });
  #note = make("p", { class: "w-script-note", hidden: true });
  #fold = null;
  #look = latest(PAUSE, (signal) => this.#reckon(signal));

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { task, controls, inputs } = this.#tab;
    this.#choice.id = `${task}_script`;
    this.#choice.setAttribute("aria-label", "Script");
    this.#note.id = `${task}_script_note`;
    this.#fold = make("details", { class: "w-fold w-own-fold", id: `${task}_script_fold` },
      make("summary", {}, icon("next"), "Scripts"),
      make("div", { class: "w-script" }, make("div", { class: "block w-own" }, this.#choice), this.#fields, this.#count, this.#past));
    this.append(this.#fold);
    this.#fold.addEventListener("toggle", () => this.#fold.open && this.#open());
    for (const each of [controls, inputs]) each.addEventListener("change", () => this.#chosen && this.#look());
    groups.addEventListener("change", () => this.#fold.open && this.#listPast());
    document.getElementById(`${task}_generate`)?.closest(".w-run")?.after(this.#note);
    this.#tab.script = this;
  }

  /** Do what Generate means while a script is chosen; returns whether one is. */
  async instead() {
    if (!this.#chosen) return false;
    const inputs = await this.#tab.inputs.settled();
    const { group } = await ask("/x/groups", { ...this.#asked(), inputs });
    page.stream.announce();
    await this.#show(group);
    this.#listPast();
    return true;
  }

  async #open() {
    if (!this.#scripts) {
      const found = await tried(() => ask(`/x/scripts?kind=${this.#tab.task}`));
      if (!found) return;
      this.#scripts = found.scripts;
      this.#choice.replaceChildren(make("option", { value: "" }, "None"), ...this.#scripts.map(({ name, title }) => make("option", { value: name }, title)));
    }
    this.#listPast();
  }

  #choose(name) {
    this.#chosen = this.#scripts.find((script) => script.name === name) ?? null;
    this.#choice.value = this.#chosen?.name ?? "";
    this.#fields.replaceChildren(...(this.#chosen ? this.#laidOut(this.#chosen) : []));
    this.#say("idle", "");
    if (this.#chosen) this.#look();
  }

  /** The fields of a script; an axis and its values are one. */
  #laidOut(script) {
    if (!this.#forms.has(script.name)) {
      const described = script.fields.map((field) => ({ ...field, one_of: field.choices.length > 0 ? field.choices : field.one_of, choices: null, unset: field.unset ?? "", exact: false }));
      const form = new Form(`${this.#tab.task}_${script.name}`, described);
      form.addEventListener("change", () => this.#look());
      this.#forms.set(script.name, form);
    }
    const form = this.#forms.get(script.name);
    const axes = script.fields.filter(({ registry }) => registry === AXES).map(({ name }) => name);
    const values = new Set(axes.map(valuesOf));
    return form.parameters.filter(({ name }) => !values.has(name)).map((parameter) => {
      const at = axes.indexOf(parameter.name);
      const further = form.parameters.find(({ name }) => name === valuesOf(parameter.name));
      if (at < 0 || !further) return new Field(form, parameter).node;
      const swap = at + 1 < axes.length ? () => exchange(form, axes[at], axes[at + 1]) : null;
      return new AxisField(form, parameter, further, script.axes, swap).node;
    });
  }

  #asked() {
    const { styles, ...params } = this.#tab.said;
    const { values } = this.#forms.get(this.#chosen.name);
    const given = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));
    return { script: this.#chosen.name, values: given, kind: this.#tab.task, params, styles: styles ?? [] };
  }

  /** How much it would make; what is wrong with it is said instead. */
  async #reckon(signal) {
    if (!this.#chosen) return undefined;
    this.#count.dataset.state = "asking";
    try {
      const { pictures, sides, problem } = await ask("/x/groups/count", { ...this.#asked(), inputs: this.#tab.inputs.digests }, { signal });
      if (signal.aborted) return;
      if (problem) return this.#say("refused", problem);
      const shape = sides.filter((side) => side > 1);
      const how = shape.length > 1 ? ` (${shape.join(" × ")})` : "";
      return this.#say("known", `${pictures} ${pictures === 1 ? "picture" : "pictures"}${how}`);
    } catch (error) {
      if (error.status === undefined) throw error;
      return signal.aborted ? undefined : this.#say(error.status === 0 ? "lost" : "refused", error.message);
    }
  }

  #say(state, text) {
    this.#count.dataset.state = state;
    this.#count.textContent = text;
    this.#note.hidden = this.#chosen === null;
    if (!this.#chosen) return undefined;
    const off = button("Off", null, () => this.#choose(""), { class: "w-slim", id: `${this.#tab.task}_script_off`, title: "Make single pictures again" });
    return this.#note.replaceChildren(make("span", {}, `Generate starts ${this.#chosen.title}${state === "known" ? `: ${text}` : ""}.`), off);
  }

  /** The newest groups of this tab. */
  async #listPast() {
    const all = await tried(() => groups.list());
    const own = (all ?? []).filter(({ kind }) => kind === this.#tab.task).slice(0, MOST_PAST);
    const row = ({ group, script, done, of, state }) => make("li", { data: { group, state } },
      make("span", {}, script), make("small", {}, OPEN.has(state) ? `${done} of ${of}` : `${of} ${of === 1 ? "picture" : "pictures"}${state === "done" ? "" : `, ${state}`}`),
      button("Show", null, () => tried(() => this.#show(group)), { class: "w-slim" }));
    this.#past.replaceChildren(...(own.length > 0 ? [make("h3", {}, "Newest"), make("ul", {}, ...own.map(row))] : []));
  }

  async #show(id) {
    const group = await groups.get(id);
    this.#tab.withStage((stage) => stage.showGroup(group));
  }
}

function valuesOf(axis) {
  return axis.replace(/_type$/, "_values");
}

function exchange(form, one, other) {
  const { values } = form;
  const [first, second] = [valuesOf(one), valuesOf(other)];
  form.put({ [one]: values[other], [other]: values[one], [first]: values[second], [second]: values[first] });
}

/** After a reload, what is still being made is on the stage again. */
async function goOn() {
  const open = (await groups.list()).find(({ state }) => OPEN.has(state));
  const tab = open && page.tabs[open.kind];
  if (!tab) return;
  const group = await groups.get(open.group);
  tab.withStage((stage) => stage.showGroup(group));
}

customElements.define("webui-scripts", Scripts);
tried(goOn);
