// Asks before something cannot be undone.

import { make } from "./dom.js";

/** Whether the person says yes; closing the question says no. */
export function confirm(question, explanation, yes) {
  return new Promise((resolve) => {
    const dialog = make("dialog", { class: "w-dialog w-small", "aria-label": question },
      make("h2", {}, question),
      make("p", {}, explanation),
      make("form", { method: "dialog", class: "w-actions" },
        make("span", { class: "w-gap" }),
        make("button", { class: "w-button", value: "no", autofocus: true }, "Keep"),
        make("button", { class: "w-button w-danger w-solid", value: "yes" }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    (document.querySelector("dialog[open]") ?? document.body).append(dialog);
    dialog.showModal();
  });
}
