// The Models tab: every model and VAE file with what is known of it, or why it cannot be used; an owner may say what a file is.

import { because } from "./because.js";
import { button, make } from "./dom.js";
import { setOptions } from "./modeloptions.js";
import { page } from "./page.js";
import { say, tell, tried } from "./say.js";
import { ask } from "./server.js";

class ModelFiles extends HTMLElement {
  #search = make("input", { type: "search", class: "w-search", placeholder: "Search models", "aria-label": "Search models", id: "models_search" });
  #count = make("span", { class: "w-aside", id: "models_count" });
  #lists = make("div", { class: "w-model-lists" });
  #known = null;

  connectedCallback() {
    if (this.childElementCount > 0) return;
    const again = button("Look again", "redo", () => this.#look(true), { id: "models_refresh", title: "Look for files that were added or changed" });
    this.append(make("div", { class: "w-model-tools" }, this.#search, this.#count, make("span", { class: "w-gap" }), again), this.#lists);
    this.#search.addEventListener("input", () => this.#draw());
    this.#look(false);
  }

  async #look(asked) {
    this.dataset.state = "loading";
    const found = await tried(() => ask("/x/model-files"));
    this.dataset.state = found ? "ready" : "failed";
    if (!found) return;
    this.#take(found);
    if (!asked) return;
    const bad = found.models.filter((model) => model.problem).length;
    const good = found.models.length - bad;
    say(`${good === 1 ? "There is one model" : `There are ${good} models`}${bad ? `; ${bad} more cannot be used` : ""}.`);
    await this.#tellOthers();
  }

  /** The models among the controls are those that are listed here. */
  async #tellOthers() {
    const found = await tried(() => ask("/x/models"));
    if (found) page.dispatchEvent(new CustomEvent("models", { detail: found }));
  }

  #take(found) {
    this.#known = found;
    this.#draw();
  }

  #draw() {
    if (!this.#known) return;
    const { models, vaes, may_change: mayChange } = this.#known;
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (file) => words.every((word) => textOf(file).includes(word));
    const shown = models.filter(fits);
    const parts = [
      section("Models", shown.filter((model) => !model.problem).map((model) => this.#row(model, mayChange))),
      section("Cannot be used", shown.filter((model) => model.problem).map((model) => this.#row(model, mayChange))),
      section("VAE", vaes.filter(fits).map(vaeRow)),
    ];
    this.#lists.replaceChildren(...parts.filter(Boolean));
    if (this.#lists.childElementCount === 0) this.#lists.append(make("p", { class: "w-aside" }, words.length ? "No model has these words." : "There are no models yet. Put checkpoints into models/checkpoints."));
    const said = words.length ? `${shown.length} of ${models.length}` : "";
    this.#count.textContent = said;
    if (words.length) tell(shown.length === 1 ? "One model." : `${shown.length} models.`);
  }

  #row(model, mayChange) {
    const set = Object.keys(model.set).length > 0;
    const use = model.problem ? null : button("Use", null, () => this.#use(model), { "aria-label": `Use ${model.title}`, data: { act: "use" } });
    const change = mayChange && (!model.problem || set)
      ? button("Change …", null, () => this.#change(model), { "aria-label": `Change what ${model.title} is`, data: { act: "change" } })
      : null;
    const marks = [
      model.undecided ? make("span", { class: "w-mark", title: "The file leaves it open; its network is asked when it is first used" }, "eps or v undecided") : null,
      set ? make("span", { class: "w-mark w-mark-set" }, "set by the owner") : null,
    ];
    return row(model, marks, model.problem ? [] : facts(model), [use, change]);
  }

  async #use(model) {
    const { controls, task } = page.tab.controls.names.includes("model") ? page.tab : page.tabs.txt2img;
    await controls.fill({ model: model.name });
    page.show(task);
    say(`${model.title} is chosen.`);
  }

  async #change(model) {
    const found = await setOptions(model, this.#known);
    if (!found) return;
    this.#take(found);
    const kept = found.models.find((each) => each.name === model.name);
    say(Object.keys(kept?.set ?? {}).length ? `What was set for ${model.title} holds from now on.` : `${model.title} is what its file says again.`);
    await this.#tellOthers();
  }
}

/** What is known of a model, as short texts. */
function facts(model) {
  const { native_size: size, steps, scale, vae } = model;
  return [
    model.family,
    size && !model.family.includes(size) ? `${size} × ${size}` : null,
    model.prediction === "v" ? "predicts velocity" : null,
    model.zero_terminal_snr ? "zero terminal SNR" : null,
    steps ? `${steps === 1 ? "one step" : `${steps} steps`}, CFG scale ${scale}` : null,
    vae ? `VAE ${vae}` : null,
  ];
}

function vaeRow(vae) {
  return row({ ...vae, title: vae.name, folder: false }, [], [], []);
}

function row(file, marks, said, buttons) {
  const technical = [file.folder ? "folder" : null, file.bytes === null ? null : size(file.bytes), file.hash ? `hash ${file.hash.slice(0, 10)}` : null];
  const lines = [said, [because(file)], technical].map((parts) => parts.filter(Boolean).join(" · ")).filter(Boolean);
  return make("li", { class: "w-model", data: { model: file.name, state: file.problem ? "bad" : "good" } },
    make("div", { class: "w-model-text" },
      make("p", { class: "w-model-name" }, make("b", {}, file.title), ...marks),
      ...lines.map((line) => make("p", { class: "w-model-facts" }, line)),
      file.problem ? make("p", { class: "w-model-problem" }, file.problem) : null),
    make("div", { class: "w-model-buttons" }, ...buttons));
}

function section(title, rows) {
  if (rows.length === 0) return null;
  const id = `models_${title.toLowerCase().replaceAll(" ", "_")}`;
  return make("section", { class: "w-section", "aria-labelledby": id }, make("h2", { id }, title), make("ul", { class: "w-model-list" }, ...rows));
}

function size(bytes) {
  const units = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
  const [per, unit] = units.find(([each]) => bytes >= each) ?? [1, "bytes"];
  return `${(bytes / per).toFixed(unit === "GB" ? 1 : 0)} ${unit}`;
}

function textOf({ name, family, hash, problem }) {
  return `${name} ${family ?? ""} ${hash} ${problem}`.toLowerCase();
}

customElements.define("webui-model-files", ModelFiles);
