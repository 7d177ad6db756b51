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
  alpha: "M4 4h16v16H4zM4 4h8v8H4zM12 12h8v8h-8z",
  back: "M15 5l-7 7 7 7",
  brush: "M20 4c-4 1.500-8 5-10 8.500l2 2C15.500 12.500 18.500 8 20 4zM9 13.500c-2.500 0-3.500 1.500-3.500 3.500 0 1.500-1 2.500-2 3 3 .8 7.500 0 7.500-4z",
  cancel: "M6 6l12 12M18 6L6 18",
  cards: "M4 8.500h11V20H4zM8 8.500V4h12v12h-5",
  check: "M5 12.5l5 5L19.5 7",
  compare: "M4 5h16v14H4zM12 3v18M9.500 10L7.500 12l2 2M14.500 10l2 2-2 2",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  eraser: "M8 19l-4-4L14.500 4.500l5 5L10 19zM8.500 10.500l5 5M8 19h12",
  fill: "M11 4l8 8-7 7-7-7 6.500-6.500M5.500 12h13.500M20.500 15.500c1 1.500 1.500 2.200 1.500 3a1.500 1.500 0 0 1-3 0c0-.8.500-1.500 1.500-3z",
  fit: "M4 5h16v14H4zM8 9h8v6H8z",
  folder: "M3.500 6h6l2 2.500h9V19h-17z",
  full: "M9 4H4v5M15 4h5v5M9 20H4v-5M15 20h5v-5",
  gear: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  hand: "M12 3v18M3 12h18M9.500 5.500L12 3l2.500 2.500M9.500 18.500L12 21l2.500-2.500M5.500 9.500L3 12l2.500 2.500M18.500 9.500L21 12l-2.500 2.500",
  info: "M12 20.500a8.500 8.500 0 1 0 0-17 8.500 8.500 0 0 0 0 17zM12 11v5M12 8h.01",
  invert: "M12 3.500a8.500 8.500 0 1 0 0 17zM12 3.500a8.500 8.500 0 0 1 0 17",
  minus: "M5 12h14",
  next: "M9 5l7 7-7 7",
  piece: "M9 6a2.500 2.500 0 0 1 5 0h5v5a2.500 2.500 0 0 0 0 5v4H5v-4a2.500 2.500 0 0 1 0-5V6z",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15.500 9h.01",
  plus: "M5 12h14M12 5v14",
  read: "M19 5L7 17M7 8v9h9",
  redo: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  restore: "M4 5v5h5M4.5 10A8 8 0 1 1 4 14",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.5 15.5L20 20",
  seed: "M12 21V11M12 13c-5 0-7-3-7-7 5 0 7 3 7 7zM12 11c0-4 2-6 7-6 0 4-2 6-7 6z",
  send: "M4 12h11M11 7.500l4.500 4.500-4.500 4.500M19.500 5v14",
  share: "M12 15V4M8 8l4-4 4 4M5 13v7h14v-7",
  sides: "M4 5h7v14H4zM13 5h7v14h-7z",
  star: "M12 4l2.5 5.2 5.7.8-4.1 4 1 5.6-5.1-2.7L6.900 19.600l1-5.600-4.100-4 5.700-.8z",
  stop: "M7 7h10v10H7z",
  structure: "M12 4l8 4.500v7L12 20l-8-4.500v-7zM4 8.500l8 4.500 8-4.500M12 13v7",
  swap: "M7 20V5M4 8l3-3 3 3M17 4v15M14 16l3 3 3-3",
  text: "M5 6h14M5 10.500h14M5 15h9M5 19.500h6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  wrong: "M12 4l9 16H3zM12 10v4.500M12 17.500h.01",
  up: "M12 19V6M7 10.500l5-5 5 5",
  zip: "M5 7l2-3h10l2 3v13H5zM5 7h14M12 11v6M9.500 14.500l2.500 2.500 2.500-2.500",
};
