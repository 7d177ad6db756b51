// Each tab has its own place: without this, another tab is shown wherever the one before was scrolled to.

import { page } from "./page.js";

const TABS = "#w-tabs > .tab-wrapper [role=tab]";
const places = new Map();

document.addEventListener("click", (event) => {
  const tab = event.target.closest(TABS);
  const before = document.querySelector(`${TABS}[aria-selected=true]`);
  if (!tab || tab === before) return;
  if (before) places.set(before.id, scrollY);
  const place = () => scrollTo({ top: places.get(tab.id) ?? 0, behavior: "instant" });
  const shown = () => {
    place();
    tab.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" }); // of the bar, on a phone
    page.dispatchEvent(new Event("shown"));
  };
  requestAnimationFrame(() => requestAnimationFrame(shown)); // once Gradio shows it
}, { capture: true });
