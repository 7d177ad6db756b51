// The pictures that a tab starts from, whether or not the tab was ever opened: what was sent to it is there when it is.

import { ask } from "./server.js";

const PAUSE = 400; // milliseconds without a change before it is kept

/** Where the program has a picture that somebody brought. */
export function inputSource(digest) {
  return `/x/inputs/${encodeURIComponent(digest)}`;
}

/** What is chosen, by name: {url, digest, width, height, name}. Events: "change" {name, by}, where `by` is who changed it. */
export class Inputs extends EventTarget {
  values = {};
  used = new Set(); // digests that jobs were made of
  #timer = null;
  #kept = "{}";
  #settle = null;

  constructor(task, names) {
    super();
    this.task = task;
    this.names = names;
    addEventListener("pagehide", () => this.#keep(true));
  }

  /** What was there when the page was left. */
  begin(kept) {
    for (const [name, { digest, ...facts }] of Object.entries(kept)) {
      this.values[name] = { url: inputSource(digest), digest, ...facts };
      this.#tell(name, null);
    }
    this.#kept = this.#text();
  }

  /** Choose a picture, or none (null); `by` is who says so, and need not hear of it. */
  set(name, value, by = null) {
    if (!this.names.includes(name)) return;
    this.values[name] = value;
    this.#tell(name, by);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(false), PAUSE);
  }

  /** Whoever shows them says how to wait until the program has them all. */
  settleBy(act) {
    this.#settle = act;
  }

  /** The digests by name, once the program has every picture. */
  async settled() {
    await this.#settle?.();
    return this.digests;
  }

  get digests() {
    const chosen = Object.entries(this.values).filter(([, value]) => value?.digest);
    return Object.fromEntries(chosen.map(([name, { digest }]) => [name, digest]));
  }

  #tell(name, by) {
    this.dispatchEvent(new CustomEvent("change", { detail: { name, by } }));
  }

  #text() {
    const chosen = Object.entries(this.values).filter(([, value]) => value?.digest);
    return JSON.stringify(Object.fromEntries(chosen.map(([name, { digest, name: file }]) => [name, { digest, name: file ?? "" }])));
  }

  async #keep(leaving) {
    clearTimeout(this.#timer);
    const text = this.#text();
    if (text === this.#kept) return;
    this.#kept = text;
    try {
      await ask(`/x/state/${this.task}/inputs`, { inputs: JSON.parse(text) }, { keepalive: leaving });
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#kept = "?"; // not kept; the next change tries again
    }
  }
}
