// A layer as a file at the picture's own size, and a file as a layer.

import { opened } from "./decoded.js";
import { png } from "./png.js";
import { SIDE, Tiles } from "./tiles.js";

/** A PNG of what is drawn, `width` by `height`: grey for a mask, with transparency for a sketch. */
export function asFile({ tiles }, width, height) {
  const { depth } = tiles;
  if (width === tiles.width && height === tiles.height) return png({ width, height, depth }, (y, out) => tiles.row(y, out));
  return png({ width, height, depth }, stretched(tiles, width, height));
}

/** Rows of a larger picture, each pixel mixed of the four around it. */
function stretched(tiles, width, height) {
  const { depth } = tiles;
  const rows = new Map(); // the few that were read last
  const read = (y) => {
    const wanted = Math.min(Math.max(y, 0), tiles.height - 1);
    if (!rows.has(wanted)) {
      if (rows.size > 3) rows.delete(rows.keys().next().value);
      const row = new Uint8Array(tiles.width * depth);
      tiles.row(wanted, row);
      rows.set(wanted, row);
    }
    return rows.get(wanted);
  };
  return (y, out) => {
    const at = ((y + 0.5) * tiles.height) / height - 0.5;
    const [upper, lower, below] = [read(Math.floor(at)), read(Math.floor(at) + 1), at - Math.floor(at)];
    for (let x = 0; x < width; x += 1) {
      const across = ((x + 0.5) * tiles.width) / width - 0.5;
      const left = Math.min(Math.max(Math.floor(across), 0), tiles.width - 1) * depth;
      const right = Math.min(Math.max(Math.floor(across) + 1, 0), tiles.width - 1) * depth;
      const beside = across - Math.floor(across);
      for (let channel = 0; channel < depth; channel += 1) {
        const above = upper[left + channel] * (1 - beside) + upper[right + channel] * beside;
        const under = lower[left + channel] * (1 - beside) + lower[right + channel] * beside;
        out[x * depth + channel] = above * (1 - below) + under * below + 0.5;
      }
    }
  };
}

const GREY = [0.2126, 0.7152, 0.0722];
export const READ = {
  /** White is painted; what is transparent is not. */
  mask: (red, green, blue, alpha) => ((GREY[0] * red + GREY[1] * green + GREY[2] * blue) * alpha) / 255 + 0.5,
  /** What is transparent is painted. */
  transparency: (red, green, blue, alpha) => 255 - alpha,
};

/** The state of tiles {width, height} that shows a file stretched over them; null where the browser cannot read it. */
export async function asState(source, { width, height, depth }, read) {
  const seen = source instanceof ImageBitmap || source instanceof HTMLImageElement ? { image: source, release: () => {} } : await opened(source);
  if (!seen) return null;
  const tiles = new Tiles(width, height, depth);
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  for (const [index, left, top] of tiles.under(tiles.whole)) {
    context.clearRect(0, 0, SIDE, SIDE);
    context.drawImage(seen.image, -left, -top, width, height);
    const { data } = context.getImageData(0, 0, SIDE, SIDE);
    const tile = tiles.writable(index);
    if (depth === 4) tile.set(data);
    else for (let at = 0; at < tile.length; at += 1) tile[at] = read(data[at * 4], data[at * 4 + 1], data[at * 4 + 2], data[at * 4 + 3]);
    tiles.tidy(index);
  }
  seen.release();
  return tiles.state();
}
