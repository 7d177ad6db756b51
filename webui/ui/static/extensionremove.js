// Asks before an extension is removed, and whether what it kept goes with it.

import { make } from "./dom.js";

/** {storage, by_hand, cancel} where the person means it, else null. */
export function remove({ name, installed, jobs }) {
  return new Promise((resolve) => {
    const storage = make("input", { type: "checkbox", id: "extension_storage" });
    const cancel = make("input", { type: "checkbox", id: "extension_cancel_jobs" });
    const only = installed ? null : make("p", { class: "w-problem" }, "It was put there by hand: this may be the only copy of it.");
    const dialog = make("dialog", { class: "w-dialog w-small", id: "extension_remove", "aria-label": `Remove ${name}?` },
      make("h2", {}, `Remove ${name}?`),
      make("p", {}, "Its files are deleted. Jobs that use it are finished first. Pictures that were made with it stay, and say so."),
      only,
      make("label", { class: "w-check" }, storage, make("span", {}, "Also delete what it has kept")),
      jobs > 0 ? make("label", { class: "w-check" }, cancel, make("span", {}, jobs === 1 ? "Cancel the job that runs with it" : `Cancel the ${jobs} jobs that run with it`)) : "",
      make("form", { method: "dialog", class: "w-actions" },
        make("span", { class: "w-gap" }),
        make("button", { class: "w-button", value: "no", autofocus: true }, "Keep"),
        make("button", { class: "w-button w-danger w-solid", value: "yes", id: "extension_remove_yes" }, "Remove")));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? { storage: storage.checked, by_hand: !installed, cancel: cancel.checked } : null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
