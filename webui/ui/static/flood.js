// The place that a click fills: everything that is connected with it and looks like it.

import { SIDE } from "./tiles.js";

const HALF = 128;
const NEAR = 48; // how much two colours of one place may differ, in any channel
const [OTHER, ALIKE, FILLED] = [0, 1, 2];

/** What is filled from a pixel on, as tiles of 0 and 255 by their index. */
export function flooded(tiles, x, y) {
  const { width, height } = tiles;
  if (x < 0 || y < 0 || x >= width || y >= height) return new Map();
  const field = likeness(tiles, x, y);
  const waiting = [y * width + x];
  while (waiting.length > 0) {
    const from = waiting.pop();
    if (field[from] !== ALIKE) continue;
    const start = from - (from % width);
    let left = from;
    while (left > start && field[left - 1] === ALIKE) left -= 1;
    let right = from + 1;
    while (right < start + width && field[right] === ALIKE) right += 1;
    field.fill(FILLED, left, right);
    if (start > 0) seeds(field, left - width, right - width, waiting);
    if (start + width < field.length) seeds(field, left + width, right + width, waiting);
  }
  return inTiles(tiles, field);
}

/** One place in each stretch of a row that is still to be filled. */
function seeds(field, from, to, waiting) {
  for (let at = from; at < to; at += 1) {
    if (field[at] === ALIKE && (at === from || field[at - 1] !== ALIKE)) waiting.push(at);
  }
}

/** For each pixel whether it is like the one that was clicked. */
function likeness(tiles, x, y) {
  const { width, height, depth } = tiles;
  const field = new Uint8Array(width * height);
  const row = new Uint8Array(width * depth);
  tiles.row(y, row);
  const wanted = row.slice(x * depth, (x + 1) * depth);
  const high = wanted[depth - 1] >= HALF;
  const alike = depth === 1 || !high
    ? (at) => row[at + depth - 1] >= HALF === high
    : (at) => wanted.every((value, channel) => Math.abs(value - row[at + channel]) <= NEAR);
  for (let line = 0; line < height; line += 1) {
    tiles.row(line, row);
    for (let at = 0; at < width; at += 1) field[line * width + at] = alike(at * depth) ? ALIKE : OTHER;
  }
  return field;
}

function inTiles(tiles, field) {
  const { width, height } = tiles;
  const covered = new Map();
  for (const [index, left, top] of tiles.under(tiles.whole)) {
    const tile = new Uint8Array(SIDE * SIDE);
    let any = false;
    for (let y = 0; y < Math.min(SIDE, height - top); y += 1) {
      const from = (top + y) * width + left;
      for (let x = 0; x < Math.min(SIDE, width - left); x += 1) {
        if (field[from + x] !== FILLED) continue;
        tile[y * SIDE + x] = 255;
        any = true;
      }
    }
    if (any) covered.set(index, tile);
  }
  return covered;
}
