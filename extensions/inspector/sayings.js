// What the inspector says, for who wants to see it and for who teaches it, and rows of buttons of which one is pressed.

import { make } from "webui";

export const KINDS = {
  noisy: ["Input", "What the model is given: the picture so far with the noise that is left. It gets to see no more than this, and the words."],
  noise: ["Noise", "What the model takes to be noise in it. A part of this is taken away; what is left goes into the next step."],
  clean: ["Guess", "The finished picture as the model imagines it now: what would be left if all the noise were taken away at once."],
  done: ["Result", "The finished picture, after the last step."],
};
export const SAYINGS = {
  intro: "A picture begins as noise. In each step the model says what in it is noise, and some of that is taken away. Here you can watch it do so.",
  words: "Choose words to see where the model looks for them: the hotter a place, the more of its attention goes to the words there.",
  guidance: "How differently the model sees the noise with your prompt than without it. Guidance multiplies this difference by its scale; 0 % would mean that the prompt says nothing.",
  schedule: "How much noise is left before each step, against a picture of strength 1. First the large shapes are settled, then the details.",
  none: "Of this picture nothing was taken down. It can be made once more with its own settings, and be watched: the same picture comes out.",
  how: "To watch pictures while they are made, tick Inspect in the fold Inspector of a tab that makes pictures.",
};

export function passName({ second, width, height }, index) {
  return `${second ? "Second pass" : index === 0 ? "First pass" : `Pass ${index + 1}`}, ${width} × ${height}`;
}

export function factsOf({ sampler, schedule, steps, scale, prediction, latent: [height, width] }) {
  const says = prediction === "v" ? "a mixture of noise and picture (v)" : "the noise (epsilon)";
  return `Sampler ${sampler}, schedule ${schedule}, ${steps} steps, scale ${number(scale)}. The model works on ${width} × ${height} cells, and was taught to predict ${says}.`;
}

/** Buttons of which one is pressed: [[name, label]]. */
export function segments(label, choices, chosen, act) {
  return make("div", { class: "w-segments in-segments", role: "group", "aria-label": label }, ...choices.map(([name, words]) =>
    make("button", { type: "button", "aria-pressed": String(name === chosen), data: { name, keep: `${label} ${name}` }, onclick: () => act(name) }, words)));
}

export function choose(row, chosen) {
  for (const each of row.children) each.setAttribute("aria-pressed", String(each.dataset.name === chosen));
}

export function number(value) {
  return String(Number(value.toPrecision(3)));
}

export function percent(part) {
  return `${Number((part * 100).toPrecision(part < 0.1 ? 2 : 3))} %`;
}
