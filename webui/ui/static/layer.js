// What is painted over a tab's picture, the mask or the sketch: brought to the program once a stroke has rested, and kept with the tab.

import { make } from "./dom.js";
import { inputSource } from "./inputs.js";
import { ask } from "./server.js";

const PAUSE = 1000; // milliseconds after a stroke before it is brought

/** The layer `kind` ("mask" or "sketch") of a canvas; `node` is what stands below it. */
export class Layer {
  node = make("p", { class: "w-aside", hidden: true }, "Where the picture is transparent it is made anew, until you paint a mask.");
  #tab;
  #canvas;
  #kind;
  #dirty = false;
  #timer = null;
  #bringing = Promise.resolve();
  #own = null; // the digest that was brought last

  constructor(tab, canvas, kind) {
    this.#tab = tab;
    this.#canvas = canvas;
    this.#kind = kind;
    canvas.addEventListener("stroke", () => this.#stroke());
    canvas.addEventListener("change", () => this.#note());
    tab.inputs.addEventListener("change", ({ detail: { name, by } }) => name === kind && by !== this && this.#show());
    if (tab.inputs.values[kind]) this.#show();
  }

  /** Another picture was chosen here: what was painted over the one before is gone. */
  leave() {
    clearTimeout(this.#timer);
    this.#dirty = false;
    this.#set(null);
  }

  /** Wait until the program has what is painted. */
  async settle() {
    if (this.#dirty) this.#bring();
    await this.#bringing;
  }

  #stroke() {
    this.#dirty = true;
    this.#note();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#bring(), PAUSE);
  }

  #bring() {
    clearTimeout(this.#timer);
    this.#dirty = false;
    this.#bringing = this.#bringing.catch(() => {}).then(() => this.#brought());
    this.#bringing.catch(() => (this.#dirty = true)); // whoever waits for it is told, and the next time it is tried again
  }

  async #brought() {
    const digest = await this.#canvas.uploaded(this.#kind);
    const before = this.#own;
    this.#own = digest;
    const { width, height } = this.#canvas.value ?? {};
    this.#set(digest && { url: inputSource(digest), digest, width, height, name: this.#kind });
    if (before && before !== digest && !this.#tab.inputs.used.has(before)) ask(`/x/inputs/${before}`, undefined, { method: "DELETE" }).catch(() => {}); // nobody needs it
  }

  #set(value) {
    this.#tab.inputs.set(this.#kind, value, this);
  }

  /** Show what was painted before the page was left, or elsewhere. */
  async #show() {
    const value = this.#tab.inputs.values[this.#kind] ?? null;
    this.#own = null;
    if (value) {
      await this.#picture();
      if (this.#tab.inputs.values[this.#kind] !== value) return;
      await this.#canvas.load(this.#kind, inputSource(value.digest));
    } else {
      this.#canvas.clear(this.#kind);
    }
    clearTimeout(this.#timer);
    this.#dirty = false;
    this.#note();
  }

  /** Wait until the canvas shows the tab's picture: what is painted belongs to it. */
  #picture() {
    return new Promise((resolve) => {
      const look = () => {
        const wanted = this.#tab.inputs.values.picture?.digest;
        if (wanted && this.#canvas.value?.digest !== wanted) return;
        this.#canvas.removeEventListener("change", look);
        resolve();
      };
      this.#canvas.addEventListener("change", look);
      look();
    });
  }

  /** A transparent picture brings its mask along. */
  #note() {
    this.node.hidden = this.#kind !== "mask" || !this.#canvas.facts.transparent || this.#canvas.drawn(this.#kind);
  }
}
