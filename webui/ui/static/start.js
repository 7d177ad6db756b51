// Where a tab's pictures are chosen: what it starts from, what is painted over it, and its depth map.

import "./canvas.js";
import "./compare.js";
import { Batch } from "./batch.js";
import { make } from "./dom.js";
import { Layer } from "./layer.js";
import { DepthMap } from "./depthmap.js";
import { infoOfFile } from "./info.js";
import { inputSource } from "./inputs.js";
import { page } from "./page.js";
import { ask } from "./server.js";

const LABELS = { picture: "Picture", depth: "Depth map" };
const LAYERS = { img2img: "sketch", inpaint: "mask" }; // tabs in which the picture is drawn on
const SEVERAL = ["img2img", "extras"]; // tabs that take many pictures at once

/** Bring a file to the program: {digest, width, height}. */
export function upload(file) {
  return ask("/x/inputs", undefined, { method: "POST", body: file });
}

class Start extends HTMLElement {
  #tab = null;
  #places = new Map(); // of pictures, by name
  #layer = null;
  #map = null;
  #pile = null;
  #batch = null;
  #several = false;
  #one = make("div", { class: "w-start-one" });
  #many = make("div", { class: "w-start-many", hidden: true });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { task, inputs } = this.#tab;
    if (SEVERAL.includes(task)) this.append(this.#switch());
    this.append(this.#one);
    for (const name of inputs.names.filter((each) => LABELS[each])) this.#add(name);
    if (LAYERS[task]) {
      this.#layer = new Layer(this.#tab, this.#places.get("picture"), LAYERS[task]);
      this.#one.append(this.#layer.node);
    }
    if (task === "depth") {
      this.#map = new DepthMap(this.#tab);
      this.#one.append(this.#map.node);
    }
    inputs.addEventListener("change", ({ detail: { name, by } }) => by !== this && this.#show(name));
    inputs.settleBy(() => this.#settle());
    this.#tab.panel = this;
  }

  /** Pictures that were dropped beside every place. */
  take(files) {
    if (files.length > 1 && this.#pile) this.#turn(true);
    if (this.#several) return this.#pile.take(files);
    return this.#places.get("picture").take(files);
  }

  /** Do what Generate means here where it is not one job; returns whether that was so. */
  async instead() {
    if (!this.#several) return false;
    const pictures = await this.#pile.settled();
    if (pictures.length === 0) this.#tab.refuse("Choose the pictures first.");
    else this.#batch.run(pictures, this.#pile.failed ?? []);
    return true;
  }

  /** Why nothing can be made of what is chosen, as a sentence or a node; "" where something can. */
  refusal() {
    return this.#map?.refusal() ?? "";
  }

  #add(name) {
    const drawn = name === "picture" ? LAYERS[this.#tab.task] : null;
    const tag = drawn ? "webui-canvas" : "webui-picker";
    const place = make(tag, { label: LABELS[name], name, layers: drawn, id: `${this.#tab.task}_${name}` });
    place.upload = upload;
    if (this.#tab.controls.names.includes("prompt")) place.inspect = infoOfFile;
    this.#places.set(name, place);
    this.#one.append(place);
    place.addEventListener("change", (event) => event.target === place && this.#changed(name, place.value));
    this.#show(name);
  }

  #changed(name, value) {
    const before = this.#tab.inputs.values[name] ?? null;
    if (name === "picture" && before && !same(before, value)) this.#layer?.leave();
    this.#tab.inputs.set(name, value, this);
  }

  /** Show what was chosen elsewhere. */
  #show(name) {
    const value = this.#tab.inputs.values[name] ?? null;
    const place = this.#places.get(name);
    if (!place || (place.value?.digest ?? null) === (value?.digest ?? null)) return;
    if (value && this.#several) this.#turn(false);
    place.setValue(value && { ...value, url: value.url ?? inputSource(value.digest) });
  }

  async #settle() {
    await Promise.all([...this.#places.values()].map((place) => place.settled()));
    await this.#layer?.settle();
  }

  #switch() {
    const choice = (several, label) => make("button", { type: "button", data: { several: String(several) }, "aria-pressed": String(several === this.#several), onclick: () => this.#turn(several) }, label);
    this.#pile = make("webui-picker", { label: "Pictures", name: "pictures", multiple: true, id: `${this.#tab.task}_pictures` });
    this.#pile.upload = upload;
    this.#batch = new Batch(this.#tab);
    this.#many.append(this.#pile, make("p", { class: "w-aside" }, "Each becomes a job of its own, with the settings as they are then."), this.#batch.node);
    queueMicrotask(() => this.append(this.#many));
    return make("div", { class: "w-segments w-start-switch", role: "group", "aria-label": "How many pictures" }, choice(false, "One picture"), choice(true, "Several"));
  }

  #turn(several) {
    this.#several = several;
    this.#one.hidden = several;
    this.#many.hidden = !several;
    for (const each of this.querySelectorAll(".w-start-switch button")) each.setAttribute("aria-pressed", String((each.dataset.several === "true") === several));
  }
}

function same(one, other) {
  return one.digest && other?.digest ? one.digest === other.digest : one.url === other?.url;
}

customElements.define("webui-inputs", Start);
