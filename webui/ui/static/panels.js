// Panels of extensions at named places of the tabs: each is made when it is first to be seen, a closed fold's when it is opened.

import { icon, make } from "./dom.js";
import { own } from "./extensions.js";
import { page } from "./page.js";

const DETAILS = "picture details";
const { panels } = page.config.extensions;
const open = new Set(); // folds that somebody opened, by what is in them

class Panels extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount > 0) return;
    const { task } = page.tabOf(this);
    this.append(...placed(this.dataset.place, task).map((panel) => node(panel, { task })));
  }
}

/** The panels about a picture that was made in a task's tab. */
page.detailPanels = (picture, task) => placed(DETAILS, task).map((panel) => node(panel, { task, picture: { ...picture } }));

function placed(place, task) {
  return panels.filter((panel) => panel.place === place && panel.tasks.includes(task));
}

function node({ extension, element, title }, given) {
  const inside = make("div", { class: "w-panel-inside" });
  const fill = async () => inside.childElementCount > 0 || inside.append(await own(extension, element, given));
  if (!title) {
    fill();
    return make("div", { class: "w-panel", data: { extension } }, inside);
  }
  const name = `${extension} ${element}`;
  const among = given.picture ? "" : " w-own-fold"; // those between a tab's controls look as its own folds do
  const fold = make("details", { class: `w-fold w-panel${among}`, data: { extension } }, make("summary", {}, icon("next"), title), inside);
  fold.addEventListener("toggle", () => {
    if (fold.open) open.add(name);
    else open.delete(name);
    if (fold.open) fill();
  });
  fold.open = open.has(name);
  return fold;
}

customElements.define("webui-panels", Panels);
if (panels.some(({ place }) => place === DETAILS)) for (const { stage } of Object.values(page.tabs)) stage?.draw();
