// A place for what is looked into: a file that is chosen, dropped or pasted, a text, or a picture of the gallery.

import { opened } from "./decoded.js";
import { button, make } from "./dom.js";
import { filesOf, mayBePicture } from "./dropped.js";
import { infoOfFile, infoOfPicture, infoOfText, mayBeRead } from "./info.js";
import { isWritten, leavesPastes, takesPastes } from "./paste.js";
import { source } from "./pictures.js";

const KINDS = "image/*,.txt,text/plain,.json,application/json,.safetensors";
const NAMES = { pasted: "pasted picture", text: "pasted text" };

/** Events: "change" when it holds something else. `item`: null or {name, bytes, url, width, height, id, file, info, given, release}. */
export class InfoPlace extends EventTarget {
  item = null;
  #turn = 0; // counts what was asked for, so that a slow answer does not replace a newer one
  #file;
  #label = make("span", { class: "w-pick-label" });
  #facts = make("span", { class: "w-pick-facts" });
  #head;
  #ask;
  #image = make("img", { class: "w-pick-picture", draggable: "false", hidden: true });
  #text = make("textarea", { class: "w-info-field", rows: "6", spellcheck: "false", "aria-label": "Text to read parameters from", placeholder: "Paste the parameters here" });
  #writing;
  #problem = make("p", { class: "w-problem", role: "alert", hidden: true });

  constructor(label, id) {
    super();
    this.#file = make("input", { type: "file", accept: KINDS, hidden: true, id: `${id}_file` });
    this.#head = make("div", { class: "w-pick-head" }, this.#label, this.#facts, make("span", { class: "w-gap" }),
      button("Choose another", "picture", () => this.#file.click(), { shown: false, class: "w-slim", data: { act: "choose" } }),
      button("Remove", "cancel", () => this.set(null), { shown: false, class: "w-slim", data: { act: "remove" } }));
    this.#ask = make("div", { class: "w-pick-ask" },
      make("div", { class: "w-actions" },
        button("Choose a file", "picture", () => this.#file.click(), { data: { act: "file" } }),
        button("Paste a text", "text", () => this.#write(true), { data: { act: "text" } })),
      make("p", { class: "w-pick-ways" }, "or drop a picture here, or paste one with Ctrl+V"));
    this.#writing = make("form", { class: "w-info-writing", hidden: true, onsubmit: (event) => (event.preventDefault(), this.takeText(this.#text.value)) },
      this.#text,
      make("div", { class: "w-actions" },
        make("button", { class: "w-button w-solid", data: { act: "read" } }, "Read it"),
        button("Back", null, () => this.#write(false), { data: { act: "back" } })));
    this.node = make("section", { class: "w-info-place", id }, this.#head, this.#ask, this.#writing, this.#image, this.#problem, this.#file);
    this.#listen();
    this.name(label);
    this.#draw();
  }

  /** Be called so. */
  name(label) {
    this.#label.textContent = label;
    this.node.setAttribute("aria-label", label);
    this.#file.setAttribute("aria-label", label);
  }

  /** From now on what is pasted may go here. */
  open() {
    takesPastes(this.node, (files) => this.takeFiles(files));
  }

  /** Not any more. */
  close() {
    leavesPastes(this.node);
  }

  /** Hold what another place held, or nothing. */
  set(item) {
    this.#turn += 1;
    this.#complain("");
    this.#hold(item);
  }

  /** Read the first of some files. */
  takeFiles(files) {
    const file = files.find(mayBeRead);
    if (!file) return files.length > 0 ? this.#complain(`${files[0].name || "That"} is neither a picture nor a text.`) : undefined;
    const text = file.type !== "" && !file.type.startsWith("image/");
    return this.#take(async () => {
      const [info, seen] = await Promise.all([infoOfFile(file), text ? null : opened(file)]);
      return {
        name: file.name || NAMES.pasted, given: { file }, release: seen?.release, bytes: file.size, info, file: text ? null : file, id: null,
        url: seen?.url ?? "", width: info.width || seen?.width || 0, height: info.height || seen?.height || 0,
      };
    });
  }

  /** Read a text. */
  takeText(text) {
    if (text.trim() === "") return this.#complain("There is no text yet.");
    return this.#take(async () => ({ name: NAMES.text, given: { text }, bytes: null, info: await infoOfText(text), file: null, id: null, url: "", width: 0, height: 0 }));
  }

  /** Read a picture of the gallery. */
  takePicture(picture) {
    return this.#take(async () => ({
      name: picture.name, given: { picture }, bytes: picture.bytes ?? null, info: await infoOfPicture(picture.id), file: null, id: picture.id,
      url: source(picture.id, { thumbnail: picture.gone }), width: picture.width, height: picture.height,
    }));
  }

  /** What goes wrong is said here, and what was held before stays. */
  async #take(read) {
    this.#turn += 1;
    const turn = this.#turn;
    this.#complain("");
    this.node.dataset.state = "reading";
    try {
      const item = await read();
      if (turn === this.#turn) this.#hold(item);
    } catch (error) {
      if (error.status === undefined) throw error;
      if (turn !== this.#turn) return;
      this.#draw();
      this.#complain(error.message);
    }
  }

  #hold(item) {
    this.item = item;
    this.#write(false);
    this.#draw();
    this.dispatchEvent(new Event("change"));
  }

  #write(on) {
    this.#writing.hidden = !on;
    this.#ask.hidden = on || this.item !== null;
    if (on) this.#text.focus();
    else this.#text.value = "";
  }

  #complain(sentence) {
    this.#problem.textContent = sentence;
    this.#problem.hidden = sentence === "";
  }

  #draw() {
    const { item } = this;
    this.node.dataset.state = item ? "filled" : "empty";
    this.#facts.textContent = item?.name ?? "";
    this.#facts.title = item?.name ?? "";
    for (const each of this.#head.querySelectorAll("button")) each.hidden = item === null;
    this.#ask.hidden = item !== null || !this.#writing.hidden;
    this.#image.hidden = !item?.url;
    if (item?.url) this.#image.src = item.url;
    else this.#image.removeAttribute("src");
    this.#image.alt = item?.name ?? "";
  }

  #listen() {
    this.#file.addEventListener("change", () => {
      const files = [...this.#file.files];
      this.#file.value = ""; // so that the same file can be chosen again
      this.takeFiles(files);
    });
    let depth = 0; // leaving for a child is no leaving
    const over = (by) => {
      depth = by === 0 ? 0 : depth + by;
      this.node.classList.toggle("w-dropping", depth > 0);
    };
    this.node.addEventListener("dragenter", (event) => mayBePicture(event) && over(1));
    this.node.addEventListener("dragleave", (event) => mayBePicture(event) && over(-1));
    this.node.addEventListener("dragover", (event) => {
      if (!mayBePicture(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
    });
    this.node.addEventListener("drop", async (event) => {
      if (!mayBePicture(event)) return;
      event.preventDefault();
      event.stopPropagation(); // else it were also one to read parameters from
      over(0);
      this.takeFiles(await filesOf(event.dataTransfer));
    });
    this.#ask.addEventListener("click", (event) => event.target.closest("button") || this.#file.click());
    this.#text.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text/plain") ?? "";
      if (text.trim() === "" || this.#text.value.trim() !== "") return;
      event.preventDefault(); // a whole text that is pasted needs no further word
      this.takeText(text);
    });
  }
}

/** A text that is pasted beside every field, while one of these places is looked at. */
export function pastedText(event) {
  const text = event.clipboardData?.getData("text/plain") ?? "";
  const files = event.clipboardData?.files.length ?? 0;
  return event.defaultPrevented || files > 0 || isWritten(document.activeElement) ? "" : text.trim();
}
