// Which models there are: what the chosen one takes when nothing else is said, and why a file cannot be used.

import { button, icon, make } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

class Models extends HTMLElement {
  #models = [];
  #last = null; // the last one that can be used

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(button("Look for models again", "redo", () => this.#look(), { shown: false, id: "txt2img_models" }));
    page.controls.txt2img.addEventListener("change", ({ detail }) => this.#changed(detail.before));
    page.controls.txt2img.ready.then(() => page.opened).then(({ models }) => this.#take(models));
  }

  #take(models) {
    this.#models = models;
    const bad = models.filter((model) => model.problem);
    document.getElementById("txt2img_bad_models")?.remove();
    if (bad.length > 0) {
      const list = bad.map(({ title, problem }) => make("li", {}, problem.startsWith(title) ? null : make("b", {}, `${title} `), problem));
      const title = bad.length === 1 ? "One model file cannot be used" : `${bad.length} model files cannot be used`;
      const fold = make("details", { class: "w-fold w-bad-models", id: "txt2img_bad_models" }, make("summary", {}, icon("next"), title), make("ul", {}, ...list));
      document.getElementById("txt2img_model").closest(".row").after(fold);
    }
    this.#draw();
  }

  #changed(before) {
    const { model } = page.controls.txt2img.values;
    if (model === before.model && page.model) return;
    const found = this.#models.find((each) => each.name === model);
    if (found?.problem) {
      page.controls.txt2img.fill({ model: this.#last });
      say(`${found.title} cannot be used. ${found.problem}`, { wrong: true });
      return;
    }
    this.#draw();
  }

  /** Say in empty fields what the model takes. */
  #draw() {
    const { model } = page.controls.txt2img.values;
    const found = this.#models.find((each) => each.name === model) ?? this.#models[0];
    if (!found || found.problem) return;
    this.#last = found.name;
    page.model = found;
    const own = { width: found.native_size, height: found.native_size, scale: found.scale };
    page.controls.txt2img.fill(Object.fromEntries(Object.entries(own).map(([name, value]) => [name, { placeholder: said(name, value) }])));
    page.dispatchEvent(new Event("model"));
  }

  async #look() {
    const found = await tried(() => ask("/x/models"));
    if (!found) return;
    await page.controls.txt2img.fill({ model: { choices: found.choices } });
    this.#take(found.models);
    const good = found.models.filter((model) => !model.problem).length;
    say(good === 1 ? "There is one model." : `There are ${good} models.`);
  }
}

/** What an empty field says: the value that stands there; whose it is, where a file does not tell the value. */
function said(name, value) {
  if (value !== null && value !== undefined) return String(value);
  return page.controls.txt2img.parameters.find((parameter) => parameter.name === name).unset;
}

customElements.define("webui-models", Models);
