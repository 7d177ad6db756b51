// A picture that is drawn on: a mask over it, or a sketch in colours. The picture itself is chosen, dropped or pasted as in a picker.

import { Art } from "./art.js";
import { Board } from "./board.js";
import { Keys } from "./canvaskeys.js";
import { Tools } from "./canvastools.js";
import { make } from "./dom.js";
import { Hand } from "./hand.js";
import { READ } from "./layerfile.js";
import { Picker } from "./picker.js";
import { STEP } from "./zooming.js";

const SHARE = 14; // a brush is this part of the picture's shorter side, until somebody chooses another
const MASK_COLOR = "#ff3d7f";
const COLOR = "#e03131";

/**
 * <webui-canvas label name layers="mask sketch" tool="brush | move">: all of a picker's, and `layer`, `drawn(layer)`, `blob(layer)`,
 * `uploaded(layer)`, `load(layer, address or blob)`, `clear(layer)`. Event "stroke" {layer} after whatever changes what is drawn.
 */
export class Canvas extends Picker {
  #art = null;
  #layer = "mask";
  #set = { tool: "brush", size: 64, softness: 0, color: COLOR, maskColor: MASK_COLOR, full: false };
  #board;
  #tools;
  #file;
  #stand;

  /** What the tools show. */
  get facts() {
    const drawing = this.#art?.layers[this.#layer];
    const { width = 2, height = 2, transparent = false, scale = 1 } = this.#art ?? {};
    return {
      ...this.#set, layer: this.#layer, largest: Math.max(16, width / scale, height / scale), radius: (this.#set.size / 2) * scale, transparent,
      canUndo: drawing?.canUndo ?? false, canRedo: drawing?.canRedo ?? false, drawn: drawing ? !drawing.empty : false,
    };
  }

  /** Which layer is drawn on: "mask" or "sketch". */
  get layer() {
    return this.#layer;
  }

  set layer(name) {
    if (!this.#names.includes(name)) return;
    this.#layer = name;
    this.#tools?.draw();
  }

  /** Whether anything is drawn on a layer. */
  drawn(layer = this.#layer) {
    return !(this.#art?.layers[layer]?.empty ?? true);
  }

  /** A layer as a PNG of the picture's own size, null where nothing is drawn: a mask in grey, white where it is painted; a sketch with transparency. */
  blob(layer = this.#layer) {
    return this.#art?.blob(layer) ?? Promise.resolve(null);
  }

  /** The digest of a layer that has been brought to the program, once for what is drawn; null where nothing is. */
  uploaded(layer = this.#layer) {
    return this.#art?.uploaded(layer, this.upload) ?? Promise.resolve(null);
  }

  /** Put a file in place of what is drawn; it can be undone. Returns whether the browser could read it. */
  async load(layer, source) {
    return this.#put(await this.#art?.read(layer, source, READ.mask), layer);
  }

  /** Nothing is drawn on a layer any more; it can be undone. */
  clear(layer = this.#layer) {
    if (this.drawn(layer)) this.#apply({ name: "clear" }, layer);
  }

  /** What a button or key does. */
  act(name) {
    const acts = {
      brush: () => this.set({ tool: "brush" }), eraser: () => this.set({ tool: this.#set.tool === "eraser" ? "brush" : "eraser" }),
      fill: () => this.set({ tool: "fill" }), move: () => this.set({ tool: "move" }),
      undo: () => this.#step("undo"), redo: () => this.#step("redo"), clear: () => this.clear(),
      invert: () => this.#layer === "mask" && this.#apply({ name: "invert" }),
      transparency: async () => this.#put(await this.#art.read("mask", null, READ.transparency), "mask"),
      file: () => this.#file.click(), full: () => this.fullscreen(!this.#set.full), fit: () => this.#board.fit(),
      smaller: () => this.#board.zoom(1 / STEP), larger: () => this.#board.zoom(STEP),
      thinner: () => this.set({ size: this.#tools.next(this.#set.size, -1) }), thicker: () => this.set({ size: this.#tools.next(this.#set.size, 1) }),
      harder: () => this.set({ softness: Math.max(0, this.#set.softness - 0.1) }), softer: () => this.set({ softness: Math.min(1, this.#set.softness + 0.1) }),
    };
    if (this.#art) acts[name]();
  }

  /** Other values of what `facts` tells; `shade` is the colour of the layer that is drawn on. */
  set({ shade, ...values }) {
    if (shade) values[this.#layer === "mask" ? "maskColor" : "color"] = shade;
    Object.assign(this.#set, values);
    if (values.maskColor) this.#board.color(rgb(values.maskColor));
    this.dataset.tool = this.#set.tool;
    this.#tools.draw();
  }

  /** As large as the window, and back. */
  fullscreen(wanted) {
    if (wanted === this.#set.full) return;
    this.style.minHeight = wanted ? `${this.offsetHeight}px` : ""; // the page keeps its place behind
    this.#stand.popover = wanted ? "manual" : null;
    if (wanted) this.#stand.showPopover();
    this.set({ full: wanted });
    this.#board.node.focus({ preventScroll: true });
  }

  board() {
    this.#layer = this.#names[0];
    this.#set.tool = this.getAttribute("tool") ?? "brush";
    this.#tools = new Tools(this, this.#names);
    this.#board = new Board((view) => this.#tools.scale(view.scale * (this.#art?.scale ?? 1)));
    this.#board.node.setAttribute("aria-label", `${this.getAttribute("label") ?? "Picture"}: draw with the mouse, a pen or a finger`);
    this.#file = make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "A file to load" });
    this.#file.addEventListener("change", async () => {
      const [file] = this.#file.files;
      this.#file.value = "";
      if (file && !(await this.load(this.#layer, file))) this.problem = `${file.name} is no picture that this browser can read.`;
    });
    new Hand(this, this.#board);
    new Keys(this);
    this.#stand = make("div", { class: "w-canvas-frame" }, this.#tools.node, this.#board.node, this.#file);
    return this.#stand;
  }

  display(state) {
    const before = this.#art;
    const ready = () => (this.#board.refresh(), this.#tools.draw());
    if (state && !state.art && state.width) state.art = new Art(state, this.#names, ready, state.keep ? before : null);
    this.#art = state?.art ?? null;
    if (!this.#art) this.fullscreen(false);
    if (this.#art !== before) this.#board.show(this.#art, rgb(this.#set.maskColor));
    if (this.#art && before !== this.#art) this.#set.size = this.#fitting(before);
    this.set({});
  }

  released(state) {
    state.art?.close();
  }

  /** The layer under the brush, null where there is none. */
  get drawing() {
    return this.#art?.layers[this.#layer] ?? null;
  }

  /** The colour at a place of the picture with what is drawn on it, as #rrggbb. */
  colorAt(point) {
    return this.#art.colorAt(point);
  }

  /** A stroke or another act is done. */
  told(layer = this.#layer) {
    this.#tools.draw();
    this.dispatchEvent(new CustomEvent("stroke", { detail: { layer }, bubbles: true }));
  }

  get #names() {
    return (this.getAttribute("layers") ?? "mask").split(" ");
  }

  /** Over another picture a brush is as large as before on the screen. */
  #fitting(before) {
    const side = (art) => Math.min(art.width, art.height) / art.scale;
    return Math.max(1, side(this.#art) * (before ? this.#set.size / side(before) : 1 / SHARE));
  }

  #step(what) {
    const { drawing } = this;
    if (!drawing || drawing.drawing || !(what === "undo" ? drawing.canUndo : drawing.canRedo)) return;
    this.#board.changed(drawing, drawing[what]());
    this.told();
  }

  #apply(act, layer = this.#layer) {
    const drawing = this.#art.layers[layer];
    if (drawing.drawing) return;
    this.#board.changed(drawing, drawing.apply(act));
    this.told(layer);
  }

  #put(state, layer) {
    if (!state) return false;
    this.#apply({ name: "put", state }, layer);
    return true;
  }
}

function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

customElements.define("webui-canvas", Canvas);
