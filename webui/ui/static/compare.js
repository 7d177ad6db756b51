// Before and after: two or three pictures under a slider or side by side, enlarged and moved together.

import { button, make } from "./dom.js";
import { Pane } from "./pane.js";
import { byWheel, Fingers, passing, STEP } from "./zooming.js";

const GAP = 10; // pixels between pictures, as in compare.css
const MOST = 32; // times as large
const CLOSE = { mouse: 10, pen: 14, touch: 26 }; // pixels within which a line is meant
const NUDGE = 0.02;
const LARGEST_SCALE = 4; // small pictures are not blown up beyond what they hold
const SMALLEST_SIDE = 320;
const ORDER = ["before", "third", "after"]; // from left to right
const LABELS = { before: "Before", third: "Between", after: "After" };

/** <webui-compare before after third, each with …-label, mode="slider | sides">. An address may change at any time. */
export class Compare extends HTMLElement {
  static observedAttributes = [...ORDER, ...ORDER.map((name) => `${name}-label`), "mode"];
  #panes = Object.fromEntries(ORDER.map((name) => [name, new Pane(() => this.#draw())]));
  #lines = [];
  #places = [0.5]; // of the lines, from left to right
  #view = { zoom: 1, x: 0, y: 0 }; // x and y: by how much of its own size a picture is moved
  #box = make("div", { class: "w-compare-box" });
  #ground = make("div", { class: "w-compare-ground", role: "group" }, this.#box);
  #modes = {};
  #scale;
  #fingers = new Fingers();
  #held = null; // the number of the line that is dragged
  #cells = { width: 0, height: 0 };

  connectedCallback() {
    if (this.childElementCount > 0) return;
    const mode = (name, label) => make("button", { type: "button", onclick: () => this.setAttribute("mode", name) }, label);
    this.#modes = { slider: mode("slider", "Slider"), sides: mode("sides", "Side by side") };
    this.#scale = button("Fit", null, () => this.zoom(1), { title: "Show all of it (0)", class: "w-slim w-compare-scale" });
    this.append(
      make("div", { class: "w-compare-head" },
        make("div", { class: "w-segments", role: "group", "aria-label": "How to compare" }, Object.values(this.#modes)),
        make("span", { class: "w-gap" }),
        button("Zoom out", "minus", () => this.zoom(this.#view.zoom / STEP), { shown: false, class: "w-slim", title: "Zoom out (-)" }),
        this.#scale,
        button("Zoom in", "plus", () => this.zoom(this.#view.zoom * STEP), { shown: false, class: "w-slim", title: "Zoom in (+)" }),
      ),
      this.#ground,
    );
    this.#ground.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#ground.addEventListener("pointerdown", (event) => this.#down(event));
    this.#ground.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) this.#ground.addEventListener(kind, (event) => this.#up(event));
    this.#ground.addEventListener("dblclick", (event) => this.#view.zoom > 1 ? this.zoom(1) : this.zoom(this.#real(), event));
    this.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#fit()).observe(this.#ground);
    this.#draw();
  }

  attributeChangedCallback(name, _, value) {
    if (ORDER.includes(name)) this.#panes[name].follow(value ?? "");
    this.#draw();
  }

  /** The pictures there are, from left to right. */
  get #seen() {
    return ORDER.filter((name) => this.#panes[name].shown);
  }

  get #sliding() {
    return this.getAttribute("mode") !== "sides" && this.#seen.length > 1;
  }

  /** So many times as large; `at`, where given, stays in its place. */
  zoom(factor, at = null) {
    const zoom = Math.min(Math.max(factor, 1), MOST);
    const before = this.#view.zoom;
    const [x, y] = at ? this.#within(at) : [0, 0];
    const grown = zoom / before;
    this.#view = { zoom, x: x - (x - this.#view.x) * grown, y: y - (y - this.#view.y) * grown };
    this.#bound();
    this.#place();
  }

  /** Where a pointer is in the picture's cell, from -0.5 to 0.5. */
  #within({ clientX, clientY }) {
    const cells = [...this.#box.querySelectorAll(".w-pane")].map((pane) => pane.getBoundingClientRect());
    const cell = cells.find((each) => clientX >= each.left && clientX <= each.right && clientY >= each.top && clientY <= each.bottom) ?? cells[0];
    if (!cell) return [0, 0];
    return [(clientX - cell.left) / cell.width - 0.5, (clientY - cell.top) / cell.height - 0.5];
  }

  /** A pixel of the picture is one of the screen; where it is already, twice that. */
  #real() {
    const width = Math.max(1, ...this.#seen.map((name) => this.#panes[name].width));
    const real = width / (this.#cells.width * devicePixelRatio || 1);
    return real > 1.2 ? real : 2.5;
  }

  #bound() {
    const most = (this.#view.zoom - 1) / 2;
    for (const axis of ["x", "y"]) this.#view[axis] = Math.min(Math.max(this.#view[axis], -most), most);
  }

  #draw() {
    if (!this.#modes.slider) return;
    const seen = this.#seen;
    const sliding = this.#sliding;
    this.dataset.state = seen.length === 0 ? "empty" : seen.length === 1 ? "single" : sliding ? "slider" : "sides";
    for (const [name, each] of Object.entries(this.#modes)) {
      each.setAttribute("aria-pressed", String((name === "slider") === sliding));
      each.disabled = seen.length < 2;
    }
    for (const name of ORDER) this.#panes[name].name(this.getAttribute(`${name}-label`) ?? LABELS[name]);
    const count = sliding ? seen.length - 1 : 0;
    if (this.#places.length !== Math.max(1, count)) this.#places = Array.from({ length: Math.max(1, count) }, (_, at) => (at + 1) / (Math.max(1, count) + 1));
    while (this.#lines.length < count) this.#lines.push(this.#line(this.#lines.length));
    this.#lines.length = count;
    const nodes = [...seen.map((name) => this.#panes[name].node), ...this.#lines];
    const same = nodes.length === this.#box.children.length && nodes.every((node, at) => node === this.#box.children[at]);
    if (!same) this.#box.replaceChildren(...nodes);
    this.#fit();
  }

  #line(number) {
    const line = make("div", { class: "w-compare-line", tabindex: "0", role: "slider", "aria-orientation": "horizontal", "aria-valuemin": "0", "aria-valuemax": "100" });
    line.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 5 * NUDGE : NUDGE;
      const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageUp: 5 * NUDGE, PageDown: -5 * NUDGE, Home: -1, End: 1 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      this.#slide(number, this.#places[number] + by);
    });
    return line;
  }

  /** A line moves, and takes along those that it meets. */
  #slide(number, to) {
    const place = Math.min(Math.max(to, 0), 1);
    this.#places = this.#places.map((each, at) => (at === number ? place : at < number ? Math.min(each, place) : Math.max(each, place)));
    this.#place();
  }

  /** As many columns as make the pictures largest. */
  #fit() {
    const { clientWidth, clientHeight } = this.#ground;
    const seen = this.#seen;
    if (clientWidth === 0 || seen.length === 0) return;
    const { width, height } = this.#shape();
    const count = this.#sliding ? 1 : seen.length;
    const scales = Array.from({ length: count }, (_, at) => {
      const [columns, rows] = [at + 1, Math.ceil(count / (at + 1))];
      return Math.min((clientWidth - GAP * (columns - 1)) / columns / width, (clientHeight - GAP * (rows - 1)) / rows / height);
    });
    const best = Math.max(...scales);
    const scale = Math.min(best, Math.max(LARGEST_SCALE, SMALLEST_SIDE / Math.max(width, height)));
    this.#cells = { width: Math.floor(width * scale), height: Math.floor(height * scale) };
    this.#box.style.gridTemplateColumns = `repeat(${scales.indexOf(best) + 1}, ${this.#cells.width}px)`;
    this.#box.style.gridAutoRows = `${this.#cells.height}px`;
    this.#place();
  }

  /** Of the newest picture; a preview of it is smaller, but no other shape. */
  #shape() {
    const seen = this.#seen.map((name) => this.#panes[name]);
    const newest = seen.at(-1);
    const enlarged = Math.max(...seen.map((pane) => pane.width)) / newest.width;
    return { width: newest.width * enlarged, height: newest.height * enlarged };
  }

  #place() {
    const { zoom, x, y } = this.#view;
    const seen = this.#seen;
    const sliding = this.#sliding;
    const edges = sliding ? [0, ...this.#places, 1] : null;
    const enlarged = (zoom * this.#cells.width * devicePixelRatio) / Math.max(1, ...seen.map((name) => this.#panes[name].width));
    seen.forEach((name, at) => {
      const region = sliding ? [edges[at], edges[at + 1]] : [0, 1];
      this.#panes[name].place({ zoom, x, y, region, width: this.#cells.width, last: sliding && at === seen.length - 1, pixels: enlarged > 3 });
    });
    this.#lines.forEach((line, at) => {
      line.style.left = `${this.#places[at] * 100}%`;
      line.setAttribute("aria-valuenow", String(Math.round(this.#places[at] * 100)));
      line.setAttribute("aria-label", `${this.#panes[seen[at]].label} to the left, ${this.#panes[seen[at + 1]].label} to the right`);
    });
    this.dataset.zoom = zoom.toFixed(2);
    this.#scale.firstChild.textContent = zoom === 1 ? "Fit" : `${zoom < 10 ? zoom.toFixed(1) : Math.round(zoom)}×`;
    this.#ground.classList.toggle("w-near", zoom > 1);
  }

  #wheel(event) {
    const factor = byWheel(event);
    if (this.#seen.length === 0 || (this.#view.zoom === 1 && factor < 1 && !event.ctrlKey) || passing()) return; // that is for the page
    event.preventDefault();
    this.zoom(this.#view.zoom * factor, event);
  }

  #down(event) {
    if (event.button !== 0 || this.#seen.length === 0) return;
    this.#ground.setPointerCapture(event.pointerId);
    this.#fingers.put(event);
    this.#held = this.#fingers.count === 1 ? this.#meant(event) : null;
    if (this.#held === null) return;
    this.#lines[this.#held].focus({ preventScroll: true });
    if (this.#view.zoom === 1) this.#slide(this.#held, this.#across(event));
  }

  /** The line a pointer takes: the nearest, anywhere where there is nothing else to drag. */
  #meant(event) {
    if (!this.#sliding) return null;
    const { left, width } = this.#box.getBoundingClientRect();
    const far = this.#places.map((place) => Math.abs(left + place * width - event.clientX));
    const after = this.#places.map((place, at) => far[at] + (this.#across(event) > place ? -0.01 : 0.01) * at); // of two in one place the one that can go there
    const nearest = after.indexOf(Math.min(...after));
    return this.#view.zoom === 1 || far[nearest] <= (CLOSE[event.pointerType] ?? CLOSE.touch) ? nearest : null;
  }

  #across(event) {
    const { left, width } = this.#box.getBoundingClientRect();
    return (event.clientX - left) / width;
  }

  #move(event) {
    const moved = this.#fingers.move(event);
    if (!moved) return;
    if (this.#held !== null) return void this.#slide(this.#held, this.#across(event));
    const { width, height } = this.#cells;
    this.#view.x += moved.byX / width;
    this.#view.y += moved.byY / height;
    this.zoom(this.#view.zoom * moved.factor, { clientX: moved.x, clientY: moved.y });
  }

  #up(event) {
    this.#fingers.lift(event);
    this.#held = null;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { zoom } = this.#view;
    const acts = { "+": zoom * STEP, "=": zoom * STEP, "-": zoom / STEP, 0: 1 };
    if (acts[event.key] === undefined) return;
    event.preventDefault();
    this.zoom(acts[event.key]);
  }
}

customElements.define("webui-compare", Compare);
