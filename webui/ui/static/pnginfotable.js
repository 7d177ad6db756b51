// What is known of one picture, to be read: where its parameters come from, they themselves, the text they stand in, what else the file holds.

import { copy } from "./clipboard.js";
import { button, icon, make } from "./dom.js";
import { nameless } from "./info.js";

const LONG = 120; // characters of a value that takes the whole width on a phone

/** Everything that is said of an item of a place. */
export function known(item) {
  const { info } = item;
  return [
    facts(item),
    info.text || info.values.length > 0 ? parameters(info) : make("p", { class: "w-info-none" }, nothing(item)),
    nameless(info).length > 0 ? left(info) : null,
    info.text ? fold("Parameters as text", info.text, { open: info.values.length === 0, id: "pnginfo_raw" }) : null,
    ...others(info).map(([name, text]) => fold(name, text, { chunk: name })),
  ];
}

/** The texts of the file that are not shown already. */
function others(info) {
  return Object.entries(info.chunks).filter(([, text]) => asText(text) !== info.text);
}

/** A size in bytes as people read it. */
export function size(bytes) {
  if (bytes === null) return "";
  const [per, unit] = [[1e6, "MB"], [1e3, "kB"], [1, "bytes"]].find(([each]) => bytes >= each) ?? [1, "bytes"];
  return `${(bytes / per).toFixed(unit === "MB" ? 1 : 0)} ${unit}`;
}

/** A value as text. */
export function asText(value) {
  return value === null || value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
}

function facts({ info, width, height, bytes }) {
  const shape = width ? `${width} × ${height}` : "";
  const made = info.source ? `Parameters: ${info.source}` : "";
  const parts = [info.format, shape, size(bytes), made, info.task && `made in ${info.task}`].filter(Boolean);
  return make("ul", { class: "w-info-facts", "aria-label": "The file" }, ...parts.map((each) => make("li", {}, each)));
}

function nothing({ info }) {
  const more = others(info).length > 0 ? " What else the file holds is below." : "";
  return `It holds no parameters: whoever saved it left them out, or they were lost on the way.${more}`;
}

function parameters(info) {
  const rows = [["Prompt", info.prompt || "(empty)"], ...(info.negative ? [["Negative prompt", info.negative]] : []), ...info.values];
  return table("Parameters", rows, "pnginfo_table", new Set(Object.keys(info.unmapped)));
}

function left(info) {
  const rows = nameless(info);
  return make("section", { class: "w-info-unmapped", "aria-labelledby": "pnginfo_unmapped" },
    make("h3", { id: "pnginfo_unmapped" }, "Without a place among the parameters"),
    make("p", { class: "w-aside" }, "It is kept as it was written; no tab can take it over."),
    table("Without a place", rows, "pnginfo_left"));
}

function table(caption, rows, id, without = new Set()) {
  const body = rows.map(([name, value]) => {
    const text = asText(value);
    const mark = without.has(name) ? [make("span", { class: "w-mark", title: "It cannot be taken over" }, "no control here")] : [];
    return row([name], [[text, ...mark]], { class: text.length > LONG ? "w-long" : "", data: { key: name } });
  });
  return tableOf({ class: "w-info-table", id, "aria-label": caption }, body);
}

/** A table and its rows, whose meaning is said in so many words: where rows are laid out as grids, a browser forgets it. */
export function tableOf(attributes, body, head = null) {
  const rows = (tag, inside) => make(tag, { role: "rowgroup" }, ...inside);
  return make("table", { role: "table", ...attributes }, head ? rows("thead", [head]) : null, rows("tbody", body));
}

/** A row: its name, and what stands in its cells. */
export function row(name, cells, attributes) {
  return make("tr", { role: "row", ...attributes }, make("th", { role: "rowheader", scope: "row" }, ...name), ...cells.map((inside) => make("td", { role: "cell" }, ...inside)));
}

function fold(title, value, { open = false, id = null, chunk = null } = {}) {
  const text = asText(value);
  const copied = () => copy(text, `${chunk ?? "The text"} is copied.`);
  return make("details", { class: "w-fold w-info-fold", open, id, data: chunk ? { chunk } : {} },
    make("summary", {}, icon("next"), title, make("small", {}, `${text.length.toLocaleString()} characters`)),
    make("div", { class: "w-info-text" },
      button(`Copy: ${title}`, "copy", copied, { shown: false, class: "w-slim", data: { act: "copy" }, title: "Copy" }),
      make("pre", { tabindex: "0" }, text)));
}
