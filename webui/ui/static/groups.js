// This person's groups of jobs, such as plots: looked up, followed while they are open, ended and gone on with.

import { page } from "./page.js";
import { OPEN, Plot, made } from "./plot.js";
import { say, tell, tried } from "./say.js";
import { ask } from "./server.js";

const PAUSE = 250; // milliseconds between two looks at a group whose jobs end one after the other

/** A group as a stage shows it. Events: "change". */
export class Group extends EventTarget {
  known = null; // as the program tells it
  node;
  #plot;
  #looking = null;
  #again = false;

  constructor(id) {
    super();
    this.id = id;
    this.#plot = new Plot(this);
    this.node = this.#plot.node;
  }

  get open() {
    return this.known === null || OPEN.has(this.known.state);
  }

  get state() {
    return this.known?.state ?? "waiting";
  }

  get fraction() {
    return this.known && this.known.of > 0 ? this.known.done / this.known.of : 0;
  }

  /** What a stage says above it. */
  get words() {
    if (!this.known) return { text: "", wrong: false };
    const { script, state, sentence, done, of } = this.known;
    const texts = {
      running: `${script}: ${done} of ${of} done`,
      drawing: `${script}: drawing the grid`,
      done: `${script}: ${of} ${of === 1 ? "picture" : "pictures"}`,
      cancelled: `${script}: cancelled after ${made(this.known)} of ${of}`,
      failed: `${script}: ${sentence || "it failed."}`,
    };
    return { text: texts[state] ?? `${script}: ${state}`, wrong: state === "failed" };
  }

  /** Look how far it is; what is asked for meanwhile is one more look, a little later. */
  async look() {
    this.#again = this.#looking !== null;
    this.#looking ??= this.#ask();
    await this.#looking;
  }

  cancel() {
    return this.#act("cancel");
  }

  async resume() {
    if (await this.#act("resume")) page.stream.announce();
  }

  async #act(what) {
    const done = await tried(() => ask(`/x/groups/${encodeURIComponent(this.id)}/${what}`, {}));
    await this.look();
    return done !== null;
  }

  async #ask() {
    const before = this.known?.state;
    try {
      this.known = await ask(`/x/groups/${encodeURIComponent(this.id)}`);
    } catch (error) {
      if (error.status === undefined) throw error;
      if (error.status !== 0 && !this.known) throw error; // the next event looks again
    } finally {
      this.#looking = null;
    }
    this.#plot.draw();
    this.dispatchEvent(new Event("change"));
    if (before && OPEN.has(before) && !this.open) this.#ended();
    if (this.#again) setTimeout(() => this.look(), PAUSE);
    this.#again = false;
  }

  #ended() {
    const { state, grid } = this.known;
    if (state === "failed") say(this.words.text, { wrong: true });
    else tell(`${this.words.text}.`);
    if (grid) page.pictures.announce("made", [grid]);
  }
}

/** All groups. Events: "change" when something was heard of any. */
class Groups extends EventTarget {
  #known = new Map();

  constructor() {
    super();
    const follow = () => this.#known.forEach((group) => group.open && group.look());
    page.stream.addEventListener("message", ({ detail }) => detail.kind === "group" && this.#heard(detail));
    page.stream.addEventListener("opened", follow);
    page.stream.addEventListener("idle", follow);
    page.jobs.addEventListener("change", ({ detail: { kind } }) => ["picture", "started"].includes(kind) && follow());
  }

  /** The newest first, without their cells. */
  async list() {
    const { groups } = await ask("/x/groups");
    return groups;
  }

  /** A group, looked up. */
  async get(id) {
    if (!this.#known.has(id)) this.#known.set(id, new Group(id));
    const group = this.#known.get(id);
    await group.look();
    return group;
  }

  /** What was begun elsewhere is shown too, where nothing else is looked at. */
  async #heard({ group: id, state }) {
    this.dispatchEvent(new Event("change"));
    if (this.#known.has(id)) return this.#known.get(id).look();
    if (!OPEN.has(state)) return undefined;
    const group = await this.get(id);
    return page.tabs[group.known.kind]?.withStage((stage) => stage.free && stage.showGroup(group));
  }
}

export const groups = new Groups();
