// What extensions bring to the page: their JavaScript and styles, loaded once the page can be used, their tabs and panels.

import { make } from "./dom.js";
import { page } from "./page.js";
import { say } from "./say.js";

const { parts } = page.config.extensions;
const loading = new Map(); // by name: a promise of "", or of why it could not be loaded

/** Load the files of an extension, once; resolves to "", or to a sentence that says what went wrong. */
export function loaded(name) {
  if (!loading.has(name)) loading.set(name, load(name, parts[name] ?? { code: [], styles: [] }));
  return loading.get(name);
}

async function load(name, { code, styles }) {
  for (const href of styles) document.head.append(make("link", { rel: "stylesheet", href }));
  try {
    if (code.length > 0) await import("./extension.js"); // what they import as "webui"
    for (const file of code) await import(file);
    return "";
  } catch (error) {
    console.warn(`The JavaScript of the extension ${name} failed.`, error);
    return `The JavaScript of the extension ${name} failed: ${error.message}`;
  }
}

/** An element of an extension's own, set up with `given`; what is wrong is said in its place. */
export async function own(name, element, given = {}) {
  const problem = await loaded(name);
  if (customElements.get(element)) return Object.assign(document.createElement(element), given);
  const why = problem || `The extension ${name} defines no element ${element}, which it names; update it, or tell whoever made it.`;
  return make("p", { class: "w-problem" }, why);
}

/** The place of a tab: what it holds is made when the tab is first opened. */
class ExtensionTab extends HTMLElement {
  async connectedCallback() {
    if (this.dataset.state) return;
    this.dataset.state = "loading";
    const { extension, element } = this.dataset;
    this.append(await own(extension, element));
    this.dataset.state = "ready";
  }
}

/** The place of the Extensions tab, which lists them. */
class ExtensionsTab extends HTMLElement {
  async connectedCallback() {
    if (this.dataset.state) return;
    this.dataset.state = "loading";
    const { ExtensionList } = await import("./extensionlist.js");
    this.append(new ExtensionList().node);
    this.dataset.state = "ready";
  }
}

customElements.define("webui-extension-tab", ExtensionTab);
customElements.define("webui-extensions", ExtensionsTab);

for (const [name, { code, styles }] of Object.entries(parts)) {
  if (code.length + styles.length === 0) continue;
  loaded(name).then((problem) => problem && say(problem, { wrong: true }));
}
