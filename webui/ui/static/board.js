// The surface that is drawn on: a picture with layers over it, moved and enlarged; and the ring that shows the brush.

import { make } from "./dom.js";
import { Surface } from "./surface.js";
import { around } from "./tiles.js";

const MOST = 32; // screen pixels for one of the picture
const PIXELS_SHOW = 3; // from so many on they are shown as squares
const CHECKER = 8; // pixels of the ground under transparent pictures
const MASK_SHARE = 0.6; // of the mask's colour, so that the picture is seen through it

export class Board {
  ring = make("div", { class: "w-canvas-ring", hidden: true });
  node = make("div", { class: "w-canvas-ground", tabindex: "0", role: "application" });
  view = { scale: 1, x: 0, y: 0 }; // screen pixels for one of the picture; where its corner is
  #under = make("canvas", { "aria-hidden": "true" });
  #over = make("canvas", { "aria-hidden": "true" });
  #art = null;
  #surfaces = new Map();
  #fitting = true;
  #frame = 0;
  #changed = new Map(); // layer -> rectangle, until the next frame
  #all = false;
  #onview;

  constructor(onview) {
    this.#onview = onview;
    this.node.append(this.#under, this.#over, this.ring);
    new ResizeObserver(() => this.#resize()).observe(this.node);
  }

  get fitting() {
    return this.#fitting;
  }

  /** Show an `Art`, or nothing. `color`: [r, g, b] of masks. */
  show(art, color) {
    this.#art = art;
    this.#surfaces = new Map(Object.values(art?.layers ?? {}).reverse().map((layer) => [layer, new Surface(layer, color)])); // a mask over a sketch
    this.#changed.clear();
    if (art) this.node.style.setProperty("--shape", `${art.width} / ${art.height}`);
    this.fit();
  }

  /** The picture has been decoded. */
  refresh() {
    this.#all = true;
    this.#ask();
  }

  /** A layer has changed in a rectangle. */
  changed(layer, rectangle) {
    if (!rectangle) return;
    const known = this.#changed.get(layer);
    this.#changed.set(layer, known ? around(known, rectangle) : rectangle);
    this.#ask();
  }

  color(rgb) {
    for (const surface of this.#surfaces.values()) surface.color = rgb;
    this.refresh();
  }

  /** Where a pointer is in the picture, in its pixels. */
  point({ clientX, clientY }) {
    const { left, top } = this.node.getBoundingClientRect();
    return [(clientX - left - this.node.clientLeft - this.view.x) / this.view.scale, (clientY - top - this.node.clientTop - this.view.y) / this.view.scale];
  }

  /** All of it is seen. */
  fit() {
    this.#fitting = true;
    if (!this.#art || !this.node.clientWidth) return;
    this.view = { scale: this.#least(), x: 0, y: 0 };
    this.#moved();
  }

  /** So many times as large as now; what is at the pointer stays there. */
  zoom(factor, { clientX, clientY } = this.#middle()) {
    if (!this.#art) return;
    const least = this.#least();
    const scale = Math.min(Math.max(this.view.scale * factor, least), Math.max(MOST, least));
    const { left, top } = this.node.getBoundingClientRect();
    const [x, y] = [clientX - left - this.node.clientLeft, clientY - top - this.node.clientTop];
    const grown = scale / this.view.scale;
    this.#fitting = scale === least;
    this.view = { scale, x: x - (x - this.view.x) * grown, y: y - (y - this.view.y) * grown };
    this.#moved();
  }

  pan(byX, byY) {
    this.view = { ...this.view, x: this.view.x + byX, y: this.view.y + byY };
    this.#moved();
  }

  /** Put the ring where the brush is, `radius` in pixels of the picture; null takes it away. */
  follow(event, radius) {
    this.ring.hidden = event === null;
    if (event === null) return;
    const { left, top } = this.node.getBoundingClientRect();
    const size = Math.max(3, 2 * radius * this.view.scale);
    this.ring.style.width = `${size}px`;
    this.ring.style.height = `${size}px`;
    this.ring.style.transform = `translate(${event.clientX - left - this.node.clientLeft - size / 2}px, ${event.clientY - top - this.node.clientTop - size / 2}px)`;
  }

  #least() {
    return Math.min(this.node.clientWidth / this.#art.width, this.node.clientHeight / this.#art.height);
  }

  #middle() {
    const { left, top, width, height } = this.node.getBoundingClientRect();
    return { clientX: left + width / 2, clientY: top + height / 2 };
  }

  /** The picture stays where it is seen: in the middle where there is room, else without a gap at its sides. */
  #moved() {
    const { scale } = this.view;
    const within = (at, room, size) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    this.view.x = within(this.view.x, this.node.clientWidth, this.#art.width * scale);
    this.view.y = within(this.view.y, this.node.clientHeight, this.#art.height * scale);
    this.node.classList.toggle("w-fitting", this.#fitting);
    this.#onview(this.view);
    this.refresh();
  }

  #resize() {
    const dense = devicePixelRatio;
    for (const canvas of [this.#under, this.#over]) {
      canvas.width = Math.round(this.node.clientWidth * dense);
      canvas.height = Math.round(this.node.clientHeight * dense);
    }
    if (!this.#art || !this.node.clientWidth) return;
    if (this.#fitting || this.view.scale < this.#least()) this.fit();
    else this.#moved();
    this.#draw(); // now, for a canvas that was resized is empty
  }

  #ask() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    if (!this.#under.width) return;
    const dense = this.#under.width / this.node.clientWidth;
    const place = { scale: this.view.scale * dense, x: this.view.x * dense, y: this.view.y * dense };
    for (const [layer, rectangle] of this.#changed) this.#surfaces.get(layer)?.show(rectangle);
    const parts = this.#all ? null : [...this.#changed.values()].reduce(around, null);
    this.#changed.clear();
    if (this.#all) this.#drawUnder(place);
    this.#all = false;
    this.#drawOver(place, parts);
  }

  #drawUnder(place) {
    const context = this.#under.getContext("2d");
    context.clearRect(0, 0, this.#under.width, this.#under.height);
    if (!this.#art) return;
    const [width, height] = [this.#art.width * place.scale, this.#art.height * place.scale];
    if (this.#art.transparent) checkers(context, place.x, place.y, width, height);
    const fine = this.#art.images.findLast(({ width: own }) => own >= width) ?? this.#art.images[0];
    context.imageSmoothingEnabled = place.scale < PIXELS_SHOW;
    if (fine) context.drawImage(fine.image, place.x, place.y, width, height);
  }

  /** Only `part` of the layers, in pixels of the picture; null for all. */
  #drawOver(place, part) {
    const context = this.#over.getContext("2d");
    const { width, height } = this.#over;
    context.save();
    context.beginPath();
    const margin = 2 + 2 * place.scale;
    const corner = part ? [Math.floor(place.x + part.left * place.scale - margin), Math.floor(place.y + part.top * place.scale - margin)] : [0, 0];
    const size = part ? [Math.ceil((part.right - part.left) * place.scale + 2 * margin + 1), Math.ceil((part.bottom - part.top) * place.scale + 2 * margin + 1)] : [width, height];
    context.rect(...corner, ...size);
    context.clip();
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = place.scale < PIXELS_SHOW;
    for (const [layer, surface] of this.#surfaces) {
      if (layer.hidden || layer.empty) continue;
      surface.fit(place.scale);
      context.globalAlpha = layer.kind === "mask" ? MASK_SHARE : 1;
      surface.draw(context, place);
    }
    context.restore();
  }
}

function checkers(context, x, y, width, height) {
  context.fillStyle = "rgb(255 255 255)";
  context.fillRect(x, y, width, height);
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.fillStyle = "rgb(205 205 210)";
  for (let row = 0; row * CHECKER < height; row += 1) {
    for (let column = row % 2; column * CHECKER < width; column += 2) context.fillRect(x + column * CHECKER, y + row * CHECKER, CHECKER, CHECKER);
  }
  context.restore();
}
