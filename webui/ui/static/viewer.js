// The full view: one picture as large as the window, with keys. Arrows walk, + - 0 zoom, Esc closes.

import { actionBar, parameterList } from "./details.js";
import { button, make } from "./dom.js";
import { page } from "./page.js";
import { describe, source } from "./pictures.js";
import { tell } from "./say.js";

const STEP = 1.25; // of zooming, for one key or notch
const MOST = 16;
const SWIPE = 60; // pixels sideways that turn the page

class Viewer extends HTMLElement {
  #dialog = make("dialog", { class: "w-viewer w-always-dark", "aria-label": "Full view" });
  #image = make("img", { draggable: "false" });
  #ground = make("div", { class: "w-viewer-ground", tabindex: "-1", autofocus: true }, this.#image);
  #side = make("div", { class: "w-viewer-side" });
  #count = make("span", { class: "w-viewer-count" });
  #source = null;
  #index = 0;
  #picture = null;
  #turn = 0; // counts the pictures asked for, so that a slow answer does not replace a newer one
  #zoom = 1;
  #offset = [0, 0];
  #drag = null;

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#dialog.append(
      make("div", { class: "w-viewer-bar" },
        this.#count,
        make("span", { class: "w-gap" }),
        button("Zoom out", "minus", () => this.zoom(this.#zoom / STEP), { shown: false }),
        button("Zoom in", "plus", () => this.zoom(this.#zoom * STEP), { shown: false }),
        button("Parameters", "read", () => this.#toggleSide(), { shown: false, data: { act: "side" }, "aria-expanded": "false" }),
        button("Close", "cancel", () => this.#dialog.close(), { shown: false, data: { act: "close" } }),
      ),
      this.#ground,
      button("Previous picture", "back", () => this.walk(-1), { shown: false, class: "w-viewer-back" }),
      button("Next picture", "next", () => this.walk(1), { shown: false, class: "w-viewer-next" }),
      this.#side,
    );
    this.#dialog.addEventListener("keydown", (event) => this.#key(event));
    this.#dialog.addEventListener("close", () => this.#closed());
    this.#ground.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    this.#ground.addEventListener("pointerdown", (event) => this.#grab(event));
    this.#ground.addEventListener("pointermove", (event) => this.#pull(event));
    this.#ground.addEventListener("pointerup", (event) => this.#drop(event));
    this.#ground.addEventListener("pointercancel", () => (this.#drag = null));
    this.#ground.addEventListener("dblclick", () => this.zoom(this.#zoom === 1 ? 2 : 1));
    page.pictures.addEventListener("change", ({ detail }) => this.#changed(detail));
    this.append(this.#dialog);
    page.viewer = this;
  }

  /** Open a source of pictures at one of them. */
  async open(pictures, index) {
    this.#source = pictures;
    this.#dialog.showModal();
    await this.#go(index);
  }

  /** To a neighbour. */
  async walk(by) {
    await this.#go(this.#index + by);
  }

  zoom(factor) {
    this.#zoom = Math.min(Math.max(factor, 1), MOST);
    if (this.#zoom === 1) this.#offset = [0, 0];
    this.#place();
  }

  async #go(index) {
    if (index < 0) return;
    this.#turn += 1;
    const turn = this.#turn;
    const picture = await this.#source.at(index);
    if (!picture || turn !== this.#turn) return;
    this.#index = index;
    this.#picture = picture;
    this.zoom(1);
    this.#image.src = source(picture.id, { thumbnail: picture.gone }); // a grey square, where somebody took the file away
    this.#image.alt = describe(picture);
    this.#image.style.aspectRatio = `${picture.width} / ${picture.height}`;
    this.#dialog.style.setProperty("--width", picture.width);
    this.#dialog.style.setProperty("--height", picture.height);
    this.#draw();
    tell(`Picture ${index + 1}. ${describe(picture)}`);
    this.#source.at(index + 1).then((next) => next && !next.gone && (new Image().src = source(next.id)));
  }

  #draw() {
    const known = this.#source.known();
    this.#count.textContent = known > 1 ? `${this.#index + 1} of ${known}` : "";
    this.#dialog.querySelector(".w-viewer-back").disabled = this.#index === 0;
    this.#dialog.querySelector(".w-viewer-next").disabled = this.#index + 1 >= known;
    this.#dialog.dataset.id = this.#picture.id;
    const further = page.detailPanels?.(this.#picture, this.#picture.task) ?? [];
    this.#side.replaceChildren(actionBar(page, this.#picture), parameterList(this.#picture.parameters), ...further);
  }

  #toggleSide() {
    const open = this.#dialog.classList.toggle("w-with-side");
    this.#dialog.querySelector("[data-act=side]").setAttribute("aria-expanded", String(open));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.walk(-1), ArrowRight: () => this.walk(1),
      "+": () => this.zoom(this.#zoom * STEP), "=": () => this.zoom(this.#zoom * STEP), "-": () => this.zoom(this.#zoom / STEP),
      0: () => this.zoom(1), i: () => this.#toggleSide(), Delete: () => this.#picture.trashed || page.pictures.trash([this.#picture.id]),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? this.#zoom * STEP : this.#zoom / STEP);
  }

  #grab(event) {
    if (event.button !== 0) return;
    this.#ground.setPointerCapture(event.pointerId);
    this.#drag = { x: event.clientX, y: event.clientY, from: [...this.#offset] };
  }

  #pull(event) {
    if (!this.#drag || this.#zoom === 1) return;
    const { x, y, from } = this.#drag;
    this.#offset = [from[0] + event.clientX - x, from[1] + event.clientY - y];
    this.#place();
  }

  #drop(event) {
    const aside = this.#drag ? event.clientX - this.#drag.x : 0;
    this.#drag = null;
    if (this.#zoom === 1 && Math.abs(aside) > SWIPE) this.walk(aside < 0 ? 1 : -1);
    else if (this.#zoom === 1 && aside === 0 && event.target === this.#ground) this.#dialog.close();
  }

  #place() {
    this.#image.style.transform = `translate(${this.#offset[0]}px, ${this.#offset[1]}px) scale(${this.#zoom})`;
    this.#dialog.dataset.zoom = this.#zoom.toFixed(2);
  }

  #changed({ what, ids }) {
    if (!this.#dialog.open || !this.#picture || !ids.includes(this.#picture.id)) return;
    if (what === "delete") return this.#dialog.close();
    const after = { star: { starred: true }, unstar: { starred: false }, trash: { trashed: true }, restore: { trashed: false } };
    Object.assign(this.#picture, after[what]);
    return this.#draw();
  }

  #closed() {
    this.#image.removeAttribute("src");
    this.#picture = null;
  }
}

customElements.define("webui-viewer", Viewer);
