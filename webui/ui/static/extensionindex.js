// A list of extensions that somebody publishes: its address is remembered, its entries are searched, and one can be looked at.

import { button, make } from "./dom.js";
import { ask } from "./server.js";

const PATH = "/x/extensions";

/** A fold with a list in it; `choose` is given the entry that a person wants to look at. */
export function search(choose) {
  const address = make("input", { type: "text", id: "extension_index", placeholder: "https://… .json, or a file on this machine", autocomplete: "off", spellcheck: "false" });
  const words = make("input", { type: "search", class: "w-search", id: "extension_words", placeholder: "Search the list", "aria-label": "Search the list", hidden: true });
  const rows = make("ul", { class: "w-index" });
  const said = make("p", { class: "w-aside", role: "status", hidden: true });
  const fold = make("details", { class: "w-fold w-index-fold", id: "extension_list" }, make("summary", {}, "From a list"),
    make("form", { class: "w-index-form", onsubmit: (event) => (event.preventDefault(), read()) },
      make("label", { class: "w-field" }, make("span", {}, "Address of the list"), address),
      make("button", { class: "w-button", id: "extension_read" }, "Read it")),
    words, said, rows);
  let entries = [];

  async function read() {
    said.hidden = false;
    said.textContent = "Reading …";
    try {
      const found = await ask(PATH, { act: "index", address: address.value.trim() });
      address.value = found.address;
      entries = found.entries;
      said.textContent = found.left_out > 0 ? `${found.left_out} entries make no sense and are left out.` : "";
      said.hidden = found.left_out === 0;
    } catch (error) {
      if (error.status === undefined) throw error;
      said.textContent = error.message;
    }
    words.hidden = entries.length === 0;
    draw();
  }

  function draw() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = entries.filter((entry) => wanted.every((word) => `${entry.name} ${entry.description} ${entry.tags.join(" ")}`.toLowerCase().includes(word)));
    rows.replaceChildren(...shown.map((entry) => make("li", { data: { entry: entry.name } },
      make("span", {}, make("b", {}, entry.name), entry.tags.length > 0 ? make("small", {}, ` ${entry.tags.join(", ")}`) : null, make("small", { class: "w-index-text" }, entry.description), make("small", { class: "w-index-text" }, entry.url)),
      button("Look at it", null, () => choose(entry), { "aria-label": `Look at ${entry.name}`, class: "w-slim" }))));
  }

  words.addEventListener("input", draw);
  fold.addEventListener("toggle", () => fold.open && entries.length === 0 && known && read());
  let known = false; // whether an address is remembered
  ask(`${PATH}/index`).then(({ address: last }) => {
    known = last !== "";
    address.value = last;
  }, () => {});
  return fold;
}
