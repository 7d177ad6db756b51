// A layer as the browser can show it: a canvas, as fine as what is seen of it needs to be, kept up to date piece by piece.

import { SIDE } from "./tiles.js";

export class Surface {
  canvas = document.createElement("canvas");
  #context = this.canvas.getContext("2d");
  #piece = new ImageData(SIDE, SIDE);
  #pixels = new Uint32Array(this.#piece.data.buffer);
  #level = -1;
  #layer;
  #color;

  /** `color`: [red, green, blue] in which a mask is shown. */
  constructor(layer, color) {
    this.#layer = layer;
    this.color = color;
  }

  set color([red, green, blue]) {
    this.#color = (blue << 16) | (green << 8) | red; // as the bytes lie in memory
    this.#level = -1;
  }

  /** Be as fine as a screen that shows a pixel of the layer `scale` large needs it. */
  fit(scale) {
    const level = Math.min(6, Math.max(0, Math.floor(Math.log2(1 / scale) + 0.01)));
    if (level === this.#level) return;
    this.#level = level;
    const { tiles } = this.#layer;
    this.canvas.width = Math.ceil(tiles.width / 2 ** level);
    this.canvas.height = Math.ceil(tiles.height / 2 ** level);
    for (const [index, left, top] of tiles.under(tiles.whole)) {
      if (tiles.at(index)) this.#put(index, left, top, { left: 0, top: 0, right: SIDE, bottom: SIDE });
    }
  }

  /** The layer has changed in a rectangle. */
  show(changed) {
    if (this.#level < 0 || !changed) return;
    const { tiles } = this.#layer;
    for (const [index, left, top] of tiles.under(changed)) {
      this.#put(index, left, top, {
        left: Math.max(0, Math.floor(changed.left) - left), top: Math.max(0, Math.floor(changed.top) - top),
        right: Math.min(SIDE, Math.ceil(changed.right) - left), bottom: Math.min(SIDE, Math.ceil(changed.bottom) - top),
      });
    }
  }

  /** Draw it where the layer is on a canvas of the screen. */
  draw(context, { x, y, scale }) {
    const size = 2 ** this.#level * scale; // the last column may stand for fewer pixels than the others
    context.drawImage(this.canvas, x, y, this.canvas.width * size, this.canvas.height * size);
  }

  #put(index, left, top, part) {
    const level = this.#level;
    const [x0, y0] = [part.left >> level, part.top >> level];
    const [x1, y1] = [((part.right - 1) >> level) + 1, ((part.bottom - 1) >> level) + 1];
    const tile = this.#layer.tiles.at(index);
    for (let y = y0; y < y1; y += 1) {
      const row = this.#pixels.subarray(y * SIDE, y * SIDE + x1);
      if (!tile) row.fill(0, x0);
      else if (this.#layer.kind === "mask") this.#grey(tile, row, x0, x1, y);
      else this.#colored(tile, row, x0, x1, y);
    }
    this.#context.putImageData(this.#piece, left >> level, top >> level, x0, y0, x1 - x0, y1 - y0);
  }

  /** Each pixel of a row as the mean of a square of the tile's. */
  #grey(tile, row, x0, x1, y) {
    const level = this.#level;
    const side = 1 << level;
    for (let x = x0; x < x1; x += 1) {
      let sum = 0;
      for (let line = y << level; line < (y + 1) << level; line += 1) {
        for (let at = line * SIDE + (x << level), end = at + side; at < end; at += 1) sum += tile[at];
      }
      row[x] = ((sum >> (2 * level)) << 24) | this.#color;
    }
  }

  #colored(tile, row, x0, x1, y) {
    const level = this.#level;
    const side = 4 << level;
    for (let x = x0; x < x1; x += 1) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let alpha = 0;
      for (let line = y << level; line < (y + 1) << level; line += 1) {
        for (let at = (line * SIDE + (x << level)) * 4, end = at + side; at < end; at += 4) {
          const share = tile[at + 3];
          red += tile[at] * share;
          green += tile[at + 1] * share;
          blue += tile[at + 2] * share;
          alpha += share;
        }
      }
      row[x] = alpha === 0 ? 0 : ((alpha >> (2 * level)) << 24) | ((blue / alpha) << 16) | ((green / alpha) << 8) | (red / alpha);
    }
  }
}
