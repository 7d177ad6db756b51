// Extensions come and go while the page is open: what can be chosen is looked up at once, and for the rest a reload is offered.

import { page } from "./page.js";
import { say } from "./say.js";
import { ask, heard } from "./server.js";

const CHANNEL = "webui-extensions";
const others = new BroadcastChannel(CHANNEL);
const [layout, first] = page.config.extensions.marks.split(".");
let choices = first;
let offered = ""; // the layout that a reload was offered for
let note = null;

heard.addEventListener("page", ({ detail }) => {
  const [newest, chosen] = detail.split(".");
  if (chosen !== choices) {
    choices = chosen;
    lookUp();
  }
  if (newest === layout) note = note?.remove() ?? null; // it is as it was again
  else if (newest !== offered) offer();
  offered = newest === layout ? "" : newest;
});

others.onmessage = look;
document.addEventListener("visibilitychange", () => document.hidden || look());

/** Extensions were changed here: other tabs of this browser hear of it too. */
export function announce() {
  others.postMessage("look");
}

/** Load the page again; what is set in its controls is kept. */
export function reload() {
  location.reload();
}

/** Ask which page is served now; the answer says it. */
function look() {
  ask("/x/page").catch(() => {}); // who is away hears of it later
}

function offer() {
  note?.remove();
  note = say("Extensions have changed: load the page again to see it as it is now. What you have set stays.", { undo: { label: "Reload", act: reload }, stays: true });
  note.id = "w-reload";
}

async function lookUp() {
  const found = await ask("/x/models").catch(() => null);
  if (found) page.dispatchEvent(new CustomEvent("models", { detail: found }));
}
