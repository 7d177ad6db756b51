// Help for a control is one press away: a question mark beside its label shows and hides what Gradio calls its info.

import { make } from "./dom.js";

/** Give every control of a tab that is on the page now its question mark; among the settings help is always shown. */
function explain({ controls, task }) {
  const fresh = [];
  for (const parameter of controls.parameters) {
    const block = controls.block(parameter.name);
    const label = block?.querySelector("span[data-testid=block-info]");
    const info = block?.querySelector(".info-text");
    if (!label || !info || block.querySelector(".w-help")) continue;
    info.id = `${task}_${parameter.name}_info`;
    const toggle = () => mark.setAttribute("aria-expanded", String(block.classList.toggle("w-explained")));
    const mark = make("button", {
      type: "button", class: "w-help", "aria-label": `About ${parameter.label}`, "aria-expanded": "false", "aria-controls": info.id, onclick: toggle,
    }, "?");
    block.append(mark); // not into the label: that would make the label the button's instead of the field's
    fresh.push([block, label]);
  }
  const widths = fresh.map(([, label]) => widthOf(label)); // all at once, for measuring after each change takes long
  fresh.forEach(([block], at) => block.style.setProperty("--label", `${widths[at]}px`));
}

function widthOf(label) {
  const range = document.createRange();
  range.selectNodeContents(label);
  return Math.ceil(range.getBoundingClientRect().width);
}

/** Controls in folds come when these are opened, and a tab's when it is. */
export function explained(tab) {
  tab.controls.ready.then(() => new Promise(requestAnimationFrame)).then(() => {
    explain(tab);
    const more = new MutationObserver(() => explain(tab));
    for (const part of ["compose", "start", "settings"]) {
      const column = document.getElementById(`${tab.task}_${part}`);
      if (column) more.observe(column, { childList: true, subtree: true });
    }
  });
}
