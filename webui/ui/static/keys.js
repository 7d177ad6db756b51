// Keys that work wherever the focus is: Ctrl+Enter generates, Alt+Enter skips.

import { page } from "./page.js";

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || document.querySelector("dialog[open]")) return;
  const what = event.ctrlKey || event.metaKey ? "generate" : event.altKey ? "skip" : null;
  const target = what && document.getElementById(`${page.tab.task}_${what}`);
  if (!target || target.offsetParent === null) return; // another tab is shown
  event.preventDefault();
  event.stopPropagation();
  target.click();
}, { capture: true });
