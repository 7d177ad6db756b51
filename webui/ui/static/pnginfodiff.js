// The difference of two pictures' parameters: a row for each, both values beside each other, the words that differ marked.

import { button, make } from "./dom.js";
import { asText, row, tableOf } from "./pnginfotable.js";
import { ask } from "./server.js";
import { differences } from "./worddiff.js";

/** Shows what the program finds out about two texts. */
export class Difference {
  node = make("div", { class: "w-info-difference" });
  #rows = [];
  #turn = 0;
  #folded = false;
  #names = ["A", "B"];

  /** Compare two items of places; null where one is missing. */
  async show(a, b) {
    this.#turn += 1;
    const turn = this.#turn;
    if (!a || !b) return this.#say("Choose two, and what differs is shown here.");
    this.node.dataset.state = "reading";
    this.#names = [a.name, b.name];
    const { rows } = await ask("/x/info/compare", { a: a.info.text, b: b.info.text });
    if (turn !== this.#turn) return undefined;
    this.#rows = rows.filter(({ a: one, b: other }) => one || other); // of prompts that both are without there is nothing to see
    return this.#draw();
  }

  #say(sentence) {
    this.node.dataset.state = "waiting";
    return this.node.replaceChildren(make("p", { class: "w-aside w-info-none" }, sentence));
  }

  #draw() {
    const count = this.#rows.filter((row) => row.differs).length;
    const equal = this.#rows.length - count;
    const shown = this.#folded ? this.#rows.filter((row) => row.differs) : this.#rows;
    this.node.dataset.state = "ready";
    this.node.dataset.differs = String(count);
    if (this.#rows.length === 0) return this.#say("Neither holds parameters.");
    const turn = () => {
      this.#folded = !this.#folded;
      this.#draw();
      this.node.querySelector("[data-act=fold]").focus();
    };
    return this.node.replaceChildren(
      make("div", { class: "w-info-count" },
        make("b", { role: "status" }, count === 0 ? "Nothing differs" : `${count} of ${this.#rows.length} differ`),
        make("span", { class: "w-gap" }),
        equal > 0 && count > 0 ? button(this.#folded ? `Show the ${equal} that are equal` : "Only what differs", null, turn, { class: "w-slim", "aria-pressed": String(this.#folded), data: { act: "fold" } }) : null),
      tableOf({ class: "w-info-table w-info-pair", id: "pnginfo_difference", "aria-label": "What differs" }, shown.map(drawn),
        make("tr", { role: "row" }, ...["Parameter", "A", "B"].map((each, at) => make("th", { role: "columnheader", scope: "col", title: this.#names[at - 1] }, each)))));
  }
}

function drawn({ key, a, b, differs }) {
  const mark = differs ? make("span", { class: "w-info-differs", role: "img", "aria-label": "differs", title: "differs" }, "≠") : null;
  return row([mark, key], cells(a, b, differs), { data: { key, differs: String(differs) } });
}

/** What stands in both cells: texts, and marked pieces of them. */
function cells(a, b, differs) {
  if (a === null || b === null) return [a, b].map((value) => [value === null ? make("i", { class: "w-info-lacks" }, "not said") : make("mark", {}, asText(value))]);
  const texts = [asText(a), asText(b)];
  if (!differs) return texts.map((text) => [text]);
  return differences(...texts).map((pieces) => pieces.map(({ text, differs: marked }) => (marked ? make("mark", {}, text) : text)));
}
