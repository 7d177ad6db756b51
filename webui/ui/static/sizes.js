// Common shapes at the size the model was trained at, and width and height exchanged.

import { button, make } from "./dom.js";
import { page } from "./page.js";

const SHAPES = [["Square", 1, 1], ["Portrait", 3, 4], ["Landscape", 4, 3], ["Wide", 16, 9]];
const STEP = 8; // pixels, which both sides are multiples of
const COARSE_STEP = 64; // for models of at least 512 pixels

class Sizes extends HTMLElement {
  #shapes = make("div", { class: "w-segments", role: "group", "aria-label": "Shape" });

  connectedCallback() {
    const swap = button("Exchange width and height", "swap", () => this.#swap(), { shown: false, id: "txt2img_swap" });
    this.replaceChildren(this.#shapes, swap);
    page.controls.txt2img.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const { width, height } = page.shape;
    this.#shapes.replaceChildren(...SHAPES.map(([name, wide, high]) => {
      const [w, h] = size(wide, high, page.model?.native_size ?? 512);
      const pressed = String(w === width && h === height);
      const take = () => page.controls.txt2img.fill(wide === high ? { width: null, height: null } : { width: w, height: h });
      return make("button", { type: "button", "aria-pressed": pressed, title: `${w} × ${h}`, data: { shape: name }, onclick: take }, name);
    }));
  }

  #swap() {
    const { width, height } = page.controls.txt2img.values;
    return page.controls.txt2img.fill({ width: height ?? null, height: width ?? null });
  }
}

/** Sides of that proportion with about as many pixels as the model's own square. */
function size(wide, high, own) {
  if (wide === high) return [own, own];
  const step = own >= 512 ? COARSE_STEP : STEP;
  const rounded = (side) => Math.max(Math.round(side / step) * step, step);
  return [rounded(own * Math.sqrt(wide / high)), rounded(own * Math.sqrt(high / wide))];
}

customElements.define("webui-sizes", Sizes);
