// Installing in two steps: an extension is brought here and shown with what it declares; only then, if it is meant, it is installed.

import { button, make } from "./dom.js";
import { search } from "./extensionindex.js";
import { inWords } from "./permissions.js";
import { ask } from "./server.js";

const PATH = "/x/extensions";

/** Ask where from, show what is there, install it; {list, name} where that was done, else null. */
export function install() {
  return new Promise((resolve) => new Dialog("Install an extension", resolve).ask());
}

/** Look for another version of one that is installed, show it, install it; {list, name} where that was done, else null. */
export function update(name) {
  return new Promise((resolve) => new Dialog(`Update ${name}`, resolve).look({ act: "examine update", name }));
}

class Dialog {
  #found = null; // what was looked at and not installed yet
  #result = null;
  #stage = make("div", { class: "w-install" });
  #problem = make("p", { class: "w-problem", role: "alert", hidden: true });
  #dialog;

  constructor(title, resolve) {
    this.#dialog = make("dialog", { class: "w-dialog w-install-dialog", id: "extension_install", "aria-label": title }, make("h2", {}, title), this.#stage, this.#problem);
    this.#dialog.addEventListener("close", () => {
      this.#dialog.remove();
      if (this.#found) ask(PATH, { act: "discard", token: this.#found.token }).catch(() => {});
      resolve(this.#result);
    });
    document.body.append(this.#dialog);
    this.#dialog.showModal();
  }

  /** Where from. */
  ask() {
    const source = make("input", { type: "text", id: "extension_source", placeholder: "https://… .git, a folder or a zip file", autocomplete: "off", spellcheck: "false", autofocus: true });
    const commit = make("input", { type: "text", id: "extension_commit", placeholder: "the newest", autocomplete: "off", spellcheck: "false" });
    const file = make("input", { type: "file", accept: ".zip,application/zip", hidden: true, id: "extension_file", "aria-label": "A zip file with an extension" });
    const form = make("form", { class: "w-install-form" },
      field("Address, folder or zip file on this machine", source),
      field("Commit, branch or tag", commit),
      make("div", { class: "w-actions" },
        button("Choose a zip file", "zip", () => file.click(), { id: "extension_zip" }), file,
        make("span", { class: "w-install-acts" }, this.#cancel(), make("button", { class: "w-button w-solid", id: "extension_look" }, "Look at it"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = commit.value.trim();
      const named = /^[0-9a-f]{7,64}$/.test(wanted) ? { commit: wanted } : { ref: wanted };
      if (source.value.trim()) this.look({ act: "examine", source: source.value.trim(), ...named });
    });
    file.addEventListener("change", () => file.files[0] && this.#bring(file.files[0]));
    const list = search((entry) => this.look({ act: "examine", source: entry.name }));
    this.#stage.replaceChildren(form, list);
  }

  look(wanted) {
    return this.#take(() => ask(PATH, wanted));
  }

  #bring(file) {
    const name = new URLSearchParams({ name: file.name });
    return this.#take(() => ask(`${PATH}/zip?${name}`, undefined, { method: "POST", body: file }));
  }

  async #take(act) {
    const found = await this.#waiting("Looking at it …", act);
    if (!found) return;
    if (!this.#dialog.isConnected) {
      ask(PATH, { act: "discard", token: found.found.token }).catch(() => {});
      return;
    }
    this.#found = found.found;
    this.#show(found.found);
  }

  /** What it declares, and what installing it means. */
  #show(found) {
    const { name, version, replaces, same } = found;
    const what = replaces ? (same ? "Install it again" : `Replace ${replaces} by ${version}`) : "Install";
    const list = make("dl", { class: "w-extension-facts" });
    const add = (label, value) => value && value.length !== 0 && list.append(make("dt", {}, label), make("dd", {}, Array.isArray(value) ? value.join(", ") : value));
    add("From", found.source);
    add("Authors", found.authors);
    add("Licence", found.licence || "not said");
    add("Wants to", inWords(found.permissions));
    add("Requires", found.extensions);
    add("Fetches", Object.entries(found.fetches).map(([package_, of]) => `${package_} ${of}`));
    add("Files", String(found.files.length));
    add("SHA-256", found.content);
    this.#stage.replaceChildren(
      make("p", { class: "w-install-name" }, make("b", {}, name), ` ${version}`),
      make("p", {}, found.description),
      list,
      same ? make("p", { class: "w-aside" }, "This is what is installed already.") : "",
      found.lost.length > 0 ? make("p", { class: "w-problem" }, `What was changed by hand is lost: ${found.lost.join(", ")}.`) : "",
      make("p", { class: "w-rights", id: "extension_rights" }, found.rights),
      make("div", { class: "w-actions" }, make("span", { class: "w-gap" }), this.#cancel(),
        button(what, null, () => this.#install(), { class: "w-solid", id: "extension_yes" })));
    this.#stage.querySelector("#extension_yes").focus();
  }

  async #install() {
    const { token, name } = this.#found;
    const list = await this.#waiting("Installing it …", () => ask(PATH, { act: "install", token }));
    if (!list) return;
    this.#found = null;
    this.#result = { list, name };
    this.#dialog.close();
  }

  /** Do something that takes a while; what goes wrong is said, and everything is as it was. */
  async #waiting(words, act) {
    this.#problem.hidden = true;
    const line = make("p", { class: "w-waiting", role: "status" }, words);
    const parts = [...this.#stage.querySelectorAll("button, input")].filter((each) => !each.disabled && each.dataset.act !== "cancel");
    for (const each of parts) each.disabled = true;
    this.#stage.append(line);
    this.#dialog.dataset.state = "busy";
    try {
      return await act();
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#problem.textContent = error.message;
      this.#problem.hidden = false;
      return null;
    } finally {
      line.remove();
      for (const each of parts) each.disabled = false;
      this.#dialog.dataset.state = "idle";
    }
  }

  #cancel() {
    return button("Cancel", null, () => this.#dialog.close(), { data: { act: "cancel" }, id: "extension_cancel" });
  }
}

function field(label, input) {
  return make("label", { class: "w-field" }, make("span", {}, label), input);
}
