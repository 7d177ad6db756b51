// How a picture is moved and enlarged by wheel, fingers and keys, as arithmetic: a place is {zoom, x, y}, the point it shows in the middle.

export const STEP = 1.25; // for one key or notch
const WHEEL_LINE = 16; // pixels that a line of a wheel is
const NOTCH = 100; // pixels that a notch of a wheel is
const PASSING = 400; // milliseconds in which turning the wheel still means the page that it was scrolling

let scrolled = -Infinity;
document.addEventListener("scroll", () => (scrolled = performance.now()), { capture: true, passive: true });

/** By how much a turn of the wheel enlarges. Fingers on a touchpad give many small turns. */
export function byWheel(event) {
  const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? WHEEL_LINE : event.deltaMode === WheelEvent.DOM_DELTA_PAGE ? NOTCH : 1);
  const pinch = event.ctrlKey ? 4 : 1; // a touchpad's pinch comes as small turns with Ctrl
  return STEP ** (-Math.max(-NOTCH, Math.min(NOTCH, pixels * pinch)) / NOTCH);
}

/** Whether a wheel that is turned goes on with scrolling the page, which has brought the picture under the pointer. */
export function passing() {
  return performance.now() - scrolled < PASSING;
}

/** The fingers on a surface: where their middle is, how far they are apart, and how both change. */
export class Fingers {
  #down = new Map();

  get count() {
    return this.#down.size;
  }

  put(event) {
    this.#down.set(event.pointerId, [event.clientX, event.clientY]);
  }

  lift(event) {
    this.#down.delete(event.pointerId);
  }

  clear() {
    this.#down.clear();
  }

  /** {x, y, byX, byY, factor} for a finger that moved, null for one that is not down. */
  move(event) {
    if (!this.#down.has(event.pointerId)) return null;
    const before = this.#middle();
    this.#down.set(event.pointerId, [event.clientX, event.clientY]);
    const after = this.#middle();
    const factor = before.apart > 0 && after.apart > 0 ? after.apart / before.apart : 1;
    return { x: after.x, y: after.y, byX: after.x - before.x, byY: after.y - before.y, factor };
  }

  #middle() {
    const points = [...this.#down.values()];
    const x = points.reduce((sum, point) => sum + point[0], 0) / points.length;
    const y = points.reduce((sum, point) => sum + point[1], 0) / points.length;
    const apart = points.length < 2 ? 0 : Math.hypot(points[0][0] - points[1][0], points[0][1] - points[1][1]);
    return { x, y, apart };
  }
}
