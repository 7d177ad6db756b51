// The PNG Info tab's place. What it holds is made when the tab is first opened, or when something is sent there.

import { page } from "./page.js";

let place = null; // once the tab was opened
let waiting = null; // what is to be shown then

/** Show {picture}, {file} or {text, name} in the tab; two of them are compared. */
export function inspect(...wanted) {
  waiting = wanted;
  page.show("pnginfo");
  place?.take();
}

/** Files that were dropped or pasted while the tab is looked at; returns whether it is. */
export function inspectsFiles(files) {
  if (!place?.checkVisibility()) return false;
  place.inside?.takeFiles(files);
  return true;
}

class PngInfoTab extends HTMLElement {
  inside = null;

  async connectedCallback() {
    if (this.childElementCount > 0 || place === this) return;
    place = this;
    const { Inspector } = await import("./pnginfo.js");
    this.inside = new Inspector();
    this.append(this.inside.node);
    this.dataset.state = "ready";
    this.take();
  }

  take() {
    if (!this.inside || !waiting) return;
    const wanted = waiting;
    waiting = null;
    this.inside.show(...wanted);
  }
}

customElements.define("webui-pnginfo", PngInfoTab);
