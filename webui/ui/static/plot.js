// A group on the stage: its pictures where they stand in the grid, with what each column and row is, while they are made and after.

import { button, make } from "./dom.js";
import { page } from "./page.js";
import { source } from "./pictures.js";
import { say, tried } from "./say.js";

export const OPEN = new Set(["running", "drawing"]); // states of a group that has not ended
const NOTES = { waiting: "", queued: "waiting", running: "drawing …", failed: "failed", cancelled: "not made" };

export class Plot {
  node = make("div", { class: "w-plot" });
  #group;
  #cells = [];
  #parts = new Map(); // pictures that were looked up, by id
  #shape = ""; // of the tables that are there
  #tables = make("div", { class: "w-plot-tables", tabindex: "0", role: "region", "aria-label": "The pictures of the plot" });
  #actions = make("div", { class: "w-actions w-plot-actions" });

  constructor(group) {
    this.#group = group;
    this.node.append(this.#tables, this.#actions);
    page.jobs.addEventListener("change", ({ detail: { job, kind } }) => job.group === group.id && kind === "preview" && this.#preview(job));
  }

  /** What is being drawn is seen while it is. */
  #preview({ id, cells: [{ sequence }] }) {
    const at = this.#group.known?.cells.findIndex((cell) => cell.job === id) ?? -1;
    if (at < 0 || this.#group.known.cells[at].picture || !sequence) return;
    const address = `/x/jobs/${encodeURIComponent(id)}/preview/0?${sequence}`;
    const image = new Image();
    image.src = address;
    image.alt = "";
    image.decode().then(() => this.#cells[at].dataset.picture || this.#cells[at].replaceChildren(image), () => {}); // it may be gone already
  }

  /** Bring it up to date with what is known; nodes are kept, so nothing flickers. */
  draw() {
    const { known } = this.#group;
    if (!known) return;
    this.node.dataset.state = known.state;
    this.node.dataset.group = this.#group.id;
    const shape = JSON.stringify([known.axes, known.cells.map(({ labels }) => labels)]);
    if (shape !== this.#shape) this.#lay(known);
    this.#shape = shape;
    known.cells.forEach((cell, at) => this.#show(this.#cells[at], cell));
    this.#offer(known);
  }

  #lay({ axes, cells }) {
    this.#cells = cells.map((cell, at) => make("button", { type: "button", class: "w-plot-cell", onclick: () => this.#open(at) }));
    if (axes.length === 0) {
      const items = cells.map(({ labels }, at) => make("figure", {}, this.#cells[at], make("figcaption", {}, labels.filter(Boolean).join(", "))));
      this.#tables.replaceChildren(make("div", { class: "w-plot-loose" }, ...items));
      return;
    }
    const [x, y, z] = [0, 1, 2].map((at) => axes[at]?.values ?? [""]);
    const tables = z.map((title, depth) => {
      const rows = y.map((label, row) => {
        const first = (depth * y.length + row) * x.length;
        const head = y.length > 1 || label ? make("th", { scope: "row" }, label) : null;
        return make("tr", {}, head, ...x.map((_, column) => make("td", {}, this.#cells[first + column])));
      });
      const heads = x.map((label) => make("th", { scope: "col" }, label));
      const corner = y.length > 1 || y[0] ? make("td") : null;
      return make("table", {}, title ? make("caption", {}, title) : null, make("thead", {}, make("tr", {}, corner, ...heads)), make("tbody", {}, ...rows));
    });
    this.node.style.setProperty("--columns", String(x.length));
    this.node.style.setProperty("--rows", String(y.length));
    this.#tables.replaceChildren(...tables);
  }

  #show(node, { labels, picture, state, sentence }) {
    node.dataset.state = picture ? "done" : state;
    const named = labels.filter(Boolean).join(", ") || "Picture";
    const name = picture ? `${named}. Open in full view` : `${named}, ${NOTES[state] || state}`;
    if (node.getAttribute("aria-label") !== name) node.setAttribute("aria-label", name);
    node.title = sentence || named;
    if (picture && node.dataset.picture !== picture) {
      node.dataset.picture = picture;
      node.replaceChildren(make("img", { src: source(picture, { thumbnail: true }), alt: "", draggable: "false", decoding: "async" }));
    } else if (!picture && (state !== "running" || !node.querySelector("img"))) {
      delete node.dataset.picture;
      node.replaceChildren(make("span", {}, NOTES[state] ?? state));
    }
  }

  /** A part in the full view, with the others beside it. */
  #open(at) {
    const { cells } = this.#group.known;
    const cell = cells[at];
    if (!cell.picture) return cell.sentence ? say(cell.sentence, { wrong: cell.state === "failed" }) : undefined;
    const shown = cells.filter(({ picture }) => picture);
    return page.viewer.open({ at: (index) => this.#part(shown[index]), known: () => shown.length }, shown.indexOf(cell));
  }

  async #part(cell) {
    if (!cell) return null;
    if (!this.#parts.has(cell.picture)) await this.#find({ job: cell.job, limit: 100 });
    if (!this.#parts.has(cell.picture)) await this.#find({ job: cell.job, limit: 100, trashed: true }); // where parts are not kept
    return this.#parts.get(cell.picture) ?? null;
  }

  async #find(search) {
    const found = await tried(() => page.pictures.search(search));
    for (const picture of found?.pictures ?? []) this.#parts.set(picture.id, picture);
  }

  async #openGrid(id) {
    await this.#find({ limit: 100 });
    const grid = this.#parts.get(id);
    if (grid) page.viewer.open({ at: async (index) => (index === 0 ? grid : null), known: () => 1 }, 0);
    else say("The grid is in the gallery no more.");
  }

  #offer(known) {
    const key = JSON.stringify([known.state, known.grid, made(known)]);
    if (this.#actions.dataset.key === key) return;
    this.#actions.dataset.key = key;
    const group = this.#group;
    const missing = known.of - made(known);
    this.#actions.replaceChildren(...[
      known.grid ? button("The whole grid", "full", () => this.#openGrid(known.grid), { data: { act: "grid" } }) : null,
      known.grid ? make("a", { class: "w-button", href: source(known.grid, { download: true }), download: "", data: { act: "download-grid" } }, "Download") : null,
      OPEN.has(known.state) ? button("Cancel", "cancel", () => group.cancel(), { data: { act: "cancel-group" }, title: "Make no more; what is finished stays" }) : null,
      !OPEN.has(known.state) && missing > 0 ? button(`Make the other ${missing}`, "redo", () => group.resume(), { data: { act: "resume-group" } }) : null,
    ].filter(Boolean));
  }
}

/** How many cells of a group have a picture. */
export function made({ cells }) {
  return cells.filter(({ picture }) => picture).length;
}
