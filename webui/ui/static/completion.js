// What could come next in a prompt, below the caret: LoRA and other tags, wildcards, embeddings and styles.

import { make } from "./dom.js";
import { latest } from "./latest.js";
import { replace } from "./replace.js";
import { ask } from "./server.js";
import { tell } from "./say.js";

const PAUSE = 120; // milliseconds without a key before the program is asked
const MOST = 60; // that are listed
const BEFORE = [ // what stands before the caret, and what could complete it
  { found: /<(lora|lyco|hypernet):([^<>:]*)$/, kinds: ([, tag]) => [tag === "hypernet" ? "hypernet" : "lora"], eager: true },
  { found: /__([^\s_,<>()|{}][^\s,<>()|{}]*|)$/, kinds: () => ["wildcard"], eager: true },
  { found: /(?:^|[\s,([{|])([^\s,<>()[\]{}|:\\]{2,})$/, kinds: () => ["embedding", "style"], eager: false },
];
const TITLES = { lora: "LoRA", hypernet: "Hypernetwork", wildcard: "Wildcard", embedding: "Embedding", style: "Style" };
let lists = 0;

export class Completion {
  #tab;
  #field;
  #mirror;
  #list = make("ul", { class: "w-completion", role: "listbox", "aria-label": "What could come next", popover: "manual" });
  #words = [];
  #at = -1; // the word that Enter takes
  #from = 0; // where in the text the start of the words is
  #shut = ""; // the beginning that somebody closed the list for
  #look = latest(PAUSE, (signal) => this.#ask(signal));

  constructor(tab, field, mirror) {
    this.#tab = tab;
    this.#field = field;
    this.#mirror = mirror;
    lists += 1;
    this.#list.id = `w-completion-${lists}`;
    document.body.append(this.#list);
    for (const [name, value] of Object.entries({ "aria-autocomplete": "list", "aria-controls": this.#list.id, autocomplete: "off" })) field.setAttribute(name, value);
    field.addEventListener("input", () => this.#typed());
    field.addEventListener("keydown", (event) => this.#key(event), { capture: true });
    field.addEventListener("blur", () => this.close());
    field.addEventListener("click", () => this.close());
    field.addEventListener("scroll", () => this.close(), { passive: true });
    addEventListener("scroll", () => this.close(), { passive: true });
    this.#list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  }

  close() {
    if (this.#words.length === 0) return;
    this.#words = [];
    this.#at = -1;
    this.#list.hidePopover();
    this.#field.removeAttribute("aria-activedescendant");
    this.#field.removeAttribute("aria-expanded");
  }

  /** What is being begun at the caret: {start, from, kinds, eager}; null where nothing that can be completed is. */
  get #begun() {
    const { value, selectionStart: caret, selectionEnd } = this.#field;
    if (caret !== selectionEnd) return null;
    const before = value.slice(0, caret);
    for (const { found, kinds, eager } of BEFORE) {
      const match = found.exec(before);
      if (!match) continue;
      const start = match.at(-1);
      const opens = before.slice(0, caret - start.length).split("__").length % 2 === 0; // `__name__` ends with what begins another
      if (kinds(match)[0] === "wildcard" && !opens) continue;
      return { start, from: caret - start.length, kinds: kinds(match), eager };
    }
    return null;
  }

  #typed() {
    const begun = this.#begun;
    if (!begun || `${begun.from} ${begun.kinds}` === this.#shut) return this.close();
    this.#shut = "";
    return this.#look();
  }

  async #ask(signal) {
    const begun = this.#begun;
    if (!begun || document.activeElement !== this.#field) return this.close();
    const { start, kinds } = begun;
    try {
      const found = await Promise.all(kinds.map((kind) => ask(`/x/words?${new URLSearchParams({ kind, start })}`, undefined, { signal })));
      if (signal.aborted || this.#begun?.start !== start || this.#begun.from !== begun.from) return undefined;
      return this.#show(begun, found.flatMap(({ words }, at) => words.map((word) => ({ kind: kinds[at], ...word }))).slice(0, MOST));
    } catch (error) {
      if (error.status === undefined) throw error;
      return signal.aborted ? undefined : this.close(); // help that does not come is not missed
    }
  }

  #show({ from, eager, start }, words) {
    const whole = words.length === 1 && words[0].name === start;
    if (words.length === 0 || whole) return this.close();
    this.#words = words;
    this.#from = from;
    this.#at = eager ? 0 : -1; // a word that is only a word is not taken by Enter unless it is chosen
    this.#list.replaceChildren(...words.map((word, at) => make("li", {
      role: "option", id: `${this.#list.id}-${at}`, "aria-selected": "false", onclick: () => this.#take(at),
    }, make("span", {}, word.name), make("small", {}, TITLES[word.kind] ?? word.kind))));
    this.#list.showPopover();
    this.#place(from);
    this.#field.setAttribute("aria-expanded", "true");
    this.#mark();
    tell(words.length === 1 ? "One completion." : `${words.length} completions.`);
    return undefined;
  }

  /** Below what is being written, or above it where there is more room; never beyond the window. */
  #place(from) {
    const shown = this.#mirror.rectangles(from, this.#field.selectionStart).filter((each) => each.width > 0); // the end of a line has none
    const { left, top, bottom } = shown[0] ?? this.#mirror.rectangles(from, from).at(-1) ?? this.#field.getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    const room = innerHeight - bottom - 16;
    const above = room < 140 && top > room;
    this.#list.style.maxHeight = `${Math.min(280, Math.max(above ? top - 16 : room, 90))}px`;
    this.#list.style.left = `${Math.max(8, Math.min(left, width - this.#list.offsetWidth - 8))}px`;
    this.#list.style.top = above ? `${Math.max(8, top - 6 - this.#list.offsetHeight)}px` : `${bottom + 6}px`;
  }

  #mark() {
    [...this.#list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === this.#at)));
    const chosen = this.#list.children[this.#at];
    if (!chosen) return this.#field.removeAttribute("aria-activedescendant");
    this.#field.setAttribute("aria-activedescendant", chosen.id);
    return chosen.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    if (this.#words.length === 0 || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      const count = this.#words.length;
      this.#at = this.#at < 0 ? (by > 0 ? 0 : count - 1) : (this.#at + by + count) % count;
      this.#mark();
    } else if (event.key === "Escape") {
      const begun = this.#begun;
      this.#shut = begun ? `${begun.from} ${begun.kinds}` : "";
      this.close();
    } else if ((event.key === "Enter" || event.key === "Tab") && this.#at >= 0 && !event.shiftKey) this.#take(this.#at);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #take(at) {
    const word = this.#words[at];
    const from = this.#from;
    const { value, selectionStart: caret } = this.#field;
    this.close();
    this.#field.focus();
    if (word.kind === "style") {
      replace(this.#field, { start: from, end: caret, text: "" });
      const { styles } = this.#tab.values;
      if (!styles?.includes(word.name)) this.#tab.controls.fill({ styles: [...(styles ?? []), word.name] });
      return tell(`The style ${word.name} is chosen.`);
    }
    const text = inserted(word, value.slice(caret));
    this.#shut = `${from} ${[word.kind]}`;
    return replace(this.#field, { start: from, end: caret + text.over, text: text.text });
  }
}

/** What is put in for a word, and how much of what stands behind the caret goes: an end that is there already is not put twice. */
function inserted({ kind, name }, behind) {
  if (kind === "lora" || kind === "hypernet") return behind.startsWith(">") || behind.startsWith(":") ? { text: name, over: 0 } : { text: `${name}:1>`, over: 0 };
  if (kind === "wildcard") return { text: `${name}__`, over: behind.startsWith("__") ? 2 : 0 };
  return { text: name, over: 0 };
}
