// The Extensions tab: every extension with what it is, what it may do and what became of it; an owner installs and changes them here.

import { button, icon, make } from "./dom.js";
import { install, update } from "./extensioninstall.js";
import { remove } from "./extensionremove.js";
import { Form } from "./form.js";
import { page } from "./page.js";
import { inWords } from "./permissions.js";
import { announce } from "./renewal.js";
import { say, tell, tried } from "./say.js";
import { ask } from "./server.js";

const PATH = "/x/extensions";
const PAUSE = 500; // milliseconds without a change before settings are kept
const STATES = { loaded: "in use", disabled: "disabled", failed: "failed", "ended the program": "ended the program", "safe mode": "not loaded" };
const BAD = ["failed", "ended the program"];

export class ExtensionList {
  node = make("div", { class: "w-extensions", data: { state: "loading" } });
  #known = null;
  #open = new Set(); // names of those whose details somebody opened
  #busy = ""; // the name of the one that something is done with
  #search = make("input", { type: "search", class: "w-search", placeholder: "Search extensions", "aria-label": "Search extensions", id: "extensions_search" });
  #install = button("Install …", "plus", () => this.#bring(), { class: "w-solid", id: "extensions_install" });
  #note = make("p", { class: "w-extension-note", id: "extensions_note", hidden: true });
  #lists = make("div", { class: "w-model-lists" });

  constructor() {
    const again = button("Look again", "redo", () => this.look(), { shown: false, id: "extensions_refresh", title: "Look at what there is now" });
    this.node.append(make("div", { class: "w-model-tools" }, this.#search, make("span", { class: "w-gap" }), again, this.#install), this.#note, this.#lists);
    this.#search.addEventListener("input", () => this.#draw());
    this.look();
  }

  async look() {
    const { user } = await page.opened;
    if (!user.owner) return this.#refuse("Extensions run with the rights of whoever runs the program, so only an owner sees and changes them.");
    try {
      this.#take(await ask(PATH));
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#refuse(error.message);
    }
    return undefined;
  }

  #refuse(sentence) {
    this.node.dataset.state = "refused";
    this.#say(sentence);
    this.node.querySelector(".w-model-tools").hidden = true;
    this.#lists.replaceChildren();
  }

  #take(found) {
    this.#known = found;
    this.node.dataset.state = "ready";
    this.node.querySelector(".w-model-tools").hidden = false;
    this.#install.disabled = Boolean(found.refusal);
    this.#say(found.refusal);
    this.#draw();
  }

  #say(sentence) {
    this.#note.textContent = sentence;
    this.#note.hidden = sentence === "";
  }

  #draw() {
    if (!this.#known) return;
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = this.#known.extensions.filter((each) => words.every((word) => textOf(each).includes(word)));
    const failed = shown.filter(({ state }) => BAD.includes(state));
    const others = shown.filter((each) => !failed.includes(each));
    const parts = [
      section("Need attention", failed.map((each) => this.#row(each))),
      section("Installed", others.filter(({ bundled }) => !bundled).map((each) => this.#row(each))),
      section("Come with the program", others.filter(({ bundled }) => bundled).map((each) => this.#row(each))),
    ];
    this.#lists.replaceChildren(...parts.filter(Boolean));
    if (this.#lists.childElementCount === 0) this.#lists.append(make("p", { class: "w-aside" }, words.length ? "No extension has these words." : "There are no extensions."));
    if (words.length) tell(shown.length === 1 ? "One extension." : `${shown.length} extensions.`);
  }

  #row(each) {
    const { name, state } = each;
    const mark = make("span", { class: `w-mark${state === "loaded" ? " w-mark-set" : ""}${BAD.includes(state) ? " w-mark-bad" : ""}` }, STATES[state] ?? state);
    const open = this.#open.has(name);
    const fold = make("details", { class: "w-fold w-extension-more", open }, make("summary", {}, icon("next"), "Details"));
    const fill = () => fold.childElementCount === 1 && fold.append(details(each), this.#settings(each));
    fold.addEventListener("toggle", () => {
      if (fold.open) this.#open.add(name);
      else this.#open.delete(name);
      if (fold.open) fill();
    });
    if (open) fill();
    return make("li", { class: "w-model w-extension", data: { extension: name, state, busy: String(this.#busy === name) } },
      make("div", { class: "w-extension-line" },
        make("div", { class: "w-model-text" },
          make("p", { class: "w-model-name" }, make("b", {}, name), make("span", { class: "w-aside" }, each.version ?? ""), mark,
            each.changes.length > 0 ? make("span", { class: "w-mark w-mark-bad" }, "files changed") : null,
            each.findings.length > 0 ? make("span", { class: "w-mark w-mark-bad" }, "did what it does not declare") : null),
          each.description ? make("p", { class: "w-model-facts" }, each.description) : null,
          each.problem ? make("p", { class: "w-model-problem" }, state === "loaded" ? `The last time it failed: ${each.problem}` : each.problem) : null),
        make("div", { class: "w-model-buttons" }, ...this.#buttons(each))),
      fold);
  }

  #buttons(each) {
    const { name, state, bundled, installed } = each;
    const busy = this.#busy !== "";
    const act = (what, label, said, more = {}) => button(label, null, () => this.#act(what, name, said), { "aria-label": `${label} ${name}`, data: { act: what }, disabled: busy, ...more });
    return [
      state === "disabled" ? act("enable", "Enable", "is in use") : act("disable", "Disable", "is not in use any more"),
      state === "disabled" ? null : act("reload", BAD.includes(state) ? "Try again" : "Reload", "was loaded anew"),
      installed ? button("Update …", null, () => this.#update(name), { "aria-label": `Update ${name}`, data: { act: "update" }, disabled: busy || Boolean(this.#known.refusal) }) : null,
      bundled ? null : button("Remove …", null, () => this.#remove(each), { class: "w-danger", "aria-label": `Remove ${name}`, data: { act: "remove" }, disabled: busy }),
    ].filter(Boolean);
  }

  #act(what, name, said) {
    return this.#doing(name, () => ask(PATH, { act: what, name }), (found) => {
      const now = found.extensions.find((each) => each.name === name);
      if (BAD.includes(now?.state)) say(`${name} could not be loaded. ${now.problem}`, { wrong: true });
      else say(`${name} ${said}.`);
    });
  }

  async #doing(name, act, after) {
    this.#busy = name;
    this.#draw();
    const found = await tried(act);
    this.#busy = "";
    if (!found) return this.look();
    this.#take(found);
    after(found);
    return announce();
  }

  async #bring() {
    const found = await install();
    if (found) this.#arrived(found, "is installed");
  }

  async #update(name) {
    const found = await update(name);
    if (found) this.#arrived(found, "is updated");
  }

  #arrived({ list, name }, said) {
    this.#take(list);
    const now = list.extensions.find((each) => each.name === name);
    if (BAD.includes(now?.state)) say(`${name} ${said}, but cannot be loaded. ${now.problem}`, { wrong: true });
    else say(`${name} ${now?.version ?? ""} ${said}.`);
    announce();
  }

  async #remove(each) {
    const wanted = await remove(each);
    if (!wanted) return;
    this.#doing(each.name, () => ask(PATH, { act: "remove", name: each.name, ...wanted }), () => say(`${each.name} is removed.`));
  }

  /** The extension's own settings, kept at once like those of the page. */
  #settings({ name, settings }) {
    if (!settings || settings.fields.length === 0) return "";
    const form = new Form(`extension_${name}`, settings.fields, settings.values);
    const said = make("span", { class: "w-aside", role: "status" });
    let timer = null;
    form.addEventListener("change", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        said.textContent = "";
        try {
          const found = await ask(PATH, { act: "settings", name, values: form.values });
          this.#known = found;
          said.textContent = "Saved.";
        } catch (error) {
          if (error.status === undefined) throw error;
          said.textContent = error.message;
        }
      }, PAUSE);
    });
    return make("div", { class: "w-extension-settings" }, make("h3", {}, "Settings", " ", said), make("div", { class: "w-fields" }, ...form.nodes()));
  }
}

/** All that is known of one. */
function details(each) {
  const list = make("dl", { class: "w-extension-facts" });
  const add = (label, value) => value && value.length !== 0 && list.append(make("dt", {}, label), make("dd", {}, Array.isArray(value) ? value.join(", ") : value));
  add("From", each.source);
  add("Authors", each.authors);
  add("Licence", each.licence);
  add("May", inWords(each.permissions ?? []));
  add("Requires", [...(each.extensions ?? []), ...(each.packages ?? [])]);
  add("Packages of its own", Object.entries(each.fetched ?? {}).map(([name, version]) => `${name} ${version}`));
  add("Hooks", each.hooks);
  add("Adds", each.adds);
  add("Loaded in", each.milliseconds > 0 ? `${each.milliseconds.toFixed(each.milliseconds < 10 ? 1 : 0)} ms` : "");
  add("Jobs that run with it", each.jobs > 0 ? String(each.jobs) : "");
  add("SHA-256", each.content);
  const further = [
    each.changes.length > 0 ? findings("Changed since it was installed", each.changes) : null,
    each.findings.length > 0 ? findings("Done without being declared", each.findings) : null,
    each.trace ? make("details", { class: "w-fold w-trace" }, make("summary", {}, icon("next"), "Traceback"), make("pre", {}, each.trace)) : null,
  ];
  return make("div", { class: "w-extension-details" }, list, ...further);
}

function findings(title, lines) {
  return make("div", { class: "w-findings" }, make("h3", {}, title), make("ul", {}, ...lines.map((line) => make("li", {}, line))));
}

function section(title, rows) {
  if (rows.length === 0) return null;
  const id = `extensions_${title.toLowerCase().replaceAll(" ", "_")}`;
  return make("section", { class: "w-section", "aria-labelledby": id }, make("h2", { id }, title), make("ul", { class: "w-model-list" }, ...rows));
}

function textOf({ name, description, authors, problem, adds }) {
  return `${name} ${description ?? ""} ${(authors ?? []).join(" ")} ${problem} ${adds.join(" ")}`.toLowerCase();
}
