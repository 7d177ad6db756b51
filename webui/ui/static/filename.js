// Beside the pattern for names of files: what a picture would be called by it, and the words that it may have.

import { icon, make } from "./dom.js";
import { latest } from "./latest.js";
import { page } from "./page.js";
import { ask } from "./server.js";

const PAUSE = 150; // milliseconds without a key before it is asked
const controls = page.controls.settings;

/** Put it below its control, as soon as Gradio has made that. */
export async function exampleOfNames() {
  while (!controls.block("filename_pattern")) await new Promise(requestAnimationFrame);
  const block = controls.block("filename_pattern");
  if (block.querySelector(".w-naming")) return;
  const shown = make("code", { id: "settings_filename_example" });
  const words = make("div", { class: "w-naming-words" });
  block.append(make("div", { class: "w-naming" },
    make("p", {}, "For example ", shown),
    make("details", { class: "w-fold" }, make("summary", {}, icon("next"), "All words"), words)));
  let asked = "";
  const look = latest(PAUSE, async (signal) => {
    const { filename_pattern: pattern = "", save_format: format = "PNG" } = controls.values;
    const query = new URLSearchParams({ pattern, format });
    if (String(query) === asked) return;
    const found = await ask(`/x/filename?${query}`, undefined, { signal }).catch(() => null);
    if (!found) return;
    asked = String(query);
    shown.textContent = found.name;
    if (words.childElementCount === 0) words.append(...found.words.map(choice));
  });
  controls.addEventListener("change", look);
  look();
}

/** A word that is put behind the pattern when it is pressed. */
function choice(word) {
  const add = () => controls.fill({ filename_pattern: `${controls.values.filename_pattern ?? ""}[${word}]` });
  return make("button", { type: "button", class: "w-naming-word", onclick: add }, `[${word}]`);
}
