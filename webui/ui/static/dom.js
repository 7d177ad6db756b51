// Makes elements. Text goes in as text, never as markup: what people typed cannot become HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `on…` attributes are listeners, `class` and `aria-…` are as in HTML, booleans switch attributes. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "value") element.value = value;
  else if (name === "data") Object.assign(element.dataset, value);
  else element.setAttribute(name, value === true ? "" : value);
}

/** An icon: strokes on a 24 by 24 field, in the colour of the text around it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "w-icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", STROKES[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon. What it does is its label, shown or not. */
export function button(label, picture, onclick, { shown = true, ...more } = {}) {
  const kind = `w-button${shown ? "" : " w-only-icon"}${more.class ? ` ${more.class}` : ""}`;
  const name = shown ? {} : { "aria-label": label, title: label };
  const parts = [picture ? icon(picture) : null, shown ? make("span", {}, label) : null];
  return make("button", { type: "button", ...more, ...name, class: kind, onclick }, ...parts);
}

const STROKES = {
  account: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5",
  back: "M15 5l-7 7 7 7",
  cancel: "M6 6l12 12M18 6L6 18",
  check: "M5 12.5l5 5L19.5 7",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  full: "M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5",
  gear: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  next: "M9 5l7 7-7 7",
  minus: "M5 12h14",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15.500 9h.01",
  plus: "M5 12h14M12 5v14",
  read: "M19 5L7 17M7 8v9h9",
  redo: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  restore: "M4 5v5h5M4.5 10A8 8 0 1 1 4 14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20",
  seed: "M12 21V11M12 13c-5 0-7-3-7-7 5 0 7 3 7 7zM12 11c0-4 2-6 7-6 0 4-2 6-7 6z",
  share: "M12 15V4M8 8l4-4 4 4M5 13v7h14v-7",
  star: "M12 4l2.5 5.2 5.7.8-4.1 4 1 5.6-5.1-2.7L6.900 19.600l1-5.600-4.100-4 5.700-.8z",
  stop: "M7 7h10v10H7z",
  swap: "M7 20V5M4 8l3-3 3 3M17 4v15M14 16l3 3 3-3",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  up: "M12 19V6M7 10.500l5-5 5 5",
  zip: "M5 7l2-3h10l2 3v13H5zM5 7h14M12 11v6M9.500 14.500l2.500 2.500 2.500-2.500",
};
