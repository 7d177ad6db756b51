// Which models there are: what the chosen one of a tab takes when nothing else is said, and why a file cannot be used.

import { because } from "./because.js";
import { button, icon, make } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const OWN = "the model's own";

let known = { models: [], choices: {} }; // as they were last looked up

/** A tab's model, and what is said of it in the tab's controls, whether or not the tab was ever opened. */
class Chosen {
  #tab;
  #last = null; // the last one that can be used

  constructor(tab) {
    this.#tab = tab;
    tab.controls.addEventListener("change", ({ detail }) => this.#changed(detail.before));
  }

  #changed(before) {
    const { model, sampler } = this.#tab.values;
    if (model === before.model && sampler === before.sampler && this.#tab.model) return;
    const found = known.models.find((each) => each.name === model);
    if (found?.problem) {
      this.#tab.controls.fill({ model: this.#last });
      say(`${found.title} cannot be used. ${found.problem}`, { wrong: true });
      return;
    }
    this.draw();
  }

  /** Say in empty fields, and beside what is automatic, what the model takes. */
  draw() {
    const { controls, values } = this.#tab;
    const found = known.models.find((each) => each.name === values.model) ?? known.models[0];
    if (!found || found.problem) return;
    this.#last = found.name;
    this.#tab.model = found;
    const own = { width: found.native_size, height: found.native_size, scale: found.scale, steps: found.steps };
    if (this.#tab.inputs.names.length > 0) for (const side of ["width", "height"]) delete own[side]; // they follow the picture
    const fields = Object.entries(own).map(([name, value]) => [name, { placeholder: this.#said(name, value) }]);
    const automatic = { sampler: found.sampler, schedule: values.sampler === known.choices.sampler[0][1] ? found.schedule : "", vae: found.vae || OWN };
    const lists = Object.entries(automatic).map(([name, value]) => [name, { choices: labelled(known.choices[name], value) }]);
    controls.fill(Object.fromEntries([...fields, ...lists]));
    page.dispatchEvent(new CustomEvent("model", { detail: this.#tab }));
  }

  /** What an empty field says: the value that stands there; whose it is, where a file does not tell the value. */
  #said(name, value) {
    if (value !== null && value !== undefined) return String(value);
    return this.#tab.controls.parameters.find((parameter) => parameter.name === name).unset;
  }
}

const WITH_MODELS = Object.values(page.tabs).filter((tab) => tab.controls.names.includes("model"));
const CHOSEN = WITH_MODELS.map((tab) => new Chosen(tab));

page.addEventListener("models", ({ detail }) => renew(detail));
Promise.all([page.opened, WITH_MODELS[0].controls.ready]).then(([{ models, choices }]) => take(models, choices), () => {});

function take(models, choices) {
  known = { models, choices };
  // A refiner is a second model. Said on the root, since Gradio may draw the fold later or anew.
  document.documentElement.toggleAttribute("data-one-model", models.filter((model) => !model.problem).length < 2);
  CHOSEN.forEach((each, at) => WITH_MODELS[at].controls.ready.then(() => each.draw()));
  page.dispatchEvent(new Event("models-known"));
}

async function renew({ models, choices }) {
  for (const { controls } of Object.values(page.tabs)) {
    const own = Object.keys(choices).filter((name) => controls.names.includes(name));
    await controls.fill(Object.fromEntries(own.map((name) => [name, { choices: choices[name] }])));
  }
  take(models, choices);
}

/** The models that fulfil something, as they may be chosen. */
export function usable(fits) {
  return known.models.filter((model) => !model.problem && fits(model));
}

class Models extends HTMLElement {
  #tab = null;
  #note = make("p", { class: "w-aside w-model-note", hidden: true });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { task } = this.#tab;
    this.#note.id = `${task}_model_note`;
    this.append(button("Look for models again", "redo", () => look(), { shown: false, id: `${task}_models` }));
    page.addEventListener("models-known", () => this.#list());
    page.addEventListener("model", ({ detail }) => detail === this.#tab && this.#say());
    if (known.models.length > 0) this.#list();
  }

  /** The files that cannot be used, with why. */
  #list() {
    const { task } = this.#tab;
    const row = this.closest(".row");
    const bad = known.models.filter((model) => model.problem);
    document.getElementById(`${task}_bad_models`)?.remove();
    if (bad.length > 0) {
      const list = bad.map(({ title, problem }) => make("li", {}, problem.startsWith(title) ? null : make("b", {}, `${title} `), problem));
      const title = bad.length === 1 ? "One model file cannot be used" : `${bad.length} model files cannot be used`;
      const fold = make("details", { class: "w-fold w-bad-models", id: `${task}_bad_models` }, make("summary", {}, icon("next"), title), make("ul", {}, ...list));
      row.after(fold);
    }
    row.after(this.#note);
    this.#say();
  }

  #say() {
    const { model } = this.#tab;
    if (!model) return;
    this.#note.textContent = because(model);
    this.#note.hidden = !model.because;
  }
}

async function look() {
  const found = await tried(() => ask("/x/models"));
  if (!found) return;
  await renew(found);
  const good = found.models.filter((model) => !model.problem).length;
  say(good === 1 ? "There is one model." : `There are ${good} models.`);
}

/** Choices whose first, the automatic one, says what it comes to. */
function labelled(choices, value) {
  const [[label, name], ...rest] = choices;
  return [[value && value !== name ? `Auto: ${value}` : label, name], ...rest];
}

customElements.define("webui-models", Models);
