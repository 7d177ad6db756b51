// The gallery: all pictures of this person, searched, starred, in the trash and out of it.

import { button, icon, make } from "./dom.js";
import { Grid } from "./grid.js";
import { page } from "./page.js";
import { describe, download, source } from "./pictures.js";
import { inspect } from "./pnginfotab.js";
import { say, tell, tried } from "./say.js";

const STRETCH = 120; // pictures looked up at once
const PAUSE = 250; // milliseconds without a key before a search begins
const TILES = { small: 120, medium: 180, large: 280 }; // pixels
const SHELVES = { all: {}, starred: { starred: true }, trash: { trashed: true } };

class Gallery extends HTMLElement {
  #pictures = [];
  #more = true;
  #loading = null;
  #turn = 0;
  #shelf = "all";
  #chosen = new Set();
  #anchor = null;
  #timer = null;
  #stale = false;
  #search = make("input", {
    type: "search", class: "w-search", placeholder: "Search prompts and parameters", "aria-label": "Search prompts and parameters",
  });
  #shelves = make("div", { class: "w-segments", role: "group", "aria-label": "Which pictures" });
  #bulk = make("div", { class: "w-bulk", role: "toolbar", "aria-label": "Actions for the chosen pictures" });
  #host = make("div", { class: "w-grid", role: "list", "aria-label": "Pictures" });
  #empty = make("p", { class: "w-empty" });
  #grid;

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(make("div", { class: "w-gallery-head" }, make("label", { class: "w-search-box" }, icon("search"), this.#search), this.#shelves), this.#bulk, this.#empty, this.#host);
    const least = () => TILES[page.controls.settings.values.tiles] ?? TILES.medium;
    this.#grid = new Grid(this.#host, { least, make: (index) => this.#cell(index), near: () => this.#load() });
    page.controls.settings.addEventListener("change", () => this.#grid.draw());
    this.#search.addEventListener("input", () => this.#later());
    this.addEventListener("keydown", (event) => event.key === "Escape" && this.#choose(() => this.#chosen.clear()));
    page.pictures.addEventListener("change", ({ detail }) => this.#changed(detail));
    new IntersectionObserver((seen) => seen.some((each) => each.isIntersecting) && this.#shown()).observe(this.#shelves);
    this.#drawShelves();
    this.#drawBulk();
    this.#anew();
  }

  /** Look everything up from the newest on. */
  async #anew() {
    this.#turn += 1;
    Object.assign(this.dataset, { state: "loading" });
    this.#stale = false;
    this.#loading = null;
    const turn = this.#turn;
    const found = await this.#stretch("");
    if (turn !== this.#turn || !found) return;
    this.#pictures = found.pictures;
    this.#more = found.more;
    this.#chosen.clear();
    this.#grid.set(this.#pictures.length, true);
    this.#drawBulk();
    this.#say();
  }

  #load() {
    if (!this.#more || this.#loading || this.#pictures.length === 0) return this.#loading;
    const turn = this.#turn;
    this.#loading = this.#stretch(this.#pictures.at(-1).id).then((found) => {
      if (turn !== this.#turn) return;
      this.#loading = null;
      if (!found) return;
      this.#pictures.push(...found.pictures);
      this.#more = found.more;
      this.#grid.set(this.#pictures.length);
      this.#say();
    });
    return this.#loading;
  }

  #stretch(before) {
    return tried(() => page.pictures.search({ text: this.#search.value.trim(), ...SHELVES[this.#shelf], before, limit: STRETCH }));
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#anew(), PAUSE);
  }

  #shown() {
    if (this.#stale) this.#anew();
  }

  #say() {
    const count = this.#pictures.length;
    const { value } = this.#search;
    const nothing = value.trim() ? `No picture has “${value.trim()}” in its prompt or parameters.` : NOTHING[this.#shelf];
    this.#empty.textContent = count === 0 ? nothing : "";
    this.#empty.hidden = count > 0;
    Object.assign(this.dataset, { state: "ready", count: String(count), more: String(this.#more) });
    if (!this.#more) tell(count === 1 ? "One picture." : `${count} pictures.`);
  }

  #cell(index) {
    const picture = this.#pictures[index];
    const chosen = this.#chosen.has(picture.id);
    const image = make("img", { src: source(picture.id, { thumbnail: true }), alt: "", decoding: "async" });
    const tick = make("input", { type: "checkbox", class: "w-tick", "aria-label": `Choose: ${describe(picture)}` });
    tick.checked = chosen;
    tick.addEventListener("click", (event) => this.#tick(index, event.shiftKey));
    const open = make("button", {
      type: "button", class: "w-tile", "aria-label": describe(picture), title: picture.prompt, onclick: () => this.#open(index),
    }, image, picture.starred ? make("span", { class: "w-star" }, icon("star")) : null);
    return make("div", {
      class: chosen ? "w-grid-cell w-chosen" : "w-grid-cell", role: "listitem", "aria-posinset": index + 1,
      "aria-setsize": this.#more ? -1 : this.#pictures.length, data: { id: picture.id },
    }, open, tick);
  }

  #open(index) {
    if (this.#chosen.size > 0) return this.#tick(index, false); // while choosing, a click anywhere chooses
    const at = async (wanted) => {
      if (wanted >= this.#pictures.length) await this.#load();
      return this.#pictures[wanted] ?? null;
    };
    return page.viewer.open({ at, known: () => this.#pictures.length }, index);
  }

  #tick(index, range) {
    const { id } = this.#pictures[index];
    const from = range && this.#anchor !== null ? Math.min(this.#anchor, index) : index;
    const to = range && this.#anchor !== null ? Math.max(this.#anchor, index) : index;
    const add = !this.#chosen.has(id);
    this.#choose(() => {
      for (const picture of this.#pictures.slice(from, to + 1)) {
        if (add) this.#chosen.add(picture.id);
        else this.#chosen.delete(picture.id);
      }
    });
    this.#anchor = index;
  }

  #choose(change) {
    change();
    this.#grid.renew(new Set(this.#pictures.keys()));
    this.#drawBulk();
  }

  #drawShelves() {
    this.#shelves.replaceChildren(...Object.keys(SHELVES).map((shelf) => {
      const pick = () => {
        this.#shelf = shelf;
        this.#drawShelves();
        this.#anew();
      };
      return make("button", { type: "button", "aria-pressed": String(shelf === this.#shelf), onclick: pick }, LABELS[shelf]);
    }));
  }

  #drawBulk() {
    const ids = [...this.#chosen];
    const after = (act) => async () => (await act()) && this.#choose(() => this.#chosen.clear());
    const { pictures } = page;
    const acts = this.#shelf === "trash"
      ? [
          button("Restore", "restore", after(() => pictures.act("restore", ids))),
          button("Delete for good", "trash", after(() => page.deleteForGood(ids)), { class: "w-danger" }),
        ]
      : [
          button("Star", "star", after(() => pictures.act("star", ids))),
          button("Download", "download", () => download(ids)),
          ids.length === 2 ? button("Difference", "sides", () => this.#compare(ids), { title: "What was set differently for these two" }) : null,
          button("Move to the trash", "trash", after(() => pictures.trash(ids))),
        ];
    this.#bulk.hidden = ids.length === 0;
    this.#bulk.replaceChildren(
      make("span", { class: "w-count" }, `${ids.length} chosen`), ...acts.filter(Boolean), make("span", { class: "w-gap" }),
      button("Choose none", "cancel", () => this.#choose(() => this.#chosen.clear())),
    );
  }

  #compare(ids) {
    const [newer, older] = this.#pictures.filter((picture) => ids.includes(picture.id));
    inspect({ picture: older }, { picture: newer });
  }

  #changed({ what, ids }) {
    if (what === "made") {
      this.#stale = true;
      if (this.#host.clientWidth > 0 && scrollY < innerHeight / 2) this.#later();
      return;
    }
    const gone = { all: ["trash", "delete"], starred: ["unstar", "trash", "delete"], trash: ["restore", "delete"] }[this.#shelf];
    const named = new Set(ids);
    if (gone.includes(what)) {
      this.#pictures = this.#pictures.filter((picture) => !named.has(picture.id));
      ids.forEach((id) => this.#chosen.delete(id));
      this.#grid.set(this.#pictures.length, true);
      this.#drawBulk();
      this.#say();
      return;
    }
    const known = new Set(this.#pictures.flatMap((picture, index) => (named.has(picture.id) ? [index] : [])));
    for (const index of known) Object.assign(this.#pictures[index], what === "star" ? { starred: true } : what === "unstar" ? { starred: false } : {});
    if (known.size < named.size) this.#later(); // what came back belongs somewhere among these
    this.#grid.renew(known);
  }
}

const LABELS = { all: "All", starred: "Starred", trash: "Trash" };
const NOTHING = {
  all: "There are no pictures yet. What you make is kept here.",
  starred: "Nothing is starred yet. The star below a picture keeps it here.",
  trash: "The trash is empty.",
};

customElements.define("webui-gallery", Gallery);
