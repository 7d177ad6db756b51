// What a brush covers, and what becomes of the pixels under it. Computed here and not by the browser's canvas, so that a mask has
// the same values everywhere: within a stroke the largest cover counts, so that going over a place twice does not change its edge.

import { SIDE } from "./tiles.js";

const SOFT = 0.02; // softer than that, an edge is a smooth slope instead of a pixel's
const FULL = 255;

/**
 * Cover one tile's pixels with the way of a brush from `a` to `b`, each [x, y, radius]; a pixel's centre is at a half. Softness 0
 * is a hard edge, a pixel wide; 1 a slope from the middle to the radius.
 */
export function cover(tile, left, top, a, b, softness) {
  const [ax, ay, ar] = a;
  const [dx, dy, dr] = [b[0] - ax, b[1] - ay, b[2] - ar];
  const most = Math.max(ar, b[2]) + 0.5;
  const square = dx * dx + dy * dy;
  const inverse = square > 0 ? 1 / square : 0;
  const soft = softness > SOFT;
  const [x0, x1] = [Math.max(left, Math.floor(Math.min(ax, b[0]) - most)), Math.min(left + SIDE, Math.ceil(Math.max(ax, b[0]) + most))];
  const [y0, y1] = [Math.max(top, Math.floor(Math.min(ay, b[1]) - most)), Math.min(top + SIDE, Math.ceil(Math.max(ay, b[1]) + most))];
  for (let y = y0; y < y1; y += 1) {
    const py = y + 0.5 - ay;
    let at = (y - top) * SIDE + x0 - left;
    for (let x = x0; x < x1; x += 1, at += 1) {
      if (tile[at] === FULL) continue;
      const px = x + 0.5 - ax;
      const along = (px * dx + py * dy) * inverse;
      const h = along < 0 ? 0 : along > 1 ? 1 : along;
      const [ex, ey] = [px - h * dx, py - h * dy];
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
      if (value > tile[at]) tile[at] = value;
    }
  }
}

/** A mask's tile under a stroke: `out` becomes `base` (null: zeros) where `covered` is 0. `part`: the rows and columns concerned. */
export function blendMask(out, base, covered, { erase }, part) {
  each(part, (at) => {
    const before = base ? base[at] : 0;
    const share = covered[at];
    out[at] = erase ? ((before * (FULL - share) + 127) / FULL) | 0 : before + ((((FULL - before) * share + 127) / FULL) | 0);
  });
}

/** A sketch's tile under a stroke of a colour [r, g, b]; its alpha is not multiplied into its colours. */
export function blendColor(out, base, covered, { erase, color }, part) {
  const [red, green, blue] = color;
  each(part, (pixel) => {
    const at = pixel * 4;
    const share = covered[pixel];
    const alpha = base ? base[at + 3] : 0;
    if (erase || share === 0) {
      for (let channel = 0; channel < 3; channel += 1) out[at + channel] = base ? base[at + channel] : 0;
      out[at + 3] = ((alpha * (FULL - share) + 127) / FULL) | 0;
      return;
    }
    const kept = (alpha * (FULL - share)) / FULL;
    const sum = share + kept;
    out[at] = ((red * share + (base ? base[at] : 0) * kept) / sum + 0.5) | 0;
    out[at + 1] = ((green * share + (base ? base[at + 1] : 0) * kept) / sum + 0.5) | 0;
    out[at + 2] = ((blue * share + (base ? base[at + 2] : 0) * kept) / sum + 0.5) | 0;
    out[at + 3] = (sum + 0.5) | 0;
  });
}

function each({ left, top, right, bottom }, act) {
  for (let y = top; y < bottom; y += 1) {
    for (let at = y * SIDE + left, end = y * SIDE + right; at < end; at += 1) act(at);
  }
}
