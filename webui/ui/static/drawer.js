// Cards to choose from with the eye, beside the prompt they go into: a search, kinds, what they were made for, words that trigger them.

import { button, icon, make } from "./dom.js";
import { holds, insert, takeOut } from "./insert.js";
import { page } from "./page.js";
import { tell, tried } from "./say.js";
import { ask } from "./server.js";

const ALL = "";

export class Drawer {
  #tab = null;
  #toggle = null; // the button that opened it
  #cards = [];
  #kind = ALL;
  #base = ALL;
  #nodes = new Map(); // by id of a card
  #search = make("input", { type: "search", class: "w-search", placeholder: "Search names and words", "aria-label": "Search cards", id: "cards_search" });
  #kinds = make("div", { class: "w-segments w-card-kinds", role: "group", "aria-label": "Kind" });
  #bases = make("select", { "aria-label": "Made for", id: "cards_base" });
  #grid = make("div", { class: "w-card-grid", role: "list" });
  #empty = make("p", { class: "w-aside", hidden: true });
  #count = make("span", { class: "w-aside" });
  #node = make("aside", { class: "w-drawer", popover: "manual", id: "w-cards", role: "dialog", "aria-label": "LoRA, embeddings and more", data: { state: "closed" } });

  constructor() {
    this.#node.append(
      make("div", { class: "w-drawer-head" },
        make("h2", {}, "Add to the prompt"), this.#count, make("span", { class: "w-gap" }),
        button("Look for new files", "redo", () => this.#look(), { shown: false, class: "w-slim", data: { act: "again" } }),
        button("Close", "cancel", () => this.close(), { shown: false, class: "w-slim", data: { act: "close" } })),
      make("div", { class: "w-drawer-tools" }, this.#search, this.#bases),
      this.#kinds, make("div", { class: "w-drawer-scroll", tabindex: "-1" }, this.#grid, this.#empty));
    this.#search.addEventListener("input", () => this.#draw());
    this.#bases.addEventListener("change", () => {
      this.#base = this.#bases.value;
      this.#draw();
    });
    this.#node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
    for (const { controls } of Object.values(page.tabs)) controls.addEventListener("change", () => this.#mark());
    page.addEventListener("shown", () => this.#tab?.shown || this.close());
    document.body.append(this.#node);
  }

  toggle(tab, toggle) {
    if (this.#tab) return this.close();
    this.#tab = tab;
    this.#toggle = toggle;
    toggle.setAttribute("aria-expanded", "true");
    this.#node.showPopover();
    this.#search.focus();
    return this.#look();
  }

  close() {
    if (!this.#tab) return;
    this.#tab = null;
    this.#node.hidePopover();
    this.#node.dataset.state = "closed";
    this.#toggle.setAttribute("aria-expanded", "false");
    if (this.#toggle.checkVisibility()) this.#toggle.focus();
  }

  async #look() {
    this.#node.dataset.state = "loading";
    const found = await tried(() => ask("/x/cards"));
    if (!found || !this.#tab) return;
    this.#cards = found.cards;
    this.#nodes.clear();
    const kinds = [...new Set(this.#cards.map(({ kind }) => kind))];
    const bases = [...new Set(this.#cards.map(({ base }) => base).filter(Boolean))].sort();
    if (!kinds.includes(this.#kind)) this.#kind = ALL;
    if (!bases.includes(this.#base)) this.#base = ALL;
    this.#bases.replaceChildren(...[["", "Any model"], ...bases.map((base) => [base, base])].map(([value, text]) => make("option", { value, selected: value === this.#base }, text)));
    this.#bases.hidden = bases.length < 2;
    this.#drawKinds(kinds);
    this.#draw();
    this.#node.dataset.state = "ready";
  }

  #drawKinds(kinds) {
    this.#kinds.hidden = kinds.length < 2;
    this.#kinds.replaceChildren(...[ALL, ...kinds].map((kind) => {
      const pick = () => {
        this.#kind = kind;
        for (const each of this.#kinds.children) each.setAttribute("aria-pressed", String(each.dataset.kind === kind));
        this.#draw();
      };
      return make("button", { type: "button", "aria-pressed": String(kind === this.#kind), data: { kind }, onclick: pick }, kind || "All");
    }));
  }

  #draw() {
    const words = this.#search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (card) => (this.#kind === ALL || card.kind === this.#kind) && (this.#base === ALL || card.base === this.#base || !card.base) && words.every((word) => textOf(card).includes(word));
    const shown = this.#cards.filter(fits);
    this.#grid.replaceChildren(...shown.map((card) => this.#of(card)));
    this.#count.textContent = shown.length === this.#cards.length ? `${shown.length}` : `${shown.length} of ${this.#cards.length}`;
    this.#empty.hidden = shown.length > 0;
    this.#empty.textContent = this.#cards.length === 0 ? "There is nothing yet. Put LoRA files into models/loras and embeddings into models/embeddings." : "Nothing has these words.";
    if (words.length > 0) tell(shown.length === 1 ? "One card." : `${shown.length} cards.`);
    this.#mark();
  }

  #of(card) {
    if (!this.#nodes.has(card.id)) this.#nodes.set(card.id, this.#make(card));
    return this.#nodes.get(card.id);
  }

  #make(card) {
    const name = card.title || card.name;
    const face = card.preview
      ? make("img", { src: card.preview, alt: "", loading: "lazy", decoding: "async" })
      : make("span", { class: "w-card-blank", "aria-hidden": "true" }, [...name].slice(0, 2).join(""));
    const choose = make("button", {
      type: "button", class: "w-card-face", "aria-pressed": "false", disabled: Boolean(card.problem), title: card.problem || name, onclick: () => this.#choose(card),
    }, make("span", { class: "w-card-picture" }, face, make("span", { class: "w-card-tick", "aria-hidden": "true" }, icon("check"))), make("b", {}, name), small(card));
    const words = card.words.map((word) => make("button", { type: "button", class: "w-word", title: `Put “${word}” into the prompt`, onclick: () => this.#say(card, word) }, word));
    const facts = Object.entries(card.facts);
    const more = facts.length === 0 ? null : make("details", { class: "w-card-facts" },
      make("summary", {}, "About it"), make("dl", {}, ...facts.flatMap(([label, value]) => [make("dt", {}, label), make("dd", {}, value)])));
    return make("div", { class: card.problem ? "w-card w-card-bad" : "w-card", role: "listitem", data: { card: card.name, kind: card.kind } },
      choose,
      card.problem ? make("p", { class: "w-problem", title: card.problem }, card.problem) : null,
      words.length > 0 ? make("div", { class: "w-words" }, ...words) : null,
      more);
  }

  /** Into the prompt, or out of it again. */
  async #choose(card) {
    const where = { negative: card.negative };
    const out = await takeOut(this.#tab, card.insert, where);
    if (!out) await insert(this.#tab, card.insert, where);
    tell(`${card.title || card.name} is ${out ? "not in the prompt any more" : "in the prompt"}.`);
    this.#nodes.get(card.id)?.querySelector("button").focus({ preventScroll: true });
  }

  async #say(card, word) {
    if (!(await takeOut(this.#tab, word))) await insert(this.#tab, word);
  }

  /** Show which of them the prompts have. */
  #mark() {
    if (!this.#tab) return;
    const { prompt, negative } = this.#tab.values;
    for (const card of this.#cards) {
      const node = this.#nodes.get(card.id);
      if (!node) continue;
      node.querySelector("button").setAttribute("aria-pressed", String(holds(card.negative ? negative : prompt, card.insert)));
      node.querySelectorAll(".w-word").forEach((each, at) => each.setAttribute("aria-pressed", String(holds(prompt, card.words[at]))));
    }
  }
}

function small({ kind, base, name, title }) {
  const parts = [kind, base, title && title !== name ? name : ""].filter(Boolean);
  return make("small", {}, parts.join(" · "));
}

function textOf({ name, title, words, base }) {
  return `${name} ${title} ${words.join(" ")} ${base}`.toLowerCase();
}
