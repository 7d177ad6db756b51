// A step's picture with the heat map of words over it.

import { make } from "webui";

const STRONGEST = 0.85; // how much a heat map hides of the picture where it is hottest

export class View {
  #wanted = null;
  #picture = make("img", { class: "in-picture", alt: "", draggable: "false" });
  #heat = make("canvas", { class: "in-heat", "aria-hidden": "true" });
  node = make("div", { class: "in-view" }, this.#picture, this.#heat);

  /** Show a picture: its address or the promise of one, what it is in words, its sides, and whether its cells are to be seen. */
  async show({ src, label, width, height, cells }) {
    this.#wanted = src;
    const address = await src;
    if (this.#wanted !== src) return; // another one is to be seen by now
    if (address && this.#picture.getAttribute("src") !== address) this.#picture.setAttribute("src", address);
    this.#picture.setAttribute("alt", label);
    this.node.classList.toggle("in-cells", cells);
    this.node.style.setProperty("aspect-ratio", `${width} / ${height}`);
    this.node.style.setProperty("--in-ratio", String(width / height));
  }

  /** Lay a heat map over it: numbers, row after row; null for none. */
  heat(map, [height, width]) {
    this.#heat.hidden = map === null;
    this.node.classList.toggle("in-heated", map !== null);
    if (map === null) return;
    Object.assign(this.#heat, { width, height });
    const context = this.#heat.getContext("2d");
    const image = context.createImageData(width, height);
    const top = Math.max(...map, Number.MIN_VALUE);
    map.forEach((value, at) => image.data.set(hot(value / top), at * 4));
    context.putImageData(image, 0, 0);
  }
}

/** A share from 0 to 1 as a colour with transparency: nothing, red, yellow. */
function hot(part) {
  return [255, Math.round(40 + 200 * part ** 1.5), Math.round(30 * part), Math.round(255 * STRONGEST * part ** 0.8)];
}

/** The maps of several words added up, each number being a share of a pixel's attention. `bytes` has one byte a cell, word after word. */
export function added(bytes, peaks, words, cells) {
  const sum = new Float64Array(cells);
  for (const word of words) {
    for (let cell = 0; cell < cells; cell += 1) sum[cell] += (bytes[word * cells + cell] / 255) * peaks[word];
  }
  return sum;
}
