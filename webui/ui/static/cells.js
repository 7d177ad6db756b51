// The pictures of one job on the stage, each from a grey field over its previews to the finished picture.

import { icon, make } from "./dom.js";
import { describe, source } from "./pictures.js";

const GAP = 10; // pixels between pictures, as in stage.css
const LARGEST_SCALE = 4;
const SMALLEST_SIDE = 320; // pixels on the screen to which even the smallest picture may grow

/** Shows cells {state, step, steps, sequence, picture} as they change; nodes are kept, so nothing flickers. */
export class Cells {
  node = make("div", { class: "w-cells" });
  #faces = [];
  #shape = { width: 1, height: 1 };
  #onpick;

  constructor(onpick) {
    this.#onpick = onpick;
    new ResizeObserver(() => this.#fit()).observe(this.node);
  }

  /** Bring the nodes up to date. `job` is the id that previews are asked for by. */
  show(job, cells, selected, shape) {
    while (this.#faces.length > cells.length) this.#faces.pop().node.remove();
    while (this.#faces.length < cells.length) this.#add();
    cells.forEach((cell, place) => this.#faces[place].show(job, cell, place, { selected: place === selected, of: cells.length }));
    this.#shape = cells.find((cell) => cell.picture)?.picture ?? shape;
    this.#fit();
  }

  clear() {
    for (const face of this.#faces) face.node.remove();
    this.#faces = [];
  }

  focus(place) {
    this.#faces[place]?.node.focus();
  }

  /** As many columns as make the pictures largest; small pictures are not blown up beyond what they hold. */
  #fit() {
    const { clientWidth, clientHeight } = this.node;
    const count = this.#faces.length;
    if (clientWidth === 0 || count === 0) return;
    const { width, height } = this.#shape;
    const scales = Array.from({ length: count }, (_, at) => {
      const [columns, rows] = [at + 1, Math.ceil(count / (at + 1))];
      return Math.min((clientWidth - GAP * (columns - 1)) / columns / width, (clientHeight - GAP * (rows - 1)) / rows / height);
    });
    const best = Math.max(...scales);
    const scale = Math.min(best, Math.max(LARGEST_SCALE, SMALLEST_SIDE / Math.max(width, height)));
    this.node.style.gridTemplateColumns = `repeat(${scales.indexOf(best) + 1}, ${Math.floor(width * scale)}px)`;
    this.node.style.gridAutoRows = `${Math.floor(height * scale)}px`;
  }

  #add() {
    const place = this.#faces.length;
    const face = new Face(() => this.#onpick(place));
    this.#faces.push(face);
    this.node.append(face.node);
  }
}

class Face {
  #image = make("img", { alt: "", draggable: "false" });
  #note = make("span", { class: "w-cell-note" });
  node;
  #loading = false;
  #next = null;
  #shown = "";

  constructor(onpick) {
    this.node = make("button", { type: "button", class: "w-cell", onclick: onpick }, this.#image, this.#note);
  }

  show(job, cell, place, { selected, of }) {
    this.node.dataset.state = cell.picture?.trashed ? "trashed" : cell.state;
    this.node.dataset.step = cell.step ?? "";
    this.node.classList.toggle("w-selected", selected && of > 1);
    this.node.setAttribute("aria-pressed", String(selected));
    const name = cell.picture ? describe(cell.picture) : `Picture ${place + 1} of ${of}, ${NOTES[cell.state] ?? cell.state}`;
    this.node.setAttribute("aria-label", selected && cell.picture ? `${name}. Open in full view` : name);
    this.#note.replaceChildren(...note(cell));
    if (cell.picture?.gone) this.#empty();
    else if (cell.id ?? cell.picture?.id) this.#load(source(cell.id ?? cell.picture.id));
    else if (cell.sequence) this.#load(`/x/jobs/${encodeURIComponent(job)}/preview/${place}?${cell.sequence}`);
    else if (cell.state === "waiting") this.#empty();
  }

  /** Load beside what is shown, and show it when it is whole; of what comes meanwhile only the newest is loaded. */
  #load(address) {
    if (address === this.#shown || address === this.#next) return;
    this.#next = address;
    if (!this.#loading) this.#follow();
  }

  async #follow() {
    this.#loading = true;
    while (this.#next) {
      const address = this.#next;
      const image = new Image();
      image.src = address;
      const whole = await image.decode().then(() => true, () => false); // a preview may be gone when it is asked for
      if (this.#next === address) this.#next = null;
      if (whole && this.node.isConnected) {
        this.#image.src = address;
        this.#shown = address;
        this.node.classList.add("w-filled");
      }
    }
    this.#loading = false;
  }

  #empty() {
    this.#image.removeAttribute("src");
    this.#shown = "";
    this.node.classList.remove("w-filled");
  }
}

const NOTES = { waiting: "waiting", drawing: "being drawn", done: "finished", skipped: "skipped", trashed: "in the trash" };

function note(cell) {
  if (cell.picture?.gone) return ["Its file is gone"];
  if (cell.picture?.trashed) return [icon("trash"), "In the trash"];
  if (cell.state === "skipped") return ["Skipped"];
  if (cell.picture?.interrupted || cell.interrupted) return ["Ended early"];
  if (cell.picture?.starred) return [icon("star")];
  return [];
}
