// A place for a picture: chosen, dropped or pasted. It is shown at once from the browser's own copy, and brought to the program meanwhile.

import { opened } from "./decoded.js";
import { button, make } from "./dom.js";
import { filesOf, mayBePicture } from "./dropped.js";
import { leavesPastes, takesPastes } from "./paste.js";
import { Pile } from "./pile.js";

const KINDS = "image/*";

/**
 * <webui-picker label name multiple>. Properties: `value` (null or {url, digest, width, height, name}; a list with `multiple`),
 * `upload` (file -> {digest, width, height}), `inspect` (file -> {text, …}, where what it carries is of use), `problem`.
 * Events: "change"; "parameters" {info, file} of a picture that carries some.
 */
export class Picker extends HTMLElement {
  upload = null;
  inspect = null;
  #shown = null; // what is seen: {url, digest, width, height, name, seen, release, …}
  #good = null; // the same, as far as the program has it
  #turn = 0; // counts what was asked for, so that a slow answer does not replace a newer one
  #settling = Promise.resolve(null);
  #pile = null;
  #file;
  #folder;
  #parts = {};

  connectedCallback() {
    takesPastes(this, (files) => this.take(files));
    if (this.childElementCount > 0) return;
    const label = this.getAttribute("label") ?? "Picture";
    const several = this.hasAttribute("multiple");
    const input = { type: "file", accept: KINDS, hidden: true, multiple: several };
    this.#file = make("input", { ...input, "aria-label": label, name: this.getAttribute("name") });
    this.#folder = make("input", { ...input, webkitdirectory: true, "aria-label": `${label}: a folder` });
    for (const each of [this.#file, this.#folder]) {
      each.addEventListener("change", () => {
        const files = [...each.files];
        each.value = ""; // so that the same file can be chosen again
        this.take(files);
      });
    }
    this.#parts = this.#build(label, several);
    this.append(...Object.values(this.#parts), this.#file, this.#folder);
    if (several) this.#pile = new Pile(this, this.#parts.stand);
    this.#listen();
    this.#draw();
  }

  disconnectedCallback() {
    leavesPastes(this);
  }

  get value() {
    if (this.#pile) return this.#pile.value;
    if (!this.#shown) return null;
    const { url, digest, width, height, name } = this.#shown;
    return { url, digest, width, height, name };
  }

  set value(value) {
    this.setValue(value);
  }

  /** With `multiple`, what the program would not take: [{name, error}]. */
  get failed() {
    return this.#pile?.failed ?? [];
  }

  /** The sentence that is shown, "" for none. */
  get problem() {
    return this.#parts.problem?.textContent ?? "";
  }

  set problem(sentence) {
    this.#parts.problem.textContent = sentence;
    this.#parts.problem.hidden = sentence === "";
  }

  /** Take a picture as if it had been chosen; resolves to whether the program has it now. */
  setFile(file) {
    if (this.#pile) return this.#pile.add([file]);
    this.#turn += 1;
    this.#settling = this.#bring(file, this.#turn);
    return this.#settling.then((error) => error === null);
  }

  /** Show what the program has already: {url, digest, width, height, name}; null empties the place. `keep`: what is drawn on it stays. */
  async setValue(value, { keep = false } = {}) {
    if (this.#pile) return this.#pile.set(value ?? []);
    this.#turn += 1;
    const turn = this.#turn;
    this.problem = "";
    const seen = value ? await opened(value.url) : null;
    if (turn !== this.#turn) return undefined;
    const state = value && { name: "", ...value, url: seen?.url ?? value.url, width: seen?.width ?? value.width, height: seen?.height ?? value.height, seen, keep: keep || this.#isShown(value) };
    this.#settling = Promise.resolve(null);
    this.#show(state);
    return this.#keep(state);
  }

  /** The value once the program has it. Raises what went wrong where that happens while it is waited for. */
  async settled() {
    if (this.#pile) return this.#pile.settled();
    for (let waited = null; waited !== this.#settling;) {
      waited = this.#settling;
      const error = await waited;
      if (error) throw error;
    }
    return this.value;
  }

  /** Files that somebody chose, dropped or pasted here. */
  async take(files) {
    const pictures = files.filter((file) => file.type.startsWith("image/") || (file.type === "" && !this.#pile));
    if (files.length > 0 && pictures.length === 0) this.problem = `${files[0].name || "That"} is no picture.`;
    if (pictures.length === 0) return;
    if (this.#pile) return void this.#pile.add(pictures);
    this.setFile(pictures[0]);
    const [file] = pictures;
    const info = await this.#look(file);
    if (info?.text) this.dispatchEvent(new CustomEvent("parameters", { detail: { info, file }, bubbles: true }));
  }

  /** Open the browser's dialog. */
  choose() {
    this.#file.click();
  }

  /** Something is other than it was. */
  changed() {
    this.#draw();
    this.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // What others that hold a picture do in their own way.

  /** The node in which the picture is shown. */
  board() {
    return make("img", { class: "w-pick-picture", alt: this.getAttribute("label") ?? "", draggable: "false" });
  }

  /** Show a state's picture in the node; null shows nothing. */
  display(state, board) {
    if (state?.seen) board.src = state.url;
    else board.removeAttribute("src");
    board.classList.toggle("w-unshown", !state?.seen);
  }

  /** A state is not shown any more, and never will be again. */
  released() {}

  #build(label, several) {
    const what = several ? "pictures or a folder" : "a picture";
    const asked = several
      ? [button("Choose files", "picture", () => this.choose()), button("Choose a folder", "folder", () => this.#folder.click())]
      : [button("Choose a file", "picture", () => this.choose())];
    return {
      head: make("div", { class: "w-pick-head" },
        make("span", { class: "w-pick-label" }, label),
        make("span", { class: "w-pick-facts" }),
        make("span", { class: "w-pick-busy", role: "status" }),
        button(`Choose another: ${label}`, several ? "plus" : "swap", () => this.choose(), { shown: false, class: "w-slim", data: { act: "choose" }, title: several ? "Add more" : "Choose another" }),
        button(`Remove: ${label}`, "cancel", () => this.setValue(null), { shown: false, class: "w-slim", data: { act: "remove" }, title: several ? "Remove all" : "Remove" }),
      ),
      ask: make("div", { class: "w-pick-ask" },
        make("div", { class: "w-actions" }, asked),
        make("p", { class: "w-pick-ways" }, `or drop ${what} here, or paste with Ctrl+V`),
      ),
      stand: several ? make("div", { class: "w-pile" }) : this.board(),
      problem: make("p", { class: "w-problem", role: "alert", hidden: true }),
    };
  }

  #listen() {
    let depth = 0; // leaving for a child is no leaving
    const over = (by) => {
      depth = by === 0 ? 0 : depth + by;
      this.classList.toggle("w-dropping", depth > 0);
    };
    this.addEventListener("dragenter", (event) => mayBePicture(event) && over(1));
    this.addEventListener("dragleave", (event) => mayBePicture(event) && over(-1));
    this.addEventListener("dragover", (event) => {
      if (!mayBePicture(event)) return;
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer.dropEffect = "copy";
    });
    this.addEventListener("drop", async (event) => {
      if (!mayBePicture(event)) return;
      event.preventDefault();
      event.stopPropagation(); // else it were also one to read parameters from
      over(0);
      const files = await filesOf(event.dataTransfer);
      if (files.length === 0) this.problem = "Nothing in what was dropped is a picture that can be taken.";
      await this.take(files);
    });
    this.#parts.ask.addEventListener("click", (event) => event.target.closest("button") || this.choose());
  }

  /** What a file says of how it was made; null where it says nothing, or cannot be read: that is said when it is brought. */
  async #look(file) {
    try {
      return (await this.inspect?.(file)) ?? null;
    } catch (error) {
      if (error.status === undefined) throw error;
      return null;
    }
  }

  async #bring(file, turn) {
    this.problem = "";
    const seen = await opened(file);
    if (turn !== this.#turn) return (seen?.release(), null);
    const name = file.name || "pasted picture";
    this.#show({ url: seen?.url ?? "", digest: null, width: seen?.width ?? 0, height: seen?.height ?? 0, name, seen });
    const state = this.#shown;
    if (!this.upload) return (this.#keep(state), null);
    try {
      const { digest, width, height } = await this.upload(file);
      if (turn !== this.#turn) return null;
      Object.assign(state, { digest, width: state.width || width, height: state.height || height });
      this.#keep(state);
      this.#settling = Promise.resolve(null);
      if (!state.seen) this.display(state, this.#parts.stand); // now its size is known
      this.changed();
      return null;
    } catch (error) {
      if (turn !== this.#turn) return null;
      this.#settling = Promise.resolve(null);
      this.#show(this.#good);
      this.problem = error.message;
      return error;
    }
  }

  #show(state) {
    const before = this.#shown;
    this.#shown = state;
    this.display(state, this.#parts.stand);
    if (before && before !== state && before !== this.#good) this.#release(before);
    this.changed();
  }

  /** The program has it: there is nothing to go back to any more. */
  #keep(state) {
    const before = this.#good;
    this.#good = state;
    if (before && before !== state) this.#release(before);
  }

  #release(state) {
    state.seen?.release();
    this.released(state);
  }

  #isShown(value) {
    return Boolean(value.digest) && value.digest === this.#shown?.digest;
  }

  #draw() {
    const { head, ask, stand } = this.#parts;
    const count = this.#pile?.value.length;
    const filled = this.#pile ? this.#pile.shown > 0 : this.#shown !== null;
    this.dataset.state = filled ? "filled" : "empty";
    head.querySelector(".w-pick-facts").textContent = this.#pile ? (filled ? `${count}` : "") : facts(this.#shown);
    head.querySelector(".w-pick-facts").title = this.#shown?.name ?? "";
    const bringing = this.#pile ? this.#pile.bringing : this.#shown && !this.#shown.digest && this.upload;
    head.querySelector(".w-pick-busy").textContent = bringing ? "being sent…" : "";
    for (const each of head.querySelectorAll("button")) each.hidden = !filled;
    ask.hidden = filled;
    stand.hidden = !filled;
  }
}

function facts(state) {
  if (!state) return "";
  const size = state.width ? `${state.width} × ${state.height}` : "";
  return state.seen ? size : [size, state.name, "this browser cannot show it"].filter(Boolean).join(", ");
}

customElements.define("webui-picker", Picker);
