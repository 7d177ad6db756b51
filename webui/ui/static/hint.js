// What is seen before the first picture: what the model can draw, with something to try, and where other models go.

import { make } from "./dom.js";

export function hint(page, tab) {
  const own = page.hint.tasks[tab.task];
  if (own) return make("div", { class: "w-hint" }, make("h2", {}, own.title), make("p", {}, own.text));
  const { hint: words } = page;
  const examples = words.examples.map((prompt) =>
    make("button", { type: "button", class: "w-example", onclick: () => tab.tryOut(prompt) }, prompt));
  return make("div", { class: "w-hint" },
    make("h2", {}, words.title),
    make("p", {}, words.text),
    examples.length ? make("div", { class: "w-examples" }, ...examples) : null,
    make("p", { class: "w-aside" }, words.models),
  );
}
