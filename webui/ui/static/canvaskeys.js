// The keys of a canvas, which count while it has the focus or the pointer is over it, and never where somebody writes.

import { isWritten } from "./paste.js";

const PLAIN = {
  b: "brush", e: "eraser", g: "fill", h: "move", i: "invert", s: "full", 0: "fit", "+": "larger", "=": "larger", "-": "smaller",
  "[": "thinner", "]": "thicker", "{": "harder", "}": "softer",
};
const PLACES = { BracketLeft: "[", BracketRight: "]" }; // on keyboards that have other letters there

export class Keys {
  #canvas;
  #over = false;

  constructor(canvas) {
    this.#canvas = canvas;
    canvas.addEventListener("pointerenter", () => (this.#over = true));
    canvas.addEventListener("pointerleave", () => (this.#over = false));
    document.addEventListener("keydown", (event) => this.#down(event), { capture: true });
  }

  #down(event) {
    const { full } = this.#canvas.facts;
    if (!this.#canvas.isConnected || !this.#canvas.checkVisibility() || !this.#canvas.drawing) return;
    if (isWritten(event.target) || event.isComposing) return;
    const dialog = [...document.querySelectorAll("dialog:modal")].at(-1);
    if (dialog && !dialog.contains(this.#canvas)) return;
    if (!full && !this.#over && !this.#canvas.contains(document.activeElement)) return;
    const act = event.key === "Escape" ? (full ? "full" : null) : this.#meant(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    this.#canvas.act(act);
  }

  #meant(event) {
    const control = event.ctrlKey || event.metaKey;
    const wide = event.getModifierState("AltGraph"); // with which some keyboards write brackets
    if (control && !wide && !event.altKey) {
      const key = event.key.toLowerCase();
      if (key === "z") return event.shiftKey ? "redo" : "undo";
      return key === "y" && !event.shiftKey ? "redo" : null;
    }
    if ((control || event.altKey) && !wide) return null;
    const known = PLAIN[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const bracket = wide ? null : PLACES[event.code];
    if (bracket) return event.shiftKey ? PLAIN[bracket === "[" ? "{" : "}"] : PLAIN[bracket];
    return known ?? null;
  }
}
