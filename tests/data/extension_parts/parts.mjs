// Panels that say where they are, and how often each was made.

import { make } from "webui";

const made = (window.partsMade = {});

for (const name of ["parts-prompt", "parts-picture", "parts-details", "parts-settings"]) {
  customElements.define(name, class extends HTMLElement {
    connectedCallback() {
      made[name] = (made[name] ?? 0) + 1;
      this.replaceChildren(make("span", {}, `${name} in ${this.task}`, this.picture ? ` of ${this.picture.width}` : null));
    }
  });
}
