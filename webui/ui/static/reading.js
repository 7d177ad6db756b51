// Parameters from elsewhere: pasted as text into the prompt, or as a picture that is dropped or chosen.

import { button, make } from "./dom.js";
import { isInfotext } from "./infotext.js";
import { page } from "./page.js";
import { textOfPicture } from "./pngtext.js";
import { say, tried } from "./say.js";

class Reading extends HTMLElement {
  #file = make("input", { type: "file", accept: "image/png", hidden: true, id: "txt2img_read_file", "aria-label": "A picture to read parameters from" });
  #offer = make("div", { class: "w-offer", hidden: true });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(
      make("div", { class: "w-tools" },
        button("Read parameters", "read", () => this.#read(), {
          class: "w-slim", id: "txt2img_read",
          title: "Take over the parameters that are pasted in the prompt; where it is empty, those of the newest picture" }),
        button("Read parameters from a picture; or drop one anywhere on the page", "picture", () => this.#file.click(), {
          class: "w-slim", id: "txt2img_read_picture", shown: false }),
        this.#file),
      this.#offer,
    );
    this.#file.addEventListener("change", () => this.#take([...this.#file.files]));
    page.controls.txt2img.addEventListener("change", () => this.#look());
    document.addEventListener("dragover", (event) => dragged(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!dragged(event)) return;
      event.preventDefault();
      this.#take([...event.dataTransfer.files]);
    });
  }

  /** What was pasted may be a whole picture's text: then taking it over is offered. */
  #look() {
    const prompt = page.controls.txt2img.values.prompt ?? "";
    const offer = isInfotext(prompt);
    if (offer === !this.#offer.hidden) return;
    this.#offer.hidden = !offer;
    this.#offer.replaceChildren(
      make("span", {}, "This looks like the parameters of a picture."),
      button("Use them", "check", () => this.#read(), { class: "w-slim w-solid", id: "txt2img_read_offer" }),
    );
  }

  async #read() {
    const prompt = (page.controls.txt2img.values.prompt ?? "").trim();
    if (prompt) return tried(() => page.read(prompt));
    const found = await tried(() => page.pictures.search({ limit: 1 }));
    const [newest] = found?.pictures ?? [];
    return newest ? tried(() => page.read(newest.parameters)) : say("Paste the parameters of a picture into the prompt first.");
  }

  async #take(files) {
    const [file] = files.filter((each) => each.type.startsWith("image/"));
    this.#file.value = "";
    if (!file) return say("Only a picture has parameters that can be read.", { wrong: true });
    const text = await textOfPicture(file);
    if (!text) return say(`${file.name} holds no parameters.`, { wrong: true });
    page.show("txt2img");
    return tried(() => page.read(text));
  }
}

function dragged(event) {
  return [...(event.dataTransfer?.types ?? [])].includes("Files");
}

customElements.define("webui-reading", Reading);
