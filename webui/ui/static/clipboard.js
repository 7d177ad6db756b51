// Texts go to the clipboard, with or without the browser's permission.

import { make } from "./dom.js";
import { say } from "./say.js";

/** Put a text where it can be pasted from. */
export async function copy(text, said = "The parameters are copied.") {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyWithoutPermission(text); // the clipboard's own interface needs https or this machine
  }
  say(said);
}

function copyWithoutPermission(text) {
  const field = make("textarea", { class: "w-unseen", value: text });
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
