// Where a job is seen: its previews while it runs, then its pictures, what they were made with and what can be done with them.

import { Cells } from "./cells.js";
import { actionBar, parameterFold } from "./details.js";
import { button, make } from "./dom.js";
import { explained } from "./help.js";
import { hint } from "./hint.js";
import { page } from "./page.js";
import { Pair } from "./pair.js";
import { jobSource } from "./sources.js";
import { status } from "./status.js";
import { Strip } from "./strip.js";
import { tell, tried } from "./say.js";

const LINGER = 2500; // milliseconds that a finished job is looked at before the next one that runs is shown

class Stage extends HTMLElement {
  job = null; // of jobs.js while it is open, else {id, cells, ended}
  selected = 0;
  #group = null; // of groups.js, while it is shown instead of a single job
  #open = true; // the fold with the parameters
  #timer = null; // runs while a job that just ended is looked at
  #pinned = false; // whether this person chose what is shown
  #lost = false;
  #tab = null;
  #pair = null;
  #cells = new Cells((place) => this.pick(place));
  #strip = null;
  #head = make("div", { class: "w-stage-head" });
  #bar = make("div", { class: "w-bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0", "aria-valuemax": "100" }, make("i"));
  #canvas = make("div", { class: "w-canvas" });
  #below = make("div", { class: "w-below" });

  connectedCallback() {
    if (this.isConnected && this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    this.#pair = new Pair(this.#tab.task === "depth");
    this.#strip = new Strip(this.#tab, (picture) => this.showPicture(picture, true));
    this.append(this.#head, this.#bar, this.#canvas, this.#strip.node, this.#below);
    const { jobs, pictures } = page;
    jobs.addEventListener("change", ({ detail }) => this.#changed(detail));
    jobs.addEventListener("lost", () => this.#connection(true));
    jobs.addEventListener("found", () => this.#connection(false));
    jobs.addEventListener("idle", () => this.#connection(false));
    pictures.addEventListener("change", ({ detail }) => this.#touched(detail));
    page.addEventListener("shown", () => this.#tab.shown && this.draw());
    explained(this.#tab);
    this.draw();
    this.#begin();
    this.#tab.controls.open();
    this.#tab.arrive(this);
  }

  /** This person asked for something new: it is shown as soon as it is heard of. */
  release() {
    this.#linger(false);
    this.#group = null;
    this.#pinned = false;
  }

  /** Show an open job. */
  showJob(job) {
    this.release();
    this.job = job;
    this.selected = 0;
    this.draw();
    if (job.done > 0) this.#look();
  }

  /** Show a group of jobs, such as a plot, until somebody chooses something else. */
  showGroup(group) {
    this.#linger(false);
    if (this.#group !== group) group.addEventListener("change", () => this.#group === group && this.draw());
    this.#group = group;
    this.draw();
  }

  /** Show a finished picture among its siblings; `pinned`, nothing takes its place by itself. */
  async showPicture(picture, pinned = false) {
    this.#linger(false);
    this.#group = null;
    this.#pinned = pinned;
    if (picture.job && picture.job === this.job?.id) {
      this.selected = Math.max(this.job.cells.findIndex((cell) => (cell.picture?.id ?? cell.id) === picture.id), 0);
      return this.draw();
    }
    const found = picture.job ? await tried(() => page.pictures.search({ job: picture.job, limit: 100 })) : null;
    const siblings = inOrder(found?.pictures.length ? found.pictures : [picture]);
    this.job = page.jobs.open.get(picture.job) ?? past(picture, siblings);
    fillIn(this.job, siblings);
    this.selected = Math.max(this.job.cells.findIndex((cell) => cell.picture?.id === picture.id), 0);
    return this.draw();
  }

  /** Choose one of several pictures; the one that is chosen already opens in full view. */
  pick(place) {
    const cell = this.job.cells[place];
    if (cell?.picture && (place === this.selected || this.job.cells.length === 1)) return this.openViewer();
    this.selected = place;
    this.draw();
    return this.#cells.focus(place);
  }

  openViewer() {
    const shown = this.job.cells.map((cell) => cell.picture).filter(Boolean);
    page.viewer.open(jobSource(shown), Math.max(shown.indexOf(this.picture), 0));
  }

  /** Whether something new may take its place. */
  get free() {
    return !this.#group && (!this.job || Boolean(this.job.ended && !this.#pinned && !this.#timer));
  }

  get picture() {
    return this.job?.cells[this.selected]?.picture ?? null;
  }

  draw() {
    if (this.#group) return this.#drawGroup(this.#group);
    const { job } = this;
    const words = status(job, this.#lost);
    this.dataset.job = job?.id ?? "";
    this.dataset.state = job ? job.ended || job.state : "empty";
    delete this.dataset.group;
    this.#head.replaceChildren(this.#headline(words), ...this.#offers(job));
    const percent = job && !job.ended ? Math.round(job.fraction * 100) : 0;
    this.#bar.style.setProperty("--done", String(percent / 100));
    this.#bar.setAttribute("aria-valuenow", String(percent));
    this.#bar.setAttribute("aria-valuetext", words.text);
    this.#bar.dataset.state = job && !job.ended ? job.state : "idle";
    this.#bar.classList.toggle("w-unknown", Boolean(job && !job.ended && job.state === "running" && percent === 0));
    this.#drawCells(job);
    this.#drawBelow();
    this.#strip.mark(this.picture?.id ?? null);
    return page.drawn();
  }

  #drawGroup(group) {
    const { text, wrong } = this.#lost ? status(null, true) : group.words;
    const percent = Math.round(group.fraction * 100);
    Object.assign(this.dataset, { group: group.id, state: group.state, job: "" });
    this.#head.replaceChildren(make("span", { class: wrong ? "w-status w-wrong" : "w-status" }, text));
    this.#bar.style.setProperty("--done", String(percent / 100));
    this.#bar.setAttribute("aria-valuenow", String(percent));
    this.#bar.setAttribute("aria-valuetext", text);
    this.#bar.dataset.state = group.open ? "running" : "idle";
    this.#bar.classList.toggle("w-unknown", group.open && percent === 0);
    if (!group.node.isConnected) this.#canvas.replaceChildren(group.node);
    this.#below.replaceChildren();
    delete this.#below.dataset.key;
    this.#strip.mark(null);
    page.drawn();
  }

  #drawCells(job) {
    if (!job) {
      if (!this.#canvas.querySelector(".w-hint")) this.#canvas.replaceChildren(hint(page, this.#tab));
      return;
    }
    if (!this.#tab.shown) return; // drawn when it is looked at
    if (this.#pair.draws(job, this.selected, this.#canvas)) return;
    if (!this.#cells.node.isConnected) this.#canvas.replaceChildren(this.#cells.node);
    const least = job.ended ? job.cells.length : Math.max(job.pictures, job.cells.length);
    const cells = Array.from({ length: least }, (_, place) => job.cells[place] ?? { state: "waiting" });
    this.#cells.show(job.id, cells, this.selected, this.#tab.shape);
  }

  #drawBelow() {
    const { picture } = this;
    const made = this.job?.cells.filter((cell) => cell.picture).length ?? 0;
    const key = picture ? JSON.stringify(picture) + made + Boolean(page.detailPanels) : "";
    if (this.#below.dataset.key === key) return; // buttons that are pressed stay the same while steps go by
    this.#below.dataset.key = key;
    if (!picture) return this.#below.replaceChildren();
    this.#below.replaceChildren(
      actionBar(page, picture, { siblings: made, full: () => this.openViewer(), task: this.#tab.task }),
      parameterFold(picture.parameters, this.#open, (open) => (this.#open = open)),
      ...(page.detailPanels?.(picture, this.#tab.task) ?? []),
    );
    return undefined;
  }

  /** What is going on; where nothing is, what the picture shows. */
  #headline({ text, wrong }) {
    const title = this.picture?.prompt?.trim() || "(no prompt)";
    if (!text && this.picture) return make("span", { class: "w-status w-title", title }, title);
    return make("span", { class: wrong ? "w-status w-wrong" : "w-status" }, text);
  }

  #offers(job) {
    const compare = this.#pair?.button(job, this.selected, () => this.draw());
    return compare ? [...this.#others(job), compare] : this.#others(job);
  }

  #others(job) {
    if (job?.ended === "failed") return [button("Try again", "redo", () => this.#retry(job))];
    const other = this.#own.find((each) => each !== job && each.state === "running");
    return job?.ended && other ? [button("Show what runs now", "next", () => this.showJob(other))] : [];
  }

  async #retry(job) {
    this.release();
    await tried(() => page.jobs.retry(job));
  }

  /** The open jobs that were asked for here. */
  get #own() {
    return [...page.jobs.open.values()].filter((job) => job.task === this.#tab.task && !job.group);
  }

  #changed({ job, kind, event }) {
    if (job.task !== this.#tab.task) return;
    if (kind === "picture") this.#made(job, event);
    if (kind === "started") tell("Drawing.");
    if (job !== this.job) {
      if (this.free && !job.ended && !job.group) this.showJob(job);
      else this.draw();
      return;
    }
    if (kind === "view" && job.done > job.cells.filter((cell) => cell.picture).length) this.#look();
    if (job.ended) this.#ended(job);
    this.draw();
  }

  #ended(job) {
    this.#look();
    tell(status(job, false).spoken);
    this.#linger(true);
  }

  /** Look at what just ended for a moment, then go on to what runs. */
  #linger(on) {
    clearTimeout(this.#timer);
    const goOn = () => {
      this.#timer = null;
      const next = this.#own.find((job) => job.state === "running") ?? this.#own[0];
      if (next && !this.#group) this.showJob(next);
    };
    this.#timer = on ? setTimeout(goOn, LINGER) : null;
  }

  #made(job, event) {
    page.pictures.announce("made", [event.id]);
    if (job === this.job) this.#look();
  }

  /** Look up the pictures of the job that is shown. */
  async #look() {
    const { job } = this;
    const found = await tried(() => page.pictures.search({ job: job.id, limit: 100 }));
    if (!found || this.job !== job) return;
    fillIn(job, found.pictures);
    if (job.ended && !job.cells[this.selected]?.picture) this.selected = Math.max(job.cells.findIndex((cell) => cell.picture), 0);
    this.draw();
  }

  #touched({ what, ids }) {
    for (const cell of this.job?.cells ?? []) {
      if (!cell.picture || !ids.includes(cell.picture.id)) continue;
      if (what === "delete") Object.assign(cell, { picture: null, id: null, state: "skipped" });
      else Object.assign(cell.picture, CHANGES[what] ?? {});
    }
    this.draw();
  }

  #connection(lost) {
    this.#lost = lost;
    this.draw();
  }

  /** What runs is shown, whose view may have come before the stage; else the newest picture, so that the page goes on where it was left. */
  async #begin() {
    const open = this.#own.find((job) => job.state === "running") ?? this.#own[0];
    if (open && !this.job && !this.#group) this.showJob(open);
    await this.#strip.fill();
    const newest = this.#strip.newest(this.#tab.task);
    if (!this.job && !this.#group && newest) await this.showPicture(newest);
    else this.draw();
  }
}

const CHANGES = { star: { starred: true }, unstar: { starred: false }, trash: { trashed: true }, restore: { trashed: false } };

function inOrder(pictures) {
  return [...pictures].sort((one, other) => (one.place ?? 0) - (other.place ?? 0));
}

function fillIn(job, pictures) {
  for (const picture of inOrder(pictures)) Object.assign(cellAt(job, picture.place ?? 0), { state: "done", id: picture.id, picture });
  if (!job.ended) return;
  for (const cell of job.cells) if (cell.state !== "done") cell.state = "skipped"; // nothing comes of it any more
}

function cellAt(job, place) {
  while (job.cells.length <= place) job.cells.push({ state: "waiting" });
  return job.cells[place];
}

/** A job that ended before this page was opened; its pictures are numbered anew, for some may be gone. */
function past({ job: id, inputs = {} }, pictures) {
  pictures.forEach((picture, place) => (picture.place = place));
  return { id, inputs, ended: "past", cells: [], pictures: pictures.length, done: 0, fraction: 1 };
}

customElements.define("webui-stage", Stage);
