// A layer's pixels in square tiles. Tiles that did not change are shared with earlier states, so a state costs what was painted.

export const SIDE = 256;

export class Tiles {
  #list;
  #own; // which tiles nobody else has

  /** `depth`: bytes of a pixel, 1 or 4. A tile that is null holds zeros. */
  constructor(width, height, depth) {
    Object.assign(this, { width, height, depth, columns: Math.ceil(width / SIDE), rows: Math.ceil(height / SIDE) });
    this.#list = new Array(this.columns * this.rows).fill(null);
    this.#own = new Uint8Array(this.#list.length);
  }

  get count() {
    return this.#list.length;
  }

  get empty() {
    return this.#list.every((tile) => tile === null);
  }

  /** The pixels of a tile, to be read. */
  at(index) {
    return this.#list[index];
  }

  /** The pixels of a tile, to be written. */
  writable(index) {
    if (!this.#own[index]) {
      this.#list[index] = this.#list[index]?.slice() ?? new Uint8Array(SIDE * SIDE * this.depth);
      this.#own[index] = 1;
    }
    return this.#list[index];
  }

  /** Pixels that may be somebody else's too in place of a tile; null for zeros. */
  put(index, tile) {
    this.#list[index] = tile;
    this.#own[index] = 0;
  }

  /** All as it is now; what is written later does not change it. */
  state() {
    this.#own.fill(0);
    return this.#list.slice();
  }

  /** Go back to a state. */
  restore(state) {
    this.#list = state.slice();
    this.#own.fill(0);
  }

  /** Zeros take no memory. */
  tidy(index) {
    const tile = this.#list[index];
    if (!tile) return;
    const words = new Uint32Array(tile.buffer, tile.byteOffset, tile.length / 4);
    if (words.every((word) => word === 0)) this.put(index, null);
  }

  /** The tiles that a rectangle touches, as [index, left, top]. */
  *under({ left, top, right, bottom }) {
    const [first, last] = [Math.max(0, Math.floor(left / SIDE)), Math.min(this.columns, Math.ceil(right / SIDE))];
    const [upper, lower] = [Math.max(0, Math.floor(top / SIDE)), Math.min(this.rows, Math.ceil(bottom / SIDE))];
    for (let row = upper; row < lower; row += 1) {
      for (let column = first; column < last; column += 1) yield [row * this.columns + column, column * SIDE, row * SIDE];
    }
  }

  /** Copy the pixels of one row into `out`. */
  row(y, out) {
    const first = Math.floor(y / SIDE) * this.columns;
    const from = (y % SIDE) * SIDE * this.depth;
    for (let column = 0; column < this.columns; column += 1) {
      const to = column * SIDE * this.depth;
      const length = Math.min(SIDE * this.depth, this.width * this.depth - to);
      const tile = this.#list[first + column];
      if (tile) out.set(tile.subarray(from, from + length), to);
      else out.fill(0, to, to + length);
    }
  }

  get whole() {
    return { left: 0, top: 0, right: this.width, bottom: this.height };
  }
}

/** The smallest rectangle around two; null is none. */
export function around(one, other) {
  if (!one || !other) return one ?? other;
  return {
    left: Math.min(one.left, other.left), top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
  };
}
