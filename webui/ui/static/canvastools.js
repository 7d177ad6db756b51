// What one draws with: the tools above a canvas, their sizes and colours.

import { button, make } from "./dom.js";

const TOOLS = {
  brush: ["Brush", "brush", "Brush (B). The right mouse button erases; Shift draws a straight line from where the last stroke ended"],
  eraser: ["Eraser", "eraser", "Eraser (E), also the right mouse button"],
  fill: ["Fill", "fill", "Fill (G): what is enclosed, at a click; with the right mouse button it is emptied"],
  move: ["Move", "hand", "Move (H), also with the space bar, the middle mouse button or two fingers; the wheel zooms"],
};
const LAYERS = { mask: "Mask", sketch: "Sketch" };
const FINENESS = 1000; // steps of the slider of sizes, which is finer where brushes are small

/** The tools of a canvas, which is asked and told through `canvas`. */
export class Tools {
  node;
  #canvas;
  #parts = {};

  constructor(canvas, layers) {
    this.#canvas = canvas;
    this.node = this.#build(layers);
  }

  /** Bring everything up to date. */
  draw() {
    const { tool, layer, size, softness, color, maskColor, canUndo, canRedo, transparent, full, drawn } = this.#canvas.facts;
    for (const [name, each] of Object.entries(this.#parts.tools)) each.setAttribute("aria-pressed", String(name === tool));
    for (const [name, each] of Object.entries(this.#parts.layers)) each.setAttribute("aria-pressed", String(name === layer));
    this.#parts.size.value = String(Math.round(this.#toSlider(size)));
    this.#parts.size.style.setProperty("--share", `${this.#toSlider(size) / FINENESS * 100}%`);
    this.#parts.soft.style.setProperty("--share", `${softness * 100}%`);
    this.#parts.size.setAttribute("aria-valuetext", `${Math.round(size)} pixels`);
    this.#parts.sizeShown.textContent = `${size < 10 ? size.toFixed(1) : Math.round(size)} px`;
    this.#parts.soft.value = String(Math.round(softness * 100));
    this.#parts.softShown.textContent = `${Math.round(softness * 100)} %`;
    this.#parts.color.value = layer === "mask" ? maskColor : color;
    this.#parts.color.title = layer === "mask" ? "The colour in which the mask is shown" : "Colour; Alt and a click takes one from the picture";
    this.#parts.color.setAttribute("aria-label", this.#parts.color.title);
    this.#parts.undo.disabled = !canUndo;
    this.#parts.redo.disabled = !canRedo;
    this.#parts.clear.disabled = !drawn;
    this.#parts.invert.hidden = layer !== "mask";
    this.#parts.alpha.hidden = layer !== "mask" || !transparent;
    this.#parts.full.setAttribute("aria-pressed", String(full));
  }

  /** How large the picture is shown, as a share of its own size. */
  scale(share) {
    this.#parts.scale.firstChild.textContent = `${Math.round(share * 100)} %`;
  }

  /** A size one notch larger or smaller. */
  next(size, by) {
    return this.#fromSlider(Math.min(FINENESS, Math.max(0, this.#toSlider(size) + by * FINENESS / 40)));
  }

  #toSlider(size) {
    return FINENESS * Math.log(size) / Math.log(this.#canvas.facts.largest);
  }

  #fromSlider(value) {
    return this.#canvas.facts.largest ** (value / FINENESS);
  }

  #build(layers) {
    const canvas = this.#canvas;
    const tools = Object.fromEntries(Object.entries(TOOLS).map(([name, [label, picture, title]]) =>
      [name, button(label, picture, () => canvas.act(name), { shown: false, title, class: "w-canvas-tool", data: { tool: name } })]));
    const several = Object.fromEntries((layers.length > 1 ? layers : []).map((name) =>
      [name, make("button", { type: "button", onclick: () => (canvas.layer = name) }, LAYERS[name])]));
    const slim = (label, picture, act, title, more = {}) => button(label, picture, () => canvas.act(act), { shown: false, class: "w-slim", title, data: { act }, ...more });
    const slider = (label, most, onvalue, title) => {
      const input = make("input", { type: "range", min: "0", max: String(most), "aria-label": label, title });
      input.addEventListener("input", () => onvalue(Number(input.value)));
      return input;
    };
    this.#parts = {
      tools,
      layers: several,
      size: slider("Size of the brush", FINENESS, (value) => canvas.set({ size: this.#fromSlider(value) }), "Size ([ and ], or Ctrl and the wheel)"),
      sizeShown: make("output", { class: "w-canvas-number" }),
      soft: slider("Softness of the brush", 100, (value) => canvas.set({ softness: value / 100 }), "How soft the edge is (Shift and [ or ])"),
      softShown: make("output", { class: "w-canvas-number" }),
      color: make("input", { type: "color", class: "w-canvas-color", oninput: ({ target }) => canvas.set({ shade: target.value }) }),
      undo: slim("Undo", "restore", "undo", "Undo (Ctrl+Z)"),
      redo: slim("Redo", "redo", "redo", "Redo (Ctrl+Shift+Z or Ctrl+Y)"),
      invert: slim("Invert the mask", "invert", "invert", "Invert the mask (I)"),
      clear: slim("Clear", "trash", "clear", "Clear what is drawn"),
      file: slim("Load from a file", "folder", "file", "Load from a file: white is painted"),
      alpha: slim("Mask what is transparent", "alpha", "transparency", "Mask what is transparent in the picture"),
      full: slim("Fullscreen", "full", "full", "Fullscreen (S; Esc leaves it)"),
      scale: button("100 %", null, () => canvas.act("fit"), { class: "w-slim w-canvas-scale", title: "Show all of it (0)", data: { act: "fit" } }),
    };
    const { size, sizeShown, soft, softShown, color, undo, redo, invert, clear, file, alpha, full, scale } = this.#parts;
    return make("div", { class: "w-canvas-tools", role: "toolbar", "aria-label": "Drawing" },
      layers.length > 1 ? make("div", { class: "w-segments", role: "group", "aria-label": "Layer" }, Object.values(several)) : null,
      make("div", { class: "w-canvas-group w-canvas-kinds", role: "group", "aria-label": "Tool" }, Object.values(tools)),
      make("div", { class: "w-canvas-group" }, undo, redo, clear, invert, alpha, file),
      make("label", { class: "w-canvas-slider" }, make("span", {}, "Size"), size, sizeShown),
      make("label", { class: "w-canvas-slider" }, make("span", {}, "Soft"), soft, softShown),
      make("div", { class: "w-canvas-group" }, color,
        slim("Zoom out", "minus", "smaller", "Zoom out (-)"), scale, slim("Zoom in", "plus", "larger", "Zoom in (+)"), full),
    );
  }
}
