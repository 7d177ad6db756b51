// Before and after: a result beside the picture it was made from, and the depth map between them, while it is drawn too.

import { button, make } from "./dom.js";
import { inputSource } from "./inputs.js";
import { source } from "./pictures.js";

export class Pair {
  #chosen = null; // whether they are shown, once somebody said so
  #always;
  #node;

  /** `always`: a single result is shown beside what it was made from until somebody wants it alone. */
  constructor(always) {
    this.#always = always;
    this.#node = make("webui-compare", { mode: always ? "sides" : "slider" });
  }

  #on(job) {
    return this.#chosen ?? (this.#always && Math.max(job.pictures ?? 1, job.cells.length) === 1);
  }

  /** Switches between the result alone and beside what it was made from; null where it was made from nothing. */
  button(job, place, onchange) {
    if (!pictures(job, place)) return null;
    const on = this.#on(job);
    const turn = () => {
      this.#chosen = !on;
      onchange();
    };
    return button("Compare", "compare", turn, { class: `w-slim${on ? " w-chosen-mark" : ""}`, "aria-pressed": String(on), data: { act: "compare" }, title: "Beside the picture it was made from" });
  }

  /** Show them on the canvas, where that is wanted; returns whether they are. */
  draws(job, place, canvas) {
    const found = this.#on(job) ? pictures(job, place) : null;
    if (!found) return false;
    for (const [name, value] of Object.entries(found)) {
      if (!value) this.#node.removeAttribute(name);
      else if (this.#node.getAttribute(name) !== value) this.#node.setAttribute(name, value);
    }
    if (!this.#node.isConnected) canvas.replaceChildren(this.#node);
    return true;
  }
}

/** The addresses of what a result is compared with, and its own; null where there is nothing to compare it with. */
function pictures(job, place) {
  const cell = job?.cells[place];
  const inputs = cell?.picture?.inputs ?? job?.inputs ?? {};
  const map = cell?.picture?.maps?.depth ?? inputs.depth;
  if (!inputs.picture && !map) return null;
  const made = cell?.picture?.id ?? cell?.id;
  const preview = cell?.sequence ? `/x/jobs/${encodeURIComponent(job.id)}/preview/${place}?${cell.sequence}` : "";
  const before = inputs.picture ? inputSource(inputs.picture) : inputSource(map);
  const third = inputs.picture && map ? inputSource(map) : "";
  return {
    before, third, after: made ? source(made) : preview,
    "before-label": inputs.picture ? "Before" : "Depth map", "third-label": "Depth map", "after-label": "After",
  };
}
