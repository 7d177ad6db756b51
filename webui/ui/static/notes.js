// What a text said that could not be taken over as it is: kept beside the controls until somebody dismisses it, through a reload too.

import { button, icon, make } from "./dom.js";

const KEPT = "webui-notes ";

/** The notes of one tab. */
export class Notes {
  node = make("section", { class: "w-left", "aria-label": "What was not taken over", hidden: true });
  #task;
  #sentences = [];
  #whole = null; // {text}, {file} or {picture}: what they are about
  #show; // opens it

  constructor(task, show) {
    this.#task = task;
    this.#show = show;
    this.#restore();
    this.#draw();
  }

  get sentences() {
    return [...this.#sentences];
  }

  /** Keep these, of this text, file or picture, instead of those of the one before. */
  set(sentences, whole) {
    this.#sentences = [...new Set(sentences)];
    this.#whole = whole;
    this.#draw();
    this.#keep();
  }

  /** Put them onto the page: below the button that starts a job. */
  mount() {
    const line = document.getElementById(`${this.#task}_refusal`);
    if (line && this.node.previousElementSibling !== line) line.after(this.node);
  }

  #dismiss(sentence) {
    const left = sentence === null ? [] : this.#sentences.filter((each) => each !== sentence);
    this.set(left, this.#whole);
    const next = this.node.querySelector("li button");
    if (next) next.focus();
    else document.getElementById(`${this.#task}_generate`)?.focus();
  }

  #draw() {
    this.node.hidden = this.#sentences.length === 0;
    this.node.dataset.count = String(this.#sentences.length);
    if (this.node.hidden) return this.node.replaceChildren();
    const rows = this.#sentences.map((each) =>
      make("li", {}, make("span", {}, each), button("Dismiss this note", "cancel", () => this.#dismiss(each), { shown: false, class: "w-slim" })));
    return this.node.replaceChildren(
      make("ul", {}, ...rows),
      make("div", { class: "w-left-all" },
        this.#whole ? button("See all it says", "info", () => this.#show(this.#whole), { class: "w-slim", data: { act: "whole" } }) : null,
        rows.length > 1 ? button("Dismiss all", null, () => this.#dismiss(null), { class: "w-slim", data: { act: "dismiss" } }) : null));
  }

  #keep() {
    try {
      if (this.#sentences.length === 0) sessionStorage.removeItem(KEPT + this.#task);
      else sessionStorage.setItem(KEPT + this.#task, JSON.stringify({ sentences: this.#sentences, whole: this.#whole?.file ? null : this.#whole }));
    } catch {
      // There is no room, or the browser keeps nothing: they are there until the page is left.
    }
  }

  #restore() {
    try {
      const { sentences, whole } = JSON.parse(sessionStorage.getItem(KEPT + this.#task) ?? "{}");
      this.#sentences = Array.isArray(sentences) ? sentences.map(String) : [];
      this.#whole = whole ?? null;
    } catch {
      // What was kept is nothing of ours.
    }
  }
}
