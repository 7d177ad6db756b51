// One layer of a drawing: its pixels, and what was done to them, as strokes and acts that can be undone and done again.
// Before each act the tiles are noted, which costs what the act changes; where that becomes too much, only every few acts keep
// theirs, and the acts since are carried out again from the lines and sizes that they were drawn with.

import { cover, mixColor, mixMask } from "./brush.js";
import { bent } from "./curve.js";
import { flooded } from "./flood.js";
import { around, SIDE, Tiles } from "./tiles.js";

const MOST_ACTS = 200; // that can be undone
const MOST_BYTES = 192 * 2 ** 20; // of noted tiles, before they are thinned out
const EVERY = 8; // acts of which one keeps its tiles then
const SPACING = 0.06; // of the radius, below which a point says nothing new

export class Layer {
  version = 0; // another number is another picture
  #done = []; // {act, before, bytes}
  #undone = []; // {act, after}
  #most;
  #stroke = null; // {act, before, covered: Map of tiles, told: points as they were given}

  /** `kind`: "mask" has one byte of a pixel, "sketch" has four. `most`: bytes that undoing may take. */
  constructor(kind, width, height, { most = MOST_BYTES } = {}) {
    this.kind = kind;
    this.#most = most;
    this.tiles = new Tiles(width, height, kind === "mask" ? 1 : 4);
  }

  get empty() {
    return this.tiles.empty;
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  get drawing() {
    return this.#stroke !== null;
  }

  /** How many bytes undoing takes. */
  get bytes() {
    return this.#done.reduce((sum, { before, bytes }) => sum + (before ? bytes : 0), 0);
  }

  /** A stroke begins: {erase, color, softness}. */
  begin({ erase = false, color = [0, 0, 0], softness = 0 }) {
    const act = { name: "stroke", erase, color, softness, points: [] };
    this.#stroke = { act, before: this.tiles.state(), covered: new Map(), told: [] };
  }

  /** It goes on to a point; returns the rectangle that changed, or null. `scale`: screen pixels for one of the layer. */
  extend(x, y, radius, scale = 1) {
    const { act, told } = this.#stroke;
    const [before, last] = [told.at(-2), told.at(-1)];
    const next = [x, y, radius];
    if (last && Math.hypot(last[0] - x, last[1] - y) < Math.max(0.25, last[2] * SPACING)) return null;
    told.push(next);
    let changed = null;
    for (const point of last ? bent(before, last, next, scale) : [next]) {
      changed = around(changed, this.#paint(this.#stroke, act.points.at(-1) ?? point, point));
      act.points.push(point);
    }
    return changed;
  }

  /** It is finished, and can be undone. */
  end() {
    const { act, before } = this.#stroke;
    this.#stroke = null;
    this.#note(act, before);
    this.#undone = [];
  }

  /** It was none. */
  abort() {
    const { before } = this.#stroke;
    this.#stroke = null;
    return this.#back(before);
  }

  /** Do something else to all of it: {name: "clear" | "invert"}, {name: "fill", x, y, erase, color}, {name: "put", state}. */
  apply(act) {
    const before = this.tiles.state();
    this.#carryOut(act);
    this.#note(act, before);
    this.#undone = [];
    return this.tiles.whole;
  }

  undo() {
    const { act } = this.#done.at(-1);
    const after = this.tiles.state();
    const changed = this.#back(this.#before(this.#done.length - 1));
    this.#done.pop();
    this.#undone.push({ act, after });
    return changed;
  }

  redo() {
    const { act, after } = this.#undone.pop();
    const before = this.tiles.state();
    const changed = this.#back(after);
    this.#note(act, before);
    return changed;
  }

  /** Where the last stroke ended: [x, y, radius], or null. */
  get ended() {
    const last = this.#done.at(-1)?.act;
    return last?.name === "stroke" ? last.points.at(-1) : null;
  }

  /** The tiles before an act: as they were noted, else made again. */
  #before(at) {
    let noted = at;
    while (!this.#done[noted].before) noted -= 1;
    if (noted === at) return this.#done[at].before;
    const now = this.tiles.state();
    this.tiles.restore(this.#done[noted].before);
    for (const { act } of this.#done.slice(noted, at)) this.#carryOut(act);
    const before = this.tiles.state();
    this.tiles.restore(now);
    return before;
  }

  #back(state) {
    const before = this.tiles.state();
    this.tiles.restore(state);
    this.version += 1;
    return this.#changed(before);
  }

  /** The rectangle in which the tiles are others than they were. */
  #changed(before) {
    let changed = null;
    for (const [index, left, top] of this.tiles.under(this.tiles.whole)) {
      if (this.tiles.at(index) === before[index]) continue;
      changed = around(changed, { left, top, right: left + SIDE, bottom: top + SIDE });
    }
    return changed;
  }

  #note(act, before) {
    let bytes = 0;
    for (let index = 0; index < this.tiles.count; index += 1) {
      if (this.tiles.at(index) === before[index]) continue;
      this.tiles.tidy(index);
      if (this.tiles.at(index)) bytes += this.tiles.at(index).length;
    }
    this.#done.push({ act, before, bytes });
    this.version += 1;
    while (this.#done.length > MOST_ACTS || !this.#done[0].before) this.#done.shift();
    this.#thin();
  }

  #thin() {
    let kept = this.bytes;
    let since = 0;
    for (const each of this.#done.slice(1)) {
      if (kept <= this.#most) return;
      since = each.before && since + 1 >= EVERY ? 0 : since + 1;
      if (!each.before || since === 0) continue;
      each.before = null;
      kept -= each.bytes;
    }
  }

  #carryOut(act) {
    if (act.name === "stroke") {
      const stroke = { act, before: this.tiles.state(), covered: new Map() };
      act.points.forEach((point, at) => this.#paint(stroke, act.points[Math.max(0, at - 1)], point));
    } else if (act.name === "clear") {
      this.#each((index) => this.tiles.put(index, null));
    } else if (act.name === "invert") {
      this.#each((index) => {
        const tile = this.tiles.writable(index);
        for (let at = 0; at < tile.length; at += 1) tile[at] = 255 - tile[at];
      });
    } else if (act.name === "put") {
      this.tiles.restore(act.state);
    } else if (act.name === "fill") {
      const before = this.tiles.state();
      for (const [index, tile] of flooded(this.tiles, Math.floor(act.x), Math.floor(act.y))) {
        const mix = this.#mixer(act, index, before[index]);
        tile.forEach((share, at) => share && mix?.(at, share));
      }
    }
    this.version += 1;
  }

  #each(act) {
    for (let index = 0; index < this.tiles.count; index += 1) act(index);
  }

  /** A piece of a stroke, in parts that are not much longer than they are wide. */
  #paint(stroke, from, to) {
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const parts = Math.max(1, Math.ceil(length / Math.max(32, 2 * Math.max(from[2], to[2]))));
    const between = (share) => from.map((value, at) => value + (to[at] - value) * share);
    let changed = null;
    for (let part = 0; part < parts; part += 1) {
      changed = around(changed, this.#paintPart(stroke, between(part / parts), between((part + 1) / parts)));
    }
    this.version += 1;
    return changed;
  }

  #paintPart({ act, before, covered }, a, b) {
    const most = Math.max(a[2], b[2]) + 1;
    const { width, height } = this.tiles;
    const touched = {
      left: Math.max(0, Math.floor(Math.min(a[0], b[0]) - most)), top: Math.max(0, Math.floor(Math.min(a[1], b[1]) - most)),
      right: Math.min(width, Math.ceil(Math.max(a[0], b[0]) + most)), bottom: Math.min(height, Math.ceil(Math.max(a[1], b[1]) + most)),
    };
    if (touched.left >= touched.right || touched.top >= touched.bottom) return null;
    let changed = null;
    for (const [index, left, top] of this.tiles.under(touched)) {
      const mix = this.#mixer(act, index, before[index]);
      if (!mix) continue;
      if (!covered.has(index)) covered.set(index, new Uint8Array(SIDE * SIDE));
      changed = around(changed, cover(covered.get(index), left, top, a, b, act.softness, mix));
    }
    return changed;
  }

  /** What changes a tile's pixels; null where there is nothing to be erased. */
  #mixer(act, index, base) {
    if (act.erase && !base) return null;
    return (this.kind === "mask" ? mixMask : mixColor)(this.tiles.writable(index), base, act);
  }
}
