// Styles, named pieces of prompt: a dialog to write them, to bring them from other programs' styles.csv and to take them along.

import { button, make } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

/** The dialog, which all tabs share. */
class Dialog {
  #styles = [];
  #chosen = null;
  #list = make("ul", { class: "w-style-list", role: "listbox", "aria-label": "Styles" });
  #name = make("input", { type: "text", maxlength: "300", required: true, id: "w-style-name" });
  #prompt = make("textarea", { rows: "4", id: "w-style-prompt" });
  #negative = make("textarea", { rows: "3", id: "w-style-negative" });
  #file = make("input", { type: "file", accept: ".csv,text/csv", hidden: true, id: "w-style-file", "aria-label": "A styles.csv to import" });
  #wrong = make("p", { class: "w-problem", role: "alert", hidden: true });
  #remove = button("Delete", "trash", () => this.#delete(), { class: "w-danger" });
  #dialog;

  constructor() {
    const field = (label, input, note) => make("label", { class: "w-field" }, make("span", {}, label), input, note ? make("small", {}, note) : null);
    this.#dialog = make("dialog", { class: "w-dialog w-styles", id: "w-styles", "aria-label": "Styles" },
      make("h2", {}, "Styles"),
      make("div", { class: "w-columns" },
        make("div", { class: "w-style-side" }, this.#list, button("New style", "plus", () => this.#choose(null), { class: "w-row" })),
        make("form", { class: "w-style-form", onsubmit: (event) => this.#save(event) },
          field("Name", this.#name),
          field("Prompt", this.#prompt, "{prompt} stands for what is in the prompt; without it, this is added behind."),
          field("Negative prompt", this.#negative),
          this.#wrong,
          make("div", { class: "w-actions" }, this.#remove, make("span", { class: "w-gap" }), make("button", { class: "w-button w-solid", id: "w-style-save" }, "Save")))),
      make("div", { class: "w-actions" },
        button("Import styles.csv", "up", () => this.#file.click(), { id: "w-style-import" }),
        make("a", { class: "w-button", href: "/x/styles/export", download: "styles.csv", id: "w-style-export" }, "Export"),
        make("span", { class: "w-gap" }),
        button("Done", null, () => this.#dialog.close(), { id: "w-style-done" })),
      this.#file,
    );
    this.#file.addEventListener("change", () => this.#import());
    document.body.append(this.#dialog);
  }

  async open() {
    if (!(await this.#look())) return;
    this.#choose(this.#styles[0] ?? null);
    this.#dialog.showModal();
  }

  async #look() {
    const found = await tried(() => ask("/x/styles"));
    if (!found) return false;
    this.#styles = found.styles;
    const names = this.#styles.map((style) => style.name);
    for (const { controls } of Object.values(page.tabs)) {
      if (!controls.names.includes("styles")) continue;
      const chosen = (controls.values.styles ?? []).filter((name) => names.includes(name));
      controls.fill({ styles: { choices: names.map((name) => [name, name]), value: chosen } });
    }
    return true;
  }

  #choose(style) {
    this.#chosen = style;
    this.#name.value = style?.name ?? "";
    this.#prompt.value = style?.prompt ?? "";
    this.#negative.value = style?.negative ?? "";
    this.#remove.hidden = style === null;
    this.#complain("");
    this.#list.replaceChildren(...this.#styles.map((each) =>
      make("li", { role: "option", "aria-selected": String(each === style) },
        make("button", { type: "button", onclick: () => this.#choose(each) }, each.name))));
    if (style === null) this.#name.focus();
  }

  async #save(event) {
    event.preventDefault();
    const style = { name: this.#name.value.trim(), prompt: this.#prompt.value, negative: this.#negative.value };
    try {
      await ask("/x/styles", { ...style, instead_of: this.#chosen?.name ?? null });
    } catch (error) {
      if (error.status === undefined) throw error;
      return this.#complain(error.message);
    }
    await this.#look();
    this.#choose(this.#styles.find((each) => each.name === style.name) ?? null);
    return say(`The style ${style.name} is saved.`);
  }

  async #delete() {
    const { name } = this.#chosen;
    if ((await tried(() => ask(`/x/styles/${encodeURIComponent(name)}`, undefined, { method: "DELETE" }))) === null) return;
    await this.#look();
    this.#choose(this.#styles[0] ?? null);
    say(`The style ${name} is deleted.`);
  }

  async #import() {
    const [file] = this.#file.files;
    const text = await file.text();
    this.#file.value = "";
    const answer = await tried(() => ask("/x/styles/import", { text }));
    if (!answer) return;
    await this.#look();
    this.#choose(this.#styles[0] ?? null);
    const imported = answer.imported === 1 ? "One style was imported." : `${answer.imported} styles were imported.`;
    say([imported, ...answer.left_out.slice(0, 3)].join(" "), { wrong: answer.left_out.length > 0 });
  }

  #complain(sentence) {
    this.#wrong.textContent = sentence;
    this.#wrong.hidden = sentence === "";
  }
}

let dialog = null;

class Styles extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount > 0) return;
    const open = () => (dialog ??= new Dialog()).open();
    this.append(button("Edit styles", "gear", open, { shown: false, id: `${page.tabOf(this).task}_styles_edit` }));
  }
}

customElements.define("webui-styles", Styles);
