// Common shapes at the size the model was trained at, and width and height exchanged.

import { button, make } from "./dom.js";
import { page } from "./page.js";

const SHAPES = [["Square", 1, 1], ["Portrait", 3, 4], ["Landscape", 4, 3], ["Wide", 16, 9]];
const STEP = 8; // pixels, which both sides are multiples of
const COARSE_STEP = 64; // for models of at least 512 pixels

class Sizes extends HTMLElement {
  #buttons = [];

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#buttons = SHAPES.map(([name, wide, high]) => {
      const own = wide === high;
      const take = () => page.controls.txt2img.fill(own ? { width: null, height: null } : this.#size(wide, high));
      return make("button", { type: "button", "aria-pressed": "false", data: { shape: name }, onclick: take }, name);
    });
    const swap = button("Exchange width and height", "swap", () => this.#swap(), { shown: false, id: "txt2img_swap" });
    this.append(make("div", { class: "w-segments", role: "group", "aria-label": "Shape" }, ...this.#buttons), swap);
    page.controls.txt2img.addEventListener("change", () => this.#draw());
    page.addEventListener("model", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { shape } = page;
    SHAPES.forEach(([, wide, high], at) => {
      const { width, height } = this.#size(wide, high);
      this.#buttons[at].title = `${width} × ${height}`;
      this.#buttons[at].setAttribute("aria-pressed", String(width === shape.width && height === shape.height));
    });
  }

  #size(wide, high) {
    return size(wide, high, page.model?.native_size ?? 512);
  }

  #swap() {
    const { width, height } = page.controls.txt2img.values;
    return page.controls.txt2img.fill({ width: height ?? null, height: width ?? null });
  }
}

/** Sides of that proportion with about as many pixels as the model's own square. */
function size(wide, high, own) {
  if (wide === high) return { width: own, height: own };
  const step = own >= 512 ? COARSE_STEP : STEP;
  const rounded = (side) => Math.max(Math.round(side / step) * step, step);
  return { width: rounded(own * Math.sqrt(wide / high)), height: rounded(own * Math.sqrt(high / wide)) };
}

customElements.define("webui-sizes", Sizes);
