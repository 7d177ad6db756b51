// Parameters from elsewhere: pasted as text into the prompt, or as a picture that is dropped or chosen.

import { button, make } from "./dom.js";
import { isInfotext } from "./infotext.js";
import { page } from "./page.js";
import { textOfPicture } from "./pngtext.js";
import { say, tried } from "./say.js";

class Reading extends HTMLElement {
  #tab = null;
  #file = make("input", { type: "file", accept: "image/png", hidden: true, "aria-label": "A picture to read parameters from" });
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
        button("Read parameters from a picture; or drop one anywhere on the page", "picture", () => this.#file.click(), {
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
    const offer = isInfotext(this.#tab.values.prompt ?? "");
    if (offer === !this.#offer.hidden) return;
    this.#offer.hidden = !offer;
    this.#offer.replaceChildren(
      make("span", {}, "This looks like the parameters of a picture."),
      button("Use them", "check", () => this.#read(), { class: "w-slim w-solid", id: `${this.#tab.task}_read_offer` }),
    );
  }

  async #read() {
    const prompt = (this.#tab.values.prompt ?? "").trim();
    if (prompt) return tried(() => this.#tab.read(prompt));
    const found = await tried(() => page.pictures.search({ limit: 1 }));
    const [newest] = found?.pictures ?? [];
    return newest ? tried(() => this.#tab.read(newest.parameters)) : say("Paste the parameters of a picture into the prompt first.");
  }
}

async function readFrom(file, tab) {
  const text = file.type.startsWith("image/") ? await textOfPicture(file) : "";
  if (text) return tried(() => tab.read(text));
  return say(file.type.startsWith("image/") ? `${file.name} holds no parameters.` : "Only a picture has parameters that can be read.", { wrong: true });
}

/** Pictures that are dropped beside every place for one: where a tab starts from a picture it is taken, else it is read. */
async function dropped(files) {
  const { tab } = page;
  const pictures = files.filter((file) => file.type.startsWith("image/"));
  if (pictures.length === 0) return say("Only a picture can be used here.", { wrong: true });
  page.show(tab.task);
  if (tab.panel) return tab.panel.take(pictures);
  return readFrom(pictures[0], tab);
}

/** A picture that was put somewhere carries its parameters: taking them over is offered, never done unasked. */
document.addEventListener("parameters", ({ target, detail }) => {
  const tab = page.tabOf(target);
  if (!tab.controls.names.includes("prompt")) return;
  const use = () => tried(() => tab.read(detail.text));
  say("This picture carries the parameters it was made with.", { undo: { label: "Use them", act: use } });
});

document.addEventListener("dragover", (event) => carries(event) && event.preventDefault());
document.addEventListener("drop", (event) => {
  if (!carries(event) || event.defaultPrevented) return;
  event.preventDefault();
  dropped([...event.dataTransfer.files]);
});

document.addEventListener("paste", (event) => {
  const [file] = [...(event.clipboardData?.files ?? [])].filter((each) => each.type.startsWith("image/"));
  if (file && !event.defaultPrevented && page.tab.shown && !page.tab.panel) readFrom(file, page.tab);
});

function carries(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

customElements.define("webui-reading", Reading);
