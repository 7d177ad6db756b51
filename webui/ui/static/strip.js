// The newest pictures, small and in a row: what was just made is one click away.

import { make } from "./dom.js";
import { page } from "./page.js";
import { describe, source } from "./pictures.js";
import { tried } from "./say.js";

const MOST = 24;

export class Strip {
  node = make("div", { class: "w-strip", role: "group", "aria-label": "Newest pictures" });
  #pictures = [];
  #onpick;
  #tab;
  #stale = false;
  #marked = null;
  #asking = null;
  #again = false;

  constructor(tab, onpick) {
    this.#tab = tab;
    this.#onpick = onpick;
    this.node.hidden = true;
    page.pictures.addEventListener("change", ({ detail }) => this.#changed(detail));
    document.addEventListener("visibilitychange", () => document.hidden || this.#soon()); // what was made meanwhile
    page.addEventListener("shown", () => this.#stale && this.#soon());
  }

  /** The newest picture that a task made. */
  newest(task) {
    return this.#pictures.find((picture) => (picture.task || "txt2img") === task) ?? null;
  }

  /** Look up which pictures are the newest; what is asked for meanwhile is one more look. */
  async fill() {
    this.#again = this.#asking !== null;
    this.#asking ??= this.#look();
    await this.#asking;
  }

  async #look() {
    const found = await tried(() => page.pictures.search({ limit: MOST }));
    this.#asking = null;
    if (found) this.#show(found.pictures);
    if (this.#again) await this.fill();
  }

  /** Which picture is on the stage. */
  mark(id) {
    this.#marked = id;
    for (const each of this.node.children) {
      each.classList.toggle("w-selected", each.dataset.id === id);
      each.setAttribute("aria-pressed", String(each.dataset.id === id));
    }
  }

  #show(pictures) {
    this.#pictures = pictures;
    const known = new Map([...this.node.children].map((each) => [each.dataset.id, each]));
    this.node.replaceChildren(...pictures.map((picture) => known.get(picture.id) ?? this.#tile(picture)));
    this.node.hidden = pictures.length < 2;
    this.mark(this.#marked);
  }

  #tile(picture) {
    const image = make("img", { src: source(picture.id, { thumbnail: true }), alt: "", loading: "lazy", decoding: "async" });
    const pick = () => this.#onpick(this.#pictures.find((each) => each.id === picture.id) ?? picture);
    const name = { "aria-label": describe(picture), title: picture.prompt };
    return make("button", { type: "button", class: "w-tile", data: { id: picture.id }, onclick: pick, ...name }, image);
  }

  #changed({ what }) {
    if (["made", "trash", "restore", "delete"].includes(what)) this.#soon();
  }

  /** Now, or when the tab is looked at. */
  #soon() {
    this.#stale = !this.#tab.shown;
    if (!this.#stale) this.fill();
  }
}
