// A dialog in which an owner says what a model file is, where they know better than the file.

import { button, make } from "./dom.js";
import { ask } from "./server.js";

/** Ask; returns the new list of model files, null where nothing was changed. */
export function setOptions(model, { families, vaes }) {
  const own = model.file ?? model; // what the file says by itself
  const fields = {
    family: choice("Family", model.set.family, own.family || "nothing", families.map(({ name, title }) => [name, title])),
    prediction: choice("Prediction", model.set.prediction, own.prediction ?? "undecided", [["eps", "eps: the noise"], ["v", "v: the velocity"]]),
    zero_terminal_snr: choice("Zero terminal SNR", model.set.zero_terminal_snr, own.zero_terminal_snr ? "yes" : "no", [["true", "Yes"], ["false", "No"]]),
    native_size: number("Native size", model.set.native_size, own.native_size, { min: 64, max: 8192, step: 8 }),
    steps: number("Steps", model.set.steps, own.steps, { min: 1, max: 150, step: 1 }),
    scale: number("CFG scale", model.set.scale, own.scale, { min: 0, max: 30, step: 0.1 }),
    vae: choice("VAE", model.set.vae, "", [["None", "None: the model's own"], ...vaes.map(({ name }) => [name, name])], "Automatic"),
  };
  return new Promise((resolve) => {
    const problem = make("p", { class: "w-problem", role: "alert", hidden: true });
    const save = button("Save", null, null, { class: "w-solid", type: "submit", id: "model_save" });
    const reset = button("Reset", "restore", () => keep({}), { id: "model_reset", title: "Take back all that was set: what the file says holds" });
    const cancel = button("Cancel", null, () => dialog.close(), { id: "model_cancel" });
    const form = make("form", { method: "dialog" },
      make("h2", {}, `What ${model.title} is`),
      make("p", { class: "w-aside" }, "For everybody, kept by the file's contents. Pictures that are waiting are made as they were asked for."),
      model.problem ? make("p", { class: "w-problem" }, model.problem) : null,
      make("div", { class: "w-model-form" }, ...Object.values(fields).map(({ block }) => block)),
      problem,
      make("div", { class: "w-actions" }, Object.keys(model.set).length ? reset : null, make("span", { class: "w-gap" }), cancel, save));
    const dialog = make("dialog", { class: "w-dialog w-model-dialog", id: "model_options", "aria-label": `What ${model.title} is` }, form);
    let answer = null;

    async function keep(options) {
      for (const each of [save, reset]) each.disabled = true;
      problem.hidden = true;
      save.textContent = model.hash ? "Saving …" : "Reading the file …"; // what is set is kept by its hash
      try {
        answer = await ask("/x/model-files", { model: model.name, options });
        dialog.close();
      } catch (error) {
        if (error.status === undefined) throw error;
        problem.textContent = error.message;
        problem.hidden = false;
      } finally {
        for (const each of [save, reset]) each.disabled = false;
        save.textContent = "Save";
      }
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      keep(Object.fromEntries(Object.entries(fields).map(([name, { value }]) => [name, value()]).filter(([, value]) => value !== null)));
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

function choice(title, set, own, known, unset = "What the file says") {
  const chosen = set === null || set === undefined ? "" : String(set);
  const options = [["", own ? `${unset} (${own})` : unset], ...known];
  const select = make("select", {}, ...options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
  const plain = { "": null, true: true, false: false };
  return { block: field(title, select), value: () => (select.value in plain ? plain[select.value] : select.value) };
}

function number(title, set, own, range) {
  const input = make("input", { type: "number", placeholder: own === null || own === undefined ? "not told" : String(own), value: set ?? "", ...range });
  return { block: field(title, input), value: () => (input.value === "" ? null : Number(input.value)) };
}

function field(title, control) {
  control.id = `model_${title.toLowerCase().replaceAll(" ", "_")}`;
  return make("div", { class: "w-field" }, make("label", { for: control.id }, title), control);
}
