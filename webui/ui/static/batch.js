// Many pictures, one job each: handed in as the program takes them, counted, and what went wrong said at the end.

import { button, make } from "./dom.js";
import { page } from "./page.js";
import { say } from "./say.js";

const AT_ONCE = 2; // jobs of a batch that are open, so that others get their turn and stopping is quick
const MOST_NAMED = 8; // pictures that are named in the summary
const TOO_MANY = 429;

export class Batch {
  node = make("div", { class: "w-batch", hidden: true });
  #tab;
  #said = make("span", { role: "status" });
  #bar = make("progress", { "aria-label": "Pictures done" });
  #stop = button("Stop", "stop", () => this.stop(), { class: "w-slim", data: { act: "stop-batch" }, title: "Hand in no more; what runs is finished" });
  #summary = make("div", { class: "w-batch-summary", hidden: true });
  #running = false;
  #ending = false;

  constructor(tab) {
    this.#tab = tab;
    this.node.append(make("div", { class: "w-batch-line" }, this.#said, this.#stop), this.#bar, this.#summary);
    addEventListener("beforeunload", (event) => this.#running && event.preventDefault()); // what was not handed in yet would be lost
  }

  get running() {
    return this.#running;
  }

  stop() {
    this.#ending = true;
  }

  /** Make a job of each picture. `refused` are files that the program would not take, {name, error}. */
  async run(pictures, refused = []) {
    if (this.#running) return;
    Object.assign(this.node, { hidden: false });
    this.#running = true;
    this.#ending = false;
    this.#summary.hidden = true;
    const failed = refused.map(({ name, error }) => ({ name, why: error }));
    const count = { all: pictures.length, done: 0, made: 0 };
    const open = new Set();
    this.#draw(count);
    const settle = (name, why) => {
      count.done += 1;
      if (why) failed.push({ name, why });
      else count.made += 1;
      this.#draw(count);
    };
    for (const picture of pictures) {
      while (open.size >= AT_ONCE) await Promise.race(open);
      if (this.#ending) break;
      const one = this.#one(picture, open).then((why) => {
        open.delete(one);
        settle(picture.name, why);
      });
      open.add(one);
      await Promise.race([one, new Promise((resolve) => setTimeout(resolve))]); // handed in, in order
    }
    await Promise.all(open);
    this.#running = false;
    this.#end(count, failed);
  }

  /** Hand in one picture and wait for what comes of it; returns why nothing did, "" where it is there. */
  async #one({ digest }, open) {
    for (;;) {
      try {
        const id = await this.#tab.submit({ picture: digest });
        const job = await page.jobs.ended(id);
        if (job.ended === "failed") return job.sentence || "It failed.";
        return job.ended === "cancelled" ? "It was cancelled." : "";
      } catch (error) {
        if (error.status === undefined) throw error;
        if (error.status !== TOO_MANY) return error.message;
        await waited(open);
      }
    }
  }

  #draw({ all, done, made }) {
    this.#stop.hidden = !this.#running;
    this.#bar.hidden = !this.#running;
    this.#bar.max = Math.max(all, 1);
    this.#bar.value = done;
    this.#said.textContent = this.#running ? `${done} of ${all} done` : `${made} of ${all} made`;
    this.node.dataset.state = this.#running ? "running" : "ended";
    this.node.dataset.done = String(done);
  }

  #end(count, failed) {
    this.#draw(count);
    const left = count.all - count.done;
    const parts = [`${count.made} of ${count.all + failed.length - (count.done - count.made)} pictures were made.`];
    if (left > 0) parts.push(`${left} were not begun.`);
    this.#said.textContent = parts.join(" ");
    this.#summary.hidden = failed.length === 0;
    const rows = failed.slice(0, MOST_NAMED).map(({ name, why }) => make("li", {}, make("b", {}, name), ` ${why}`));
    const more = failed.length - rows.length;
    this.#summary.replaceChildren(
      make("p", { class: "w-problem" }, failed.length === 1 ? "One could not be:" : `${failed.length} could not be:`),
      make("ul", {}, ...rows, more > 0 ? make("li", {}, `and ${more} more`) : null));
    say(parts.join(" "), { wrong: failed.length > 0 });
  }
}

/** Until another job of the batch has ended, or a while, where those of others are in the way. */
function waited(open) {
  return Promise.race([...open, new Promise((resolve) => setTimeout(resolve, 1500))]);
}
