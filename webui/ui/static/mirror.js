// What cannot be put into a text field is drawn over it: the same text with the same line breaks, unseen but for what is marked.

import { make } from "./dom.js";

const ALIKE = [
  "font", "letterSpacing", "wordSpacing", "lineHeight", "textAlign", "textIndent", "textTransform", "tabSize", "direction",
  "padding", "borderWidth", "overflowWrap", "wordBreak",
];
const END = "\u200b"; // so that a last empty line has its height

export class Mirror {
  node = make("div", { class: "w-mirror", "aria-hidden": "true" });
  #field;
  #pieces = []; // {start, end, node} in their order

  /** Lie over a text field, whatever becomes of its size and where it is scrolled to. */
  constructor(field) {
    this.#field = field;
    field.after(this.node);
    field.addEventListener("scroll", () => this.#follow(), { passive: true });
    new ResizeObserver(() => this.place()).observe(field);
  }

  /** Show a text with marks, {start, end, name}, that may lie over each other. */
  show(text, marks) {
    const cuts = [...new Set([0, text.length, ...marks.flatMap(({ start, end }) => [start, end])])].sort((one, other) => one - other);
    this.#pieces = cuts.slice(0, -1).map((start, at) => {
      const end = cuts[at + 1];
      const over = marks.filter((mark) => mark.start <= start && mark.end >= end);
      const names = over.flatMap((mark) => [mark.name, mark.first && mark.start === start ? mark.first : null]).filter(Boolean);
      const node = document.createTextNode(text.slice(start, end));
      return { start, end, node, shown: names.length > 0 ? make("span", { class: names.join(" ") }, node) : node };
    });
    const last = document.createTextNode(END);
    this.#pieces.push({ start: text.length, end: text.length, node: last, shown: last });
    this.node.replaceChildren(...this.#pieces.map(({ shown }) => shown));
    this.place();
  }

  /** Where a stretch of the text is on the screen: one rectangle for each line of it. */
  rectangles(start, end) {
    const range = document.createRange();
    range.setStart(...this.#place(start));
    range.setEnd(...this.#place(end));
    return [...range.getClientRects()];
  }

  /** As large as the field, with its text where the field has it. */
  place() {
    const field = this.#field;
    const style = getComputedStyle(field);
    for (const name of ALIKE) this.node.style[name] = style[name];
    const edges = parseFloat(style.borderLeftWidth) + parseFloat(style.borderRightWidth);
    Object.assign(this.node.style, {
      left: `${field.offsetLeft}px`, top: `${field.offsetTop}px`, width: `${field.clientWidth + edges}px`, height: `${field.offsetHeight}px`,
    });
    this.#follow();
  }

  #follow() {
    this.node.scrollTop = this.#field.scrollTop;
  }

  #place(at) {
    const piece = this.#pieces.find(({ end }) => at <= end) ?? this.#pieces.at(-1);
    return [piece.node, Math.min(Math.max(at - piece.start, 0), piece.node.length)];
  }
}

/** Marks of an older text as they lie in a newer one: what was changed loses its marks, the rest keeps them. */
export function moved(marks, before, after) {
  if (before === after) return marks;
  const least = Math.min(before.length, after.length);
  let head = 0;
  while (head < least && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < least - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  const by = after.length - before.length;
  const from = before.length - tail;
  return marks.flatMap((mark) => {
    if (mark.end <= head) return [mark];
    if (mark.start >= from) return [{ ...mark, start: mark.start + by, end: mark.end + by }];
    const inside = mark.start <= head && mark.end >= from;
    return inside && mark.stretches ? [{ ...mark, end: mark.end + by }] : [];
  });
}
