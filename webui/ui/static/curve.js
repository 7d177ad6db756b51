// A hand draws curves, a mouse tells of points: what lies between two of them, bent as the way before and after suggests.

const STRAIGHT_ON = 0.35; // the cosine of the sharpest turn that is a curve; a sharper one is a corner
const UNEVEN = 4; // one step of the way so many times as long as the next is a jump
const LONGEST = 160; // pixels on the screen; so far apart, points were set and not drawn
const FINE = 4; // pixels on the screen between two points of a curve
const SPACED = 0.3; // of the radius, at least
const BENT = 0.998; // the cosine below which there is anything to bend

/** The points after `last` up to `next`, which is one of them; `before` came before `last`. Each [x, y, radius]; `scale` is the screen's. */
export function bent(before, last, next, scale) {
  if (!before) return [next];
  const [ax, ay] = [last[0] - before[0], last[1] - before[1]];
  const [bx, by] = [next[0] - last[0], next[1] - last[1]];
  const [one, other] = [Math.hypot(ax, ay), Math.hypot(bx, by)];
  const turn = (ax * bx + ay * by) / (one * other);
  const isJump = Math.max(one, other) > UNEVEN * Math.min(one, other) || other * scale > LONGEST;
  if (isJump || !(turn > STRAIGHT_ON) || turn > BENT) return [next];
  const along = Math.hypot(ax + bx, ay + by);
  const control = [last[0] + ((ax + bx) / along) * other * 0.5, last[1] + ((ay + by) / along) * other * 0.5];
  const count = Math.min(8, Math.ceil(other / Math.max(FINE / scale, SPACED * next[2])));
  return Array.from({ length: count }, (_, at) => {
    const t = (at + 1) / count;
    const mixed = (axis) => (1 - t) ** 2 * last[axis] + 2 * t * (1 - t) * control[axis] + t * t * next[axis];
    return [mixed(0), mixed(1), last[2] + (next[2] - last[2]) * t];
  });
}
