// The place that a click fills: everything that is connected with it and looks like it.

import { SIDE } from "./tiles.js";

const HALF = 128;
const NEAR = 48; // how much two colours of one place may differ, in any channel

/** What is filled from a pixel on, as tiles of 0 and 255 by their index. An edge that is half covered is filled too. */
export function flooded(tiles, x, y) {
  const { width, height, columns } = tiles;
  const covered = new Map();
  if (x < 0 || y < 0 || x >= width || y >= height) return covered;
  const alike = likeness(tiles, x, y);
  const place = (px, py) => [Math.floor(py / SIDE) * columns + Math.floor(px / SIDE), (py % SIDE) * SIDE + (px % SIDE)];
  const open = (px, py) => {
    const [index, at] = place(px, py);
    return !covered.get(index)?.[at] && alike(index, at);
  };
  const mark = (px, py) => {
    const [index, at] = place(px, py);
    if (!covered.has(index)) covered.set(index, new Uint8Array(SIDE * SIDE));
    covered.get(index)[at] = 255;
  };
  const waiting = [[x, y]];
  while (waiting.length > 0) {
    const [from, row] = waiting.pop();
    if (!open(from, row)) continue;
    let [left, right] = [from, from];
    while (left > 0 && open(left - 1, row)) left -= 1;
    while (right < width - 1 && open(right + 1, row)) right += 1;
    for (let at = left; at <= right; at += 1) mark(at, row);
    for (const next of [row - 1, row + 1]) {
      if (next < 0 || next >= height) continue;
      let inside = false;
      for (let at = left; at <= right; at += 1) {
        const is = open(at, next);
        if (is && !inside) waiting.push([at, next]);
        inside = is;
      }
    }
  }
  return covered;
}

/** Whether a pixel is like the one that was clicked. */
function likeness(tiles, x, y) {
  const at = (y % SIDE) * SIDE + (x % SIDE);
  const from = tiles.at(Math.floor(y / SIDE) * tiles.columns + Math.floor(x / SIDE));
  if (tiles.depth === 1) {
    const high = (from?.[at] ?? 0) >= HALF;
    return (index, pixel) => ((tiles.at(index)?.[pixel] ?? 0) >= HALF) === high;
  }
  const wanted = from ? from.slice(at * 4, at * 4 + 4) : new Uint8Array(4);
  if (wanted[3] < HALF) return (index, pixel) => (tiles.at(index)?.[pixel * 4 + 3] ?? 0) < HALF;
  return (index, pixel) => {
    const tile = tiles.at(index);
    return tile !== null && wanted.every((value, channel) => Math.abs(value - tile[pixel * 4 + channel]) <= NEAR);
  };
}
