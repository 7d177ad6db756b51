// What mouse, pen and fingers do on a board: draw, erase, fill, move and enlarge.

import { byWheel, Fingers, passing } from "./zooming.js";

const [LEFT, MIDDLE, RIGHT, PEN_ERASER] = [0, 1, 2, 5];
const LEAST_PRESSURE = 0.08; // of the size, for the lightest touch of a pen
const SECOND_FINGER = 250; // milliseconds after the first in which two fingers mean to move

export class Hand {
  #canvas;
  #board;
  #fingers = new Fingers();
  #doing = null; // {kind: "stroke" | "move", pointer, layer, since}
  #space = false;
  #control = false;

  constructor(canvas, board) {
    this.#canvas = canvas;
    this.#board = board;
    const { node } = board;
    const on = (kind, act, options) => node.addEventListener(kind, (event) => act.call(this, event), options);
    on("pointerdown", this.#down);
    on("pointermove", this.#move);
    on("pointerup", this.#up);
    on("pointercancel", this.#up);
    on("pointerleave", (event) => this.#doing || event.pointerType === "touch" || board.follow(null));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", this.#wheel, { passive: false });
    for (const kind of ["keydown", "keyup"]) document.addEventListener(kind, (event) => this.#key(event, kind === "keydown"), { capture: true });
    addEventListener("blur", () => {
      this.#release();
      this.#space = false; // whether keys are still held, nobody tells
      this.#control = false;
      node.classList.remove("w-movable");
    });
  }

  #down(event) {
    const { drawing, facts } = this.#canvas;
    if (!drawing) return;
    this.#board.node.focus({ preventScroll: true });
    if (event.pointerType === "touch") {
      if (this.#doing?.pen) return; // the hand that holds the pen
      this.#fingers.put(event);
      if (this.#fingers.count === 2) return void this.#pinch(drawing);
    }
    if (this.#doing || this.#fingers.count > 2) return;
    event.preventDefault();
    this.#board.node.setPointerCapture(event.pointerId);
    if (event.button === MIDDLE || this.#space || facts.tool === "move") return void this.#begin("move", event);
    if (![LEFT, RIGHT, PEN_ERASER].includes(event.button)) return;
    const point = this.#board.point(event);
    if (event.altKey && facts.layer === "sketch") return void this.#canvas.set({ color: this.#canvas.colorAt(point) });
    const erase = facts.tool === "eraser" || event.button !== LEFT;
    if (facts.tool === "fill") return void this.#fill(point, erase);
    this.#begin("stroke", event);
    this.#doing.layer = drawing;
    const from = event.shiftKey ? drawing.ended : null;
    drawing.begin({ erase, color: rgb(facts.color), softness: facts.softness });
    if (from) this.#board.changed(drawing, drawing.extend(...from));
    this.#extend(event);
  }

  #begin(kind, event) {
    this.#doing = { kind, pointer: event.pointerId, pen: event.pointerType === "pen", since: event.timeStamp, x: event.clientX, y: event.clientY };
    this.#board.node.classList.toggle("w-moving", kind === "move");
  }

  #extend(event) {
    const { layer } = this.#doing;
    const pressure = event.pointerType === "pen" && event.pressure > 0 ? Math.max(LEAST_PRESSURE, event.pressure) : 1;
    this.#board.changed(layer, layer.extend(...this.#board.point(event), this.#canvas.facts.radius * pressure, this.#board.view.scale));
  }

  #fill([x, y], erase) {
    const { drawing, facts } = this.#canvas;
    this.#board.changed(drawing, drawing.apply({ name: "fill", x, y, erase, color: rgb(facts.color) }));
    this.#canvas.told();
  }

  /** Two fingers move and enlarge; what the first has just drawn was not meant. */
  #pinch(drawing) {
    if (this.#doing?.kind === "stroke") {
      const young = performance.now() - this.#doing.since < SECOND_FINGER;
      if (young) this.#board.changed(drawing, drawing.abort());
      else this.#finish();
    }
    this.#doing = { kind: "pinch" };
  }

  #move(event) {
    this.#ring(event);
    const moved = event.pointerType === "touch" ? this.#fingers.move(event) : null;
    if (this.#doing?.kind === "pinch") {
      if (!moved) return;
      this.#board.zoom(moved.factor, { clientX: moved.x - moved.byX, clientY: moved.y - moved.byY });
      return void this.#board.pan(moved.byX, moved.byY);
    }
    if (this.#doing?.pointer !== event.pointerId) return;
    if (this.#doing.kind === "move") {
      this.#board.pan(event.clientX - this.#doing.x, event.clientY - this.#doing.y);
      Object.assign(this.#doing, { x: event.clientX, y: event.clientY });
      return;
    }
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length > 0 ? all : [event]) this.#extend(each);
  }

  #up(event) {
    this.#fingers.lift(event);
    if (this.#doing?.kind === "pinch") {
      if (this.#fingers.count === 0) this.#doing = null;
      return;
    }
    if (this.#doing?.pointer !== event.pointerId) return;
    if (this.#doing.kind === "stroke") {
      if (event.type === "pointerup" && !this.#doing.pen) this.#extend(event); // a pen that is lifted has no pressure
      this.#finish();
    }
    this.#release();
  }

  #finish() {
    this.#doing.layer.end();
    this.#doing = null;
    this.#canvas.told();
  }

  #release() {
    if (this.#doing?.kind === "stroke") this.#finish();
    this.#doing = null;
    this.#fingers.clear();
    this.#board.node.classList.remove("w-moving");
  }

  #ring(event) {
    const { tool, radius } = this.#canvas.facts;
    const draws = ["brush", "eraser"].includes(tool) && !this.#space && event.pointerType !== "touch" && this.#doing?.kind !== "move";
    this.#board.follow(draws && this.#canvas.drawing ? event : null, radius);
  }

  #wheel(event) {
    if (!this.#canvas.drawing) return;
    if (event.ctrlKey && this.#control) {
      event.preventDefault();
      this.#canvas.act(event.deltaY < 0 ? "thicker" : "thinner");
      return void this.#ring(event);
    }
    const factor = byWheel(event);
    const isPages = passing() || (this.#board.fitting && factor < 1 && !event.ctrlKey);
    if (isPages && !this.#canvas.facts.full) return;
    event.preventDefault();
    this.#board.zoom(factor, event);
    this.#ring(event);
  }

  #key(event, down) {
    if (event.key === "Control" || event.key === "Meta") this.#control = down;
    if (event.code !== "Space" || (down && !this.#board.node.matches(":hover"))) return;
    if (down && event.target.matches("textarea, input:not([type=range]), [contenteditable]")) return;
    if (down || this.#space) event.preventDefault(); // neither scrolls the page nor presses a button
    this.#space = down;
    this.#board.node.classList.toggle("w-movable", down);
  }
}

function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}
