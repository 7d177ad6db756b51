// Common shapes at the size the model was trained at, and width and height exchanged.

import { button, make } from "./dom.js";
import { page } from "./page.js";

const SHAPES = [["Square", 1, 1], ["Portrait", 3, 4], ["Landscape", 4, 3], ["Wide", 16, 9]];
const STEP = 8; // pixels, which both sides are multiples of
const COARSE_STEP = 64; // for models of at least 512 pixels

class Sizes extends HTMLElement {
  #buttons = [];
  #tab = null;
  #asPicture = null;

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { controls, inputs, task } = this.#tab;
    const given = inputs.names.length > 0; // then empty fields mean the picture's shape, and a square is one of the others
    if (given) {
      const as = () => controls.fill({ width: null, height: null });
      this.#asPicture = make("button", { type: "button", "aria-pressed": "false", data: { shape: "Picture" }, onclick: as, title: "The picture's own shape" }, "As picture");
    }
    this.#buttons = this.#shapes.map(([name, wide, high]) => {
      const own = wide === high && !given;
      const take = () => controls.fill(own ? { width: null, height: null } : this.#size(wide, high));
      return make("button", { type: "button", "aria-pressed": "false", data: { shape: name }, onclick: take }, name);
    });
    const swap = button("Exchange width and height", "swap", () => this.#swap(), { shown: false, id: `${task}_swap` });
    this.append(make("div", { class: "w-segments", role: "group", "aria-label": "Shape" }, this.#asPicture, ...this.#buttons), swap);
    controls.addEventListener("change", () => this.#draw());
    page.addEventListener("model", () => this.#draw());
    this.#draw();
  }

  /** Beside a picture's own shape there is room for the most common ones. */
  get #shapes() {
    return this.#asPicture ? SHAPES.slice(0, 3) : SHAPES;
  }

  #draw() {
    const { shape, values } = this.#tab;
    const open = !values.width && !values.height;
    this.#asPicture?.setAttribute("aria-pressed", String(open));
    this.#shapes.forEach(([, wide, high], at) => {
      const { width, height } = this.#size(wide, high);
      this.#buttons[at].title = `${width} × ${height}`;
      this.#buttons[at].setAttribute("aria-pressed", String(width === shape.width && height === shape.height && !(open && this.#asPicture)));
    });
  }

  #size(wide, high) {
    return size(wide, high, this.#tab.model?.native_size ?? 512);
  }

  #swap() {
    const { width, height } = this.#tab.values;
    return this.#tab.controls.fill({ width: height ?? null, height: width ?? null });
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
