// The PNG Info tab: what one picture was made with, and in what two differ.

import "./compare.js";
import { button, make } from "./dom.js";
import { Difference } from "./pnginfodiff.js";
import { InfoPlace, pastedText } from "./pnginfoplace.js";
import { sending } from "./pnginfosend.js";
import { known } from "./pnginfotable.js";
import { tell, tried } from "./say.js";

const HINT = [
  "Drop a picture, or choose one, and what it was made with is shown: PNG, JPEG, WebP, AVIF and GIF, of this and of other programs. A text is read as well.",
  "Nothing of it is kept.",
];

export class Inspector {
  #two = false;
  #first = new InfoPlace("Picture", "pnginfo_a");
  #second = new InfoPlace("Picture B", "pnginfo_b");
  #difference = new Difference();
  #modes;
  #places;
  #said = make("div", { class: "w-info-said" });
  #tools;
  #compare = make("webui-compare", { mode: "slider", hidden: true, "before-label": "A", "after-label": "B" });
  #compared = false;
  #held = new Map(); // place -> item

  constructor() {
    const mode = (two, label) => make("button", { type: "button", data: { two: String(two) }, onclick: () => this.#turn(two) }, label);
    this.#modes = make("div", { class: "w-segments", role: "group", "aria-label": "How many pictures" }, mode(false, "One picture"), mode(true, "Difference of two"));
    this.#tools = make("div", { class: "w-actions", hidden: true },
      button("Over each other", "compare", () => this.#layOver(), { class: "w-slim", data: { act: "compare" }, "aria-pressed": "false" }),
      button("Exchange A and B", "swap", () => this.#swap(), { class: "w-slim", data: { act: "swap" } }));
    this.#places = make("div", { class: "w-info-places" }, this.#first.node, this.#second.node);
    this.node = make("div", { class: "w-info" },
      make("div", { class: "w-info-head" }, this.#modes, this.#tools),
      make("div", { class: "w-info-body" }, this.#places, this.#compare, this.#said));
    for (const place of [this.#first, this.#second]) {
      place.open();
      place.addEventListener("change", () => this.#changed(place));
    }
    document.addEventListener("paste", (event) => this.#paste(event));
    this.#turn(false);
  }

  /** Show {picture}, {file} or {text}; two of them are compared. */
  show(one, other = null) {
    if (other) this.#turn(true);
    this.#give(this.#first, one);
    if (other) this.#give(this.#second, other);
  }

  /** Files that were dropped or pasted beside every place: two fill both. */
  takeFiles(files) {
    if (files.length > 1) this.#turn(true);
    if (files.length === 1 && this.#two && this.#first.item && !this.#second.item) return this.#second.takeFiles(files);
    this.#first.takeFiles(files.slice(0, 1));
    return files.length > 1 ? this.#second.takeFiles(files.slice(1)) : undefined;
  }

  #give(place, { picture, file, text }) {
    if (picture) return place.takePicture(picture);
    return file ? place.takeFiles([file]) : place.takeText(text);
  }

  #paste(event) {
    if (!this.node.checkVisibility() || document.querySelector("dialog[open]")) return;
    const text = pastedText(event);
    if (!text) return;
    event.preventDefault();
    (this.#two && this.#first.item && !this.#second.item ? this.#second : this.#first).takeText(text);
  }

  /** What no place holds any more gives its memory back, once both hold what they are to hold. */
  #changed(place) {
    const before = this.#held.get(place);
    this.#held.set(place, place.item);
    queueMicrotask(() => [...this.#held.values()].includes(before) || before?.release?.());
    this.#draw();
  }

  #turn(two) {
    this.#two = two;
    for (const each of this.#modes.children) each.setAttribute("aria-pressed", String((each.dataset.two === "true") === two));
    this.#first.name(two ? "Picture A" : "Picture");
    this.#second.node.hidden = !two;
    this.#draw();
  }

  #swap() {
    const [a, b] = [this.#first.item, this.#second.item];
    this.#first.set(b);
    this.#second.set(a);
  }

  #layOver() {
    this.#compared = !this.#compared;
    this.#draw();
  }

  #draw() {
    const [a, b] = [this.#first.item, this.#two ? this.#second.item : null];
    this.node.dataset.mode = this.#two ? "two" : "one";
    this.node.dataset.state = a ? "filled" : "empty";
    this.#tools.hidden = !this.#two;
    this.#drawCompare(a, b);
    if (this.#two) {
      this.#said.replaceChildren(this.#difference.node);
      tried(() => this.#difference.show(a, b));
      return;
    }
    if (!a) return void this.#said.replaceChildren(make("div", { class: "w-info-hint" }, ...HINT.map((each) => make("p", {}, each))));
    this.#said.replaceChildren(...[sending(a), ...known(a)].filter(Boolean));
    tell(a.info.text ? `${a.name}: ${a.info.values.length} parameters.` : `${a.name} holds no parameters.`);
  }

  #drawCompare(a, b) {
    const can = Boolean(a?.url && b?.url);
    const shown = can && this.#compared;
    const [over, swap] = this.#tools.children;
    over.hidden = !can;
    over.setAttribute("aria-pressed", String(shown));
    over.classList.toggle("w-chosen-mark", shown);
    swap.disabled = !a && !b;
    this.#places.classList.toggle("w-laid-over", shown);
    this.#compare.hidden = !shown;
    for (const [name, url] of [["before", a?.url], ["after", b?.url]]) {
      if (shown && this.#compare.getAttribute(name) !== url) this.#compare.setAttribute(name, url);
    }
  }
}
