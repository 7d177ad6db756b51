// One picture of a comparison. Its address may change while it is loaded; what is shown is always a whole picture.

import { make } from "./dom.js";

const ROOM = 48; // pixels; with less a label is not shown

export class Pane {
  #image = make("img", { class: "w-pane-picture", draggable: "false", alt: "" });
  #label = make("span", { class: "w-pane-label" });
  #moved = make("div", { class: "w-pane-moved" }, this.#image);
  node = make("div", { class: "w-pane" }, this.#moved, this.#label);
  shown = "";
  #wanted = "";
  #loading = false;
  #onload;

  constructor(onload) {
    this.#onload = onload;
  }

  get label() {
    return this.#label.textContent;
  }

  get width() {
    return this.#image.naturalWidth || 1;
  }

  get height() {
    return this.#image.naturalHeight || 1;
  }

  name(label) {
    if (this.#label.textContent === label) return;
    this.#label.textContent = label;
    this.#image.alt = label;
  }

  /** Load beside what is shown, and show it when it is whole; of what comes meanwhile only the newest is loaded. "" shows nothing. */
  follow(address) {
    this.#wanted = address;
    if (address === "") this.#show("");
    else if (!this.#loading) this.#load();
  }

  async #load() {
    this.#loading = true;
    while (this.#wanted && this.#wanted !== this.shown) {
      const address = this.#wanted;
      const image = new Image();
      image.src = address;
      const whole = await image.decode().then(() => true, () => false); // a preview may be gone when it is asked for
      if (whole && this.#wanted) {
        this.#image.src = address;
        await this.#image.decode().catch(() => {}); // now it has a size
        if (this.#wanted) this.#show(address);
      }
      if (!whole && this.#wanted === address) this.#wanted = this.shown;
    }
    this.#loading = false;
  }

  #show(address) {
    this.shown = address;
    if (address === "") this.#image.removeAttribute("src");
    this.#onload();
  }

  /** Where it is seen: of its cell the part `region`, moved by x and y of its size, `zoom` times as large. */
  place({ zoom, x, y, region: [from, to], width, last, pixels }) {
    this.#moved.style.transform = zoom === 1 ? "" : `translate(${x * 100}%, ${y * 100}%) scale(${zoom})`;
    this.node.style.clipPath = from > 0 || to < 1 ? `inset(0 ${(1 - to) * 100}% 0 ${from * 100}%)` : "";
    this.#image.style.imageRendering = pixels ? "pixelated" : "";
    this.#label.hidden = (to - from) * width < ROOM;
    this.#label.style.maxWidth = `${Math.max(0, (to - from) * width - 16)}px`;
    this.#label.style.left = last ? "auto" : `calc(${from * 100}% + 8px)`;
    this.#label.style.right = last ? "8px" : "auto";
  }
}
