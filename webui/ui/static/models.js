// Which models there are: what the chosen one takes when nothing else is said, and why a file cannot be used.

import { because } from "./because.js";
import { button, icon, make } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const FILES = ["model", "vae", "refiner"]; // controls whose choices are files
const OWN = "the model's own";

class Models extends HTMLElement {
  #models = [];
  #choices = {};
  #last = null; // the last one that can be used
  #note = make("p", { class: "w-aside w-model-note", id: "txt2img_model_note", hidden: true });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(button("Look for models again", "redo", () => this.#look(), { shown: false, id: "txt2img_models" }));
    page.controls.txt2img.addEventListener("change", ({ detail }) => this.#changed(detail.before));
    page.addEventListener("models", ({ detail }) => this.#renew(detail));
    page.controls.txt2img.ready.then(() => page.opened).then(({ models, choices }) => this.#take(models, choices));
  }

  #take(models, choices) {
    this.#models = models;
    this.#choices = choices;
    const row = document.getElementById("txt2img_model").closest(".row");
    const bad = models.filter((model) => model.problem);
    document.getElementById("txt2img_bad_models")?.remove();
    if (bad.length > 0) {
      const list = bad.map(({ title, problem }) => make("li", {}, problem.startsWith(title) ? null : make("b", {}, `${title} `), problem));
      const title = bad.length === 1 ? "One model file cannot be used" : `${bad.length} model files cannot be used`;
      const fold = make("details", { class: "w-fold w-bad-models", id: "txt2img_bad_models" }, make("summary", {}, icon("next"), title), make("ul", {}, ...list));
      row.after(fold);
    }
    row.after(this.#note);
    // A refiner is a second model. Said on the root, since Gradio may draw the fold later or anew.
    document.documentElement.toggleAttribute("data-one-model", models.length - bad.length < 2);
    this.#draw();
  }

  #changed(before) {
    const { model, sampler } = page.controls.txt2img.values;
    if (model === before.model && sampler === before.sampler && page.model) return;
    const found = this.#models.find((each) => each.name === model);
    if (found?.problem) {
      page.controls.txt2img.fill({ model: this.#last });
      say(`${found.title} cannot be used. ${found.problem}`, { wrong: true });
      return;
    }
    this.#draw();
  }

  /** Say in empty fields, and beside what is automatic, what the model takes. */
  #draw() {
    const { model, sampler } = page.controls.txt2img.values;
    const found = this.#models.find((each) => each.name === model) ?? this.#models[0];
    if (!found || found.problem) return;
    this.#last = found.name;
    page.model = found;
    const own = { width: found.native_size, height: found.native_size, scale: found.scale, steps: found.steps };
    const fields = Object.entries(own).map(([name, value]) => [name, { placeholder: said(name, value) }]);
    const automatic = { sampler: found.sampler, schedule: sampler === this.#choices.sampler[0][1] ? found.schedule : "", vae: found.vae || OWN };
    const lists = Object.entries(automatic).map(([name, value]) => [name, { choices: labelled(this.#choices[name], value) }]);
    page.controls.txt2img.fill(Object.fromEntries([...fields, ...lists]));
    this.#note.textContent = because(found);
    this.#note.hidden = !found.because;
    page.dispatchEvent(new Event("model"));
  }

  async #look() {
    const found = await tried(() => ask("/x/models"));
    if (!found) return;
    await this.#renew(found);
    const good = found.models.filter((model) => !model.problem).length;
    say(good === 1 ? "There is one model." : `There are ${good} models.`);
  }

  async #renew({ models, choices }) {
    await page.controls.txt2img.fill(Object.fromEntries(FILES.map((name) => [name, { choices: choices[name] }])));
    this.#take(models, choices);
  }
}

/** What an empty field says: the value that stands there; whose it is, where a file does not tell the value. */
function said(name, value) {
  if (value !== null && value !== undefined) return String(value);
  return page.controls.txt2img.parameters.find((parameter) => parameter.name === name).unset;
}

/** Choices whose first, the automatic one, says what it comes to. */
function labelled(choices, value) {
  const [[label, name], ...rest] = choices;
  return [[value && value !== name ? `Auto: ${value}` : label, name], ...rest];
}

customElements.define("webui-models", Models);
