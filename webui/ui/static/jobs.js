// This person's open jobs as the page knows them: views and events from the stream, folded into one object per job.

import { ask } from "./server.js";

/** Events: "change" with {job, kind, event} whenever a job is not as it was; "lost", "found" and "idle" about the stream. */
export class Jobs extends EventTarget {
  open = new Map(); // by id, in the order in which they run
  #stream;
  #ended = new Set(); // ids
  #past = new Map(); // the last that ended, by id
  #unseen = new Set(); // jobs that a new connection has not told of yet

  constructor(stream) {
    super();
    this.#stream = stream;
    stream.addEventListener("opened", () => {
      this.#unseen = new Set(this.open.keys());
      this.dispatchEvent(new Event("found"));
    });
    stream.addEventListener("lost", () => this.dispatchEvent(new Event("lost")));
    stream.addEventListener("message", ({ detail }) => this.#take(detail));
    stream.addEventListener("idle", () => {
      for (const job of this.open.values()) this.#catchUp(job);
      this.dispatchEvent(new Event("idle"));
    });
  }

  /** Queue a job; it is known at once, before anything is heard of it. */
  async submit(kind, parameters, styles = [], inputs = {}) {
    const { job } = await ask("/x/jobs", { kind, parameters, styles, inputs });
    this.#expect(job, { task: kind, inputs, prompt: parameters.prompt ?? "", pictures: parameters.count ?? 1 });
    return job;
  }

  /** Queue the request of a job once more. */
  async retry({ id, task, inputs, prompt, pictures }) {
    const { job } = await ask(`/x/jobs/${encodeURIComponent(id)}/retry`, {});
    this.#expect(job, { task, inputs, prompt, pictures });
  }

  /** The job with that id, once it has ended, whatever came of it. */
  ended(id) {
    return new Promise((resolve) => {
      const look = ({ detail: { job } }) => {
        if (job.id !== id || !job.ended) return;
        this.removeEventListener("change", look);
        resolve(job);
      };
      this.addEventListener("change", look);
      const done = this.#past.get(id);
      if (done) look({ detail: { job: done } });
    });
  }

  /** Interrupt, skip, cancel or move a job. */
  async act(id, what, body = {}) {
    const answer = await ask(`/x/jobs/${encodeURIComponent(id)}/${what}`, body);
    this.#stream.announce();
    return answer;
  }

  #expect(id, facts) {
    if (!this.#ended.has(id)) {
      const job = this.open.get(id) ?? this.#add(id);
      Object.assign(job, facts);
      this.#tell(job, "submitted");
    }
    this.#stream.announce();
  }

  #take(event) {
    if (event.kind === "view") return this.#view(event);
    if (event.kind === "group") return undefined; // of no single job; see groups.js
    this.#forget(); // the views come first, so what they left out has ended
    if (this.#ended.has(event.job)) return undefined;
    const job = this.open.get(event.job) ?? this.#add(event.job);
    if (!job.known && event.number) this.#lookUp(job);
    if (event.number && event.number <= job.last) return undefined;
    job.last = event.number || job.last;
    fold(job, event);
    if (ENDS.has(event.kind)) return this.#end(job, event.kind);
    return this.#tell(job, event.kind, event);
  }

  #view(view) {
    this.#unseen.delete(view.job);
    const job = this.open.get(view.job) ?? this.#add(view.job);
    const { kind: _, ...facts } = view;
    Object.assign(job, { ...facts, known: true });
    if (view.step !== null && view.step !== undefined) seen(job.cell(view.picture ?? 0), view);
    this.#tell(job, "view", view);
  }

  /** A job that was submitted after the stream was opened: its events do not say what it is. */
  async #lookUp(job) {
    job.known = true;
    const { jobs } = await ask("/x/jobs").catch(() => ({ jobs: [] }));
    const view = jobs.find((each) => each.job === job.id);
    if (!view || job.ended) return;
    const { kind: task, inputs, prompt, pictures, created, again, group } = view;
    Object.assign(job, { task, inputs, prompt, pictures, created, again, group });
    this.#tell(job, "view", view);
  }

  #add(id) {
    const job = new Job(id);
    this.open.set(id, job);
    return job;
  }

  #end(job, kind) {
    job.ended = kind;
    this.#ended.add(job.id);
    this.#past.set(job.id, job);
    if (this.#past.size > MOST_PAST) this.#past.delete(this.#past.keys().next().value);
    this.open.delete(job.id);
    this.#tell(job, kind);
  }

  #forget() {
    const ended = [...this.#unseen].map((id) => this.open.get(id)).filter(Boolean);
    this.#unseen.clear();
    for (const job of ended) this.#catchUp(job);
  }

  /** A job ended while nobody listened, or before anybody could: what became of it is looked up. */
  async #catchUp(job) {
    const answer = await ask(`/x/jobs/${encodeURIComponent(job.id)}/events?after=${job.last}`).catch(() => null);
    for (const event of answer?.events ?? []) if (this.open.has(job.id)) this.#take(event);
    if (answer && this.open.has(job.id) && !job.cells.some((cell) => cell.state === "drawing")) this.#end(job, "gone");
  }

  #tell(job, kind, event = {}) {
    this.dispatchEvent(new CustomEvent("change", { detail: { job, kind, event } }));
  }
}

const MOST_PAST = 50;
const ENDS = new Set(["finished", "interrupted", "cancelled", "failed"]);

class Job {
  task = ""; // until it is known
  inputs = {};
  group = ""; // the group it belongs to, such as a plot
  state = "queued";
  pictures = 1;
  prompt = "";
  position = null;
  seconds_left = null;
  last = 0;
  ended = "";
  sentence = "";
  cells = [];

  constructor(id) {
    this.id = id;
  }

  /** What is known of one picture of the job: {state, step, steps, sequence, id}. */
  cell(place) {
    while (this.cells.length <= place) this.cells.push({ state: "waiting", step: 0, steps: null, sequence: 0 });
    return this.cells[place];
  }

  /** How much of the work is done, from 0 to 1. */
  get fraction() {
    const parts = this.cells.map((cell) => (SETTLED.has(cell.state) ? 1 : cell.steps ? cell.step / cell.steps : 0));
    const settled = this.cells.filter((cell) => SETTLED.has(cell.state)).length;
    const unknown = Math.max((this.done ?? 0) - settled, 0); // finished before this page was opened
    return Math.min((parts.reduce((sum, part) => sum + part, 0) + unknown) / this.pictures, 1);
  }
}

const SETTLED = new Set(["done", "skipped"]);

function drawn({ step, steps }) {
  return { state: "drawing", step, steps };
}

/** A picture was being drawn before this page heard of it: its newest preview is shown until the next one comes. */
function seen(cell, view) {
  if (!SETTLED.has(cell.state)) Object.assign(cell, drawn(view), { sequence: cell.sequence || "newest" });
}

const FOLDS = {
  queued: (job, event) => Object.assign(job, { state: "queued", position: event.ahead, seconds_left: event.seconds_left ?? null }),
  requeued: (job, event) => Object.assign(job, { state: "queued", again: true, sentence: event.sentence }),
  started: (job, event) => Object.assign(job, { state: "running", position: 0, pictures: event.pictures }),
  reading: (job, event) => Object.assign(job, { reading: event.sentence }), // of its model's file, before anything is drawn
  progress(job, event) {
    Object.assign(job, { state: "running", position: 0, seconds_left: event.seconds_left });
    Object.assign(job.cell(event.picture), drawn(event));
  },
  preview(job, event) {
    const cell = job.cell(event.picture);
    if (!SETTLED.has(cell.state)) Object.assign(cell, { state: "drawing", sequence: event.sequence });
  },
  picture(job, event) {
    const { picture, id, width, height, seed, interrupted } = event;
    Object.assign(job.cell(picture), { state: "done", id, width, height, seed, interrupted });
  },
  skipped: (job, event) => Object.assign(job.cell(event.picture), { state: "skipped" }),
  map: (job, { digest, width, height }) => Object.assign(job, { map: { digest, width, height } }),
  notice: (job, event) => Object.assign(job, { sentence: event.sentence }),
  failed: (job, event) => Object.assign(job, { sentence: event.sentence, error: event.error }),
};

function fold(job, event) {
  FOLDS[event.kind]?.(job, event);
}
