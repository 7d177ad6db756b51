// Many pictures for one place, brought to the program a few at a time; one that cannot be taken does not stop the others.

import { button, make } from "./dom.js";

const AT_ONCE = 3; // uploads under way
const PAUSE = 4000; // milliseconds, where the program asks for patience
const PATIENCE = 30; // such pauses for one file
const TOO_MANY = 429;

export class Pile {
  #owner;
  #node;
  #items = []; // {file, name, url, digest, width, height, error, node}
  #open = 0;
  #waiting = [];
  #settlers = [];

  constructor(owner, node) {
    this.#owner = owner;
    this.#node = node;
  }

  /** What the program has, in order. */
  get value() {
    return this.#items.filter((item) => item.digest).map(({ url, digest, width, height, name }) => ({ url, digest, width, height, name }));
  }

  /** What it would not take: [{name, error}]. */
  get failed() {
    return this.#items.filter((item) => item.error).map(({ name, error }) => ({ name, error }));
  }

  get shown() {
    return this.#items.length;
  }

  get bringing() {
    return this.#open + this.#waiting.length > 0;
  }

  /** Put what the program has already in place of everything. */
  set(values) {
    for (const item of [...this.#items]) this.#drop(item);
    for (const value of values) this.#put({ ...value });
    this.#owner.problem = "";
    this.#owner.changed();
  }

  /** More files. Resolves when all have been brought or refused. */
  add(files) {
    for (const file of files) {
      const item = this.#put({ file, name: file.name, url: URL.createObjectURL(file), digest: null, own: true });
      this.#waiting.push(item);
    }
    this.#owner.changed();
    this.#next();
    return this.settled();
  }

  /** The value when nothing is under way any more. */
  settled() {
    if (!this.bringing) return Promise.resolve(this.value);
    return new Promise((resolve) => this.#settlers.push(resolve));
  }

  #next() {
    while (this.#open < AT_ONCE && this.#waiting.length > 0) {
      this.#open += 1;
      this.#bring(this.#waiting.shift());
    }
    if (this.bringing) return;
    for (const resolve of this.#settlers.splice(0)) resolve(this.value);
  }

  async #bring(item) {
    for (let tried = 0; this.#items.includes(item); tried += 1) {
      try {
        const { digest, width, height } = (await this.#owner.upload?.(item.file)) ?? {};
        Object.assign(item, { digest: digest ?? null, width, height });
        break;
      } catch (error) {
        if (error.status === TOO_MANY && tried < PATIENCE) {
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
          continue;
        }
        item.error = error.message;
        break;
      }
    }
    this.#open -= 1;
    this.#mark(item);
    const { failed } = this;
    this.#owner.problem = failed.length === 0 ? "" : failed.map(({ name, error }) => `${name}: ${error}`).slice(0, 5).join(" ") + (failed.length > 5 ? ` And ${failed.length - 5} more.` : "");
    this.#next();
    this.#owner.changed();
  }

  #put(item) {
    const image = make("img", { src: item.url, alt: item.name, loading: "lazy", decoding: "async", title: item.name });
    const remove = button(`Remove ${item.name}`, "cancel", () => (this.#drop(item), this.#owner.changed()), { shown: false, class: "w-slim" });
    item.node = make("div", { class: "w-pile-item" }, image, remove);
    this.#items.push(item);
    this.#node.append(item.node);
    this.#mark(item);
    return item;
  }

  #mark(item) {
    item.node.dataset.state = item.error ? "refused" : item.digest ? "taken" : "waiting";
    if (item.error) item.node.title = item.error;
  }

  #drop(item) {
    this.#items = this.#items.filter((each) => each !== item);
    this.#waiting = this.#waiting.filter((each) => each !== item);
    item.node.remove();
    if (item.own) URL.revokeObjectURL(item.url);
    if (!this.bringing) this.#next();
  }
}
