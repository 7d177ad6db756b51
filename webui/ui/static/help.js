// Help for a control is one press away: a question mark beside its label shows and hides what Gradio calls its info.

import { make } from "./dom.js";
import { page } from "./page.js";

const AREA = "txt2img"; // among the settings help is always shown

/** Give every control that is on the page now its question mark; controls in folds come when these are opened. */
function explain() {
  for (const parameter of page.controls[AREA].parameters) {
    const block = page.controls[AREA].block(parameter.name);
    const label = block?.querySelector("span[data-testid=block-info]");
    const info = block?.querySelector(".info-text");
    if (!label || !info || block.querySelector(".w-help")) continue;
    info.id = `${AREA}_${parameter.name}_info`;
    const toggle = () => mark.setAttribute("aria-expanded", String(block.classList.toggle("w-explained")));
    const mark = make("button", {
      type: "button", class: "w-help", "aria-label": `About ${parameter.label}`, "aria-expanded": "false", "aria-controls": info.id, onclick: toggle,
    }, "?");
    block.append(mark); // not into the label: that would make the label the button's instead of the field's
    block.style.setProperty("--label", `${widthOf(label)}px`);
  }
}

function widthOf(label) {
  const range = document.createRange();
  range.selectNodeContents(label);
  return Math.ceil(range.getBoundingClientRect().width);
}

page.controls[AREA].ready.then(() => {
  explain();
  const folds = new MutationObserver(explain);
  for (const fold of document.querySelectorAll(`#${AREA} .gr-accordion`)) folds.observe(fold, { childList: true, subtree: true });
});
