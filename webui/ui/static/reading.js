// Parameters from elsewhere: pasted as text into the prompt, or in a file that is dropped or chosen. One way for all: the program
// reads files and foreign texts, and says what of it goes into the controls.

import { button, make } from "./dom.js";
import { infoOfFile, infoOfText, isForeign, leftOver, mayBeRead } from "./info.js";
import { isInfotext } from "./infotext.js";
import { Notes } from "./notes.js";
import { page } from "./page.js";
import { inspect, inspectsFiles } from "./pnginfotab.js";
import { say, tried } from "./say.js";

const KINDS = "image/*,.txt,text/plain,.json,application/json";

for (const tab of Object.values(page.tabs)) {
  tab.notes = new Notes(tab.task, inspect);
  tab.withStage(() => requestAnimationFrame(() => tab.notes.mount()));
}

class Reading extends HTMLElement {
  #tab = null;
  #file = make("input", { type: "file", accept: KINDS, hidden: true, "aria-label": "A file to read parameters from" });
  #offer = make("div", { class: "w-offer", hidden: true });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    const { task, controls } = this.#tab;
    this.#file.id = `${task}_read_file`;
    this.append(
      make("div", { class: "w-tools" },
        button("Read parameters", "read", () => this.#read(), {
          class: "w-slim", id: `${task}_read`,
          title: "Take over the parameters that are pasted in the prompt; where it is empty, those of the newest picture" }),
        button("Read parameters from a picture or text file; or drop one on the prompt", "picture", () => this.#file.click(), {
          class: "w-slim", id: `${task}_read_picture`, shown: false }),
        this.#file),
      this.#offer,
    );
    this.#file.addEventListener("change", () => {
      const [file] = this.#file.files;
      this.#file.value = "";
      if (file) readFrom(file, this.#tab);
    });
    controls.addEventListener("change", () => this.#look());
    this.#look();
  }

  /** What was pasted may be a whole picture's text: then taking it over is offered. */
  #look() {
    const prompt = this.#tab.values.prompt ?? "";
    const offer = isInfotext(prompt) || isForeign(prompt);
    if (offer === !this.#offer.hidden) return;
    this.#offer.hidden = !offer;
    this.#offer.replaceChildren(
      make("span", {}, "This looks like the parameters of a picture."),
      button("Use them", "check", () => this.#read(), { class: "w-slim w-solid", id: `${this.#tab.task}_read_offer` }),
    );
  }

  async #read() {
    const prompt = (this.#tab.values.prompt ?? "").trim();
    if (prompt) return readText(prompt, this.#tab);
    const found = await tried(() => page.pictures.search({ limit: 1 }));
    const [newest] = found?.pictures ?? [];
    return newest ? readText(newest.parameters, this.#tab) : say("Paste the parameters of a picture into the prompt first.");
  }
}

/** Take over a text, whichever program wrote it. */
function readText(text, tab) {
  return tried(async () => (isForeign(text) ? take(await infoOfText(text), tab, { text }) : tab.read(text)));
}

/** Take over what a file says. */
async function readFrom(file, tab) {
  if (!mayBeRead(file)) return say("Only a picture or a text file has parameters that can be read.", { wrong: true });
  return tried(async () => take(await infoOfFile(file), tab, { file }));
}

function take(info, tab, whole) {
  if (!info.text) return say(`${whole.file?.name || "It"} holds no parameters.`, { wrong: true });
  const left = leftOver(info);
  return tab.read(info.text, { further: left ? [left] : [], whole });
}

/** Files that are dropped beside every place for one: onto the prompt they are read; else a tab that starts from a picture takes them. */
async function dropped(files, onPrompt) {
  if (inspectsFiles(files)) return undefined;
  const { tab } = page;
  const [file] = files.filter(mayBeRead);
  if (!file) return say("Only a picture or a text file can be used here.", { wrong: true });
  page.show(tab.task);
  const pictures = files.filter((each) => each.type.startsWith("image/"));
  if (tab.panel && pictures.length > 0 && !onPrompt) return tab.panel.take(pictures);
  return readFrom(file, tab);
}

/** A picture that was put somewhere carries its parameters: taking them over is offered, never done unasked. */
document.addEventListener("parameters", ({ target, detail: { info, file } }) => {
  const tab = page.tabOf(target);
  if (!tab.controls.names.includes("prompt")) return;
  const use = () => tried(() => take(info, tab, { file }));
  say("This picture carries the parameters it was made with.", { undo: { label: "Use them", act: use } });
});

document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!carries(event) || event.defaultPrevented) return;
  event.preventDefault();
  dropped([...event.dataTransfer.files], event.target.closest?.(".w-prompts, [id$=_prompt], [id$=_negative], .w-reading") !== null);
});

document.addEventListener("paste", (event) => {
  const [file] = [...(event.clipboardData?.files ?? [])].filter(mayBeRead);
  if (file && !event.defaultPrevented && page.tab.shown && !page.tab.panel) readFrom(file, page.tab);
});

function carries(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

customElements.define("webui-reading", Reading);
