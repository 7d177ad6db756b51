// What a brush covers, and what becomes of the pixels under it. Computed here and not by the browser's canvas, so that a mask has
// the same values everywhere: within a stroke the largest cover counts, so that going over a place twice does not change its edge.

import { SIDE } from "./tiles.js";

const SOFT = 0.02; // softer than that, an edge is a smooth slope instead of a pixel's
const FULL = 255;

/**
 * Cover one tile's pixels with the way of a brush from `a` to `b`, each [x, y, radius]; a pixel's centre is at a half. Softness 0
 * is a hard edge, a pixel wide; 1 a slope from the middle to the radius. `mix` is told each pixel that is covered more than before;
 * the rectangle of those is returned, in the tile's own pixels, or null.
 */
export function cover(covered, left, top, a, b, softness, mix) {
  const [ax, ay, ar] = [a[0] - left, a[1] - top, a[2]];
  const [dx, dy, dr] = [b[0] - a[0], b[1] - a[1], b[2] - ar];
  const most = Math.max(ar, b[2]) + 0.5;
  const square = dx * dx + dy * dy;
  const inverse = square > 0 ? 1 / square : 0;
  const soft = softness > SOFT;
  const core = square > 0 ? ar * (1 - softness) - 0.5 : 0; // within it, where the brush was before, all is covered
  const [x0, x1] = [Math.max(0, Math.floor(Math.min(ax, ax + dx) - most)), Math.min(SIDE, Math.ceil(Math.max(ax, ax + dx) + most))];
  const [y0, y1] = [Math.max(0, Math.floor(Math.min(ay, ay + dy) - most)), Math.min(SIDE, Math.ceil(Math.max(ay, ay + dy) + most))];
  let [minX, maxX, minY, maxY] = [SIDE, -1, SIDE, -1];
  for (let y = y0; y < y1; y += 1) {
    const py = y + 0.5 - ay;
    const half = core > Math.abs(py) ? Math.sqrt(core * core - py * py) : 0;
    const [from, to] = half > 1 ? [Math.ceil(ax - half - 0.5), Math.floor(ax + half - 0.5)] : [SIDE, SIDE];
    for (let x = x0, at = y * SIDE + x0; x < x1; x += 1, at += 1) {
      if (x >= from && x < to) {
        at += to - x;
        x = to;
        continue;
      }
      if (covered[at] === FULL) continue;
      const px = x + 0.5 - ax;
      const along = (px * dx + py * dy) * inverse;
      const h = along < 0 ? 0 : along > 1 ? 1 : along;
      const ex = px - h * dx;
      const ey = py - h * dy;
      const far = ex * ex + ey * ey;
      const radius = ar + h * dr;
      const outer = radius + 0.5;
      if (far >= outer * outer) continue;
      const inner = radius * (1 - softness) - 0.5;
      let value = FULL;
      if (inner <= 0 || far > inner * inner) {
        const t = Math.min(1, (outer - Math.sqrt(far)) / (outer - inner));
        value = ((soft ? t * t * (3 - 2 * t) : t) * FULL + 0.5) | 0;
      }
      if (value <= covered[at]) continue;
      covered[at] = value;
      mix(at, value);
      if (x < minX) minX = x;
      if (x > maxX) maxX = x;
      if (y < minY) minY = y;
      maxY = y;
    }
  }
  return maxY < 0 ? null : { left: left + minX, top: top + minY, right: left + maxX + 1, bottom: top + maxY + 1 };
}

/** How a mask's tile `out` gets its pixels: `base` (null: zeros) is what it was before the stroke. */
export function mixMask(out, base, { erase }) {
  if (erase) return (at, share) => (out[at] = (base[at] * (FULL - share)) / FULL + 0.5);
  return (at, share) => {
    const before = base === null ? 0 : base[at];
    out[at] = before + ((FULL - before) * share) / FULL + 0.5;
  };
}

/** How a sketch's tile gets its pixels from a stroke of a colour [r, g, b]; its alpha is not multiplied into its colours. */
export function mixColor(out, base, { erase, color: [red, green, blue] }) {
  if (erase) return (pixel, share) => (out[pixel * 4 + 3] = (base[pixel * 4 + 3] * (FULL - share)) / FULL + 0.5);
  return (pixel, share) => {
    const at = pixel * 4;
    const kept = base === null ? 0 : (base[at + 3] * (FULL - share)) / FULL;
    const sum = share + kept;
    out[at] = (red * share + (kept && base[at] * kept)) / sum + 0.5;
    out[at + 1] = (green * share + (kept && base[at + 1] * kept)) / sum + 0.5;
    out[at + 2] = (blue * share + (kept && base[at + 2] * kept)) / sum + 0.5;
    out[at + 3] = sum + 0.5;
  };
}
