// The tab Inspector: what the model did in each step of a picture, and what it does while one is being made.

import { button, extension, make, on, pictures, post, show, source, submit, tell, tried } from "webui";
import { chart } from "./charts.js";
import { choose, factsOf, KINDS, number, passName, percent, SAYINGS, segments } from "./sayings.js";
import { added, View } from "./views.js";

const own = extension(import.meta.url);
const SHOWN = 24; // of a person's newest pictures
const PATIENCE = 700; // milliseconds between two looks at a picture that is being made
let wanted = null; // the picture that somebody asked for before the tab was there

class InspectorTab extends HTMLElement {
  #of = null; // whose record is shown: {picture} or {job, number}
  #record = null;
  #shown = []; // the newest pictures
  #inspected = new Set(); // ids
  #running = null; // a job that is being watched: {id}
  #awaited = null; // a job that makes a picture once more
  #pass = 0;
  #at = 0; // among the steps that were taken
  #kind = "clean";
  #words = new Set(); // "text part, word" that are chosen
  #whole = false; // heat maps of all steps together
  #maps = new Map(); // bytes by their address
  #urls = new Map(); // of pictures by the address they were fetched from: the program's answers are not kept by browsers
  #view = new View();
  #parts = {};
  #asked = 0;

  connectedCallback() {
    if (this.#parts.strip) return;
    const { strip, body } = (this.#parts = {
      strip: make("div", { class: "in-strip", role: "group", "aria-label": "Pictures" }),
      body: make("div", { class: "in-body" }),
    });
    const head = make("header", { class: "in-head" }, make("h2", {}, "Inspector"), make("p", { class: "in-says" }, SAYINGS.intro));
    this.append(make("div", { class: "in-all" }, head, strip, body));
    on("picture", ({ id, job }) => this.#finished(id, job));
    on("job", (job) => this.#heard(job));
    this.#look(wanted);
    wanted = null;
  }

  /** Show what was taken down of a picture. */
  async open(id) {
    if (!this.#shown.some((picture) => picture.id === id)) await this.#look(id);
    else await this.#choose({ picture: id });
  }

  async #look(id = null) {
    const found = await tried(() => pictures({ limit: SHOWN }));
    this.#shown = found?.pictures ?? [];
    if (id && !this.#shown.some((picture) => picture.id === id)) {
      const more = await tried(() => pictures({ limit: 500 }));
      this.#shown = [...(more?.pictures ?? []).filter((picture) => picture.id === id), ...this.#shown];
    }
    if (this.#shown.length > 0) {
      const answer = await tried(() => own.get("inspected", { pictures: this.#shown.map((picture) => picture.id).join(",") }));
      this.#inspected = new Set(answer?.pictures ?? []);
    }
    const first = id ?? this.#shown.find((picture) => this.#inspected.has(picture.id))?.id ?? this.#shown[0]?.id;
    if (first && (id || !this.#of)) await this.#choose({ picture: first });
    else this.#draw();
  }

  async #choose(of) {
    this.#of = of;
    const answer = await tried(() => own.get("record", of));
    if (this.#of !== of) return; // somebody chose another one meanwhile
    this.#take(answer?.record ?? null);
    this.#forget();
    this.#pass = 0;
    this.#at = Math.max(this.#taken.length - 1, 0);
    this.#at = this.#nearest(this.#at);
    this.#draw();
  }

  #forget() {
    for (const url of this.#urls.values()) url.then((each) => each && URL.revokeObjectURL(each));
    this.#urls.clear();
    this.#maps.clear();
  }

  #take(record) {
    this.#record = record?.passes?.length > 0 ? record : null;
  }

  /** What is being made, or was made just now. */
  async #heard({ id, kind, state }) {
    if (kind !== "progress" && this.#running?.id !== id) return;
    if (kind !== "progress" || Date.now() - this.#asked < PATIENCE) {
      if (["finished", "failed", "cancelled", "interrupted"].includes(state)) this.#over(id);
      return;
    }
    this.#asked = Date.now();
    const answer = await own.get("record", { job: id }).catch(() => null);
    if (!answer?.record) return;
    const isNew = this.#running?.id !== id;
    this.#running = { id };
    if (this.#of?.job === id) this.#follow(answer.record);
    else if (isNew && (this.#awaited === id || this.#record === null)) await this.#choose({ job: id, number: 0 });
    else if (isNew) this.#draw();
  }

  #follow(record) {
    const last = this.#at >= this.#taken.length - 1;
    this.#take(record);
    this.#pass = last ? record.passes.length - 1 : Math.min(this.#pass, record.passes.length - 1);
    if (last) this.#at = this.#nearest(this.#taken.length - 1);
    this.#draw();
  }

  #over(id) {
    if (this.#running?.id === id) this.#running = null;
    this.#draw();
  }

  async #finished(id, job) {
    const follows = this.#of?.job === job || this.#awaited === job;
    if (this.#awaited === job) this.#awaited = null;
    if (follows) await this.#look(id);
    else await this.#look();
  }

  get #own() {
    return this.#record?.passes[this.#pass] ?? null;
  }

  get #taken() {
    return this.#own?.taken ?? [];
  }

  get #step() {
    return this.#taken[this.#at] ?? null;
  }

  get #kept() {
    return this.#taken.flatMap((step, index) => (step.kept ? [index] : []));
  }

  /** The kept step nearest to one. */
  #nearest(index) {
    const nearest = (best, each) => (Math.abs(each - index) < Math.abs(best - index) ? each : best);
    return this.#kept.length > 0 ? this.#kept.reduce(nearest) : 0;
  }

  get #picture() {
    return this.#shown.find((picture) => picture.id === this.#of?.picture) ?? null;
  }

  #go(index) {
    this.#at = this.#nearest(index);
    this.#update();
  }

  // Drawing: all of it where there is something else to see, and parts of it where another step is looked at.

  #draw() {
    const { strip, body } = this.#parts;
    const focused = document.activeElement?.dataset?.keep;
    strip.replaceChildren(...this.#tiles());
    if (!this.#of) body.replaceChildren(make("p", { class: "in-says" }, `There are no pictures yet. ${SAYINGS.how}`));
    else if (!this.#own) body.replaceChildren(this.#nothing());
    else {
      body.replaceChildren(this.#stage(), this.#facts());
      this.#update();
    }
    if (focused) this.querySelector(`[data-keep="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #tiles() {
    const live = this.#running
      ? [make("button", {
        type: "button", class: "in-tile in-live", "aria-pressed": String(this.#of?.job === this.#running.id), data: { keep: "live" },
        onclick: () => this.#choose({ job: this.#running.id, number: 0 }),
      }, make("span", {}, "Being made"))]
      : [];
    return [...live, ...this.#shown.map((picture) => {
      const inspected = this.#inspected.has(picture.id);
      const label = `${inspected ? "Inspected: " : ""}${picture.prompt.slice(0, 80) || "a picture without a prompt"}, seed ${picture.seed}`;
      return make("button", {
        type: "button", class: `in-tile${inspected ? " in-has" : ""}`, title: label, "aria-label": label, data: { keep: picture.id },
        "aria-pressed": String(this.#of?.picture === picture.id), onclick: () => this.#choose({ picture: picture.id }),
      }, make("img", { src: source(picture.id, { thumbnail: true }), alt: "", loading: "lazy" }));
    })];
  }

  #nothing() {
    if (this.#of.job) return make("p", { class: "in-says" }, "The first step is being taken.");
    const again = button("Inspect this picture again", "search", () => this.#again(), { class: "w-solid", data: { keep: "again" } });
    const waits = this.#awaited !== null;
    if (waits) again.disabled = true;
    const picture = make("img", { class: "in-picture", src: source(this.#of.picture), alt: this.#picture?.prompt ?? "" });
    return make("div", { class: "in-nothing" }, make("div", { class: "in-view" }, picture), make("div", {},
      make("p", { class: "in-says" }, SAYINGS.none), again, make("p", { class: "in-says" }, waits ? "It is being made." : SAYINGS.how)));
  }

  /** Make a picture once more with its own settings, and watch. */
  async #again() {
    const picture = this.#picture;
    const made = await tried(async () => {
      const { values } = await post("/x/read", { area: picture.task, text: picture.parameters, keep: false });
      const { styles: _, ...said } = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null && value !== ""));
      const parameters = { ...said, count: 1, inspector_inspect: true };
      return submit(picture.task, parameters, picture.inputs);
    });
    if (!made) return;
    this.#awaited = made;
    tell("The picture is being made once more.");
    this.#draw();
  }

  #stage() {
    const { texts } = this.#own;
    const kinds = Object.entries(KINDS).filter(([kind]) => kind !== "done" || this.#of.picture);
    const passes = this.#record.passes.length > 1
      ? [segments("Passes", this.#record.passes.map((pass, index) => [String(index), passName(pass, index)]), String(this.#pass), (index) => {
        this.#pass = Number(index);
        this.#at = this.#nearest(this.#taken.length - 1);
        this.#words.clear();
        this.#draw();
      })]
      : [];
    Object.assign(this.#parts, {
      kinds: segments("What is shown", kinds.map(([kind, [name]]) => [kind, name]), this.#kind, (kind) => {
        this.#kind = kind;
        this.#update();
      }),
      explained: make("p", { class: "in-says", "aria-live": "polite" }),
      slider: make("input", {
        type: "range", class: "in-slider", min: "0", step: "1", "aria-label": "Step", data: { keep: "slider" },
        oninput: ({ target }) => this.#go(this.#kept[Number(target.value)]),
      }),
      place: make("span", { class: "in-place" }),
      words: make("div", { class: "in-words", role: "group", "aria-label": "Words of the prompt" }),
      share: make("p", { class: "in-says", "aria-live": "polite" }),
      when: segments("Heat maps of", [["step", "This step"], ["all", "All steps"]], this.#whole ? "all" : "step", (which) => {
        this.#whole = which === "all";
        this.#update();
      }),
    });
    const { kinds: kindRow, explained, slider, place, words, share, when } = this.#parts;
    const heat = texts.length > 0
      ? [make("h3", {}, "Where the words look"), make("p", { class: "in-says" }, SAYINGS.words), words, make("div", { class: "in-row" }, when), share]
      : [];
    return make("section", { class: "in-stage" }, ...passes, kindRow, this.#view.node,
      make("div", { class: "in-row" }, slider, place), explained, ...heat);
  }

  #facts() {
    Object.assign(this.#parts, { guidance: make("div", {}), schedule: make("div", {}) });
    return make("section", { class: "in-facts" },
      make("h3", {}, "How hard the prompt pulls"), this.#parts.guidance, make("p", { class: "in-says" }, SAYINGS.guidance),
      make("h3", {}, "Where on the schedule"), this.#parts.schedule, make("p", { class: "in-says" }, SAYINGS.schedule),
      make("p", { class: "in-says in-small" }, factsOf(this.#own)));
  }

  #update() {
    const [step, pass] = [this.#step, this.#own];
    const { slider, place, explained, kinds, when } = this.#parts;
    if (!step?.kept) return;
    const kind = this.#kind === "done" && !this.#of.picture ? "clean" : this.#kind;
    choose(kinds, kind);
    choose(when, this.#whole ? "all" : "step");
    slider.max = String(this.#kept.length - 1);
    slider.value = String(this.#kept.indexOf(this.#at));
    slider.style.setProperty("--done", String(this.#kept.indexOf(this.#at) / Math.max(this.#kept.length - 1, 1)));
    const said = `Step ${step.step + 1} of ${pass.steps}, noise level ${number(step.sigma)}`;
    slider.setAttribute("aria-valuetext", said);
    place.textContent = said;
    explained.textContent = KINDS[kind][1];
    this.#view.show({
      src: kind === "done" ? source(this.#of.picture) : this.#url(step.step, kind),
      label: `${KINDS[kind][0]}, ${said}`, width: pass.width, height: pass.height, cells: kind !== "done" && !(kind === "clean" && pass.decoded),
    });
    if (kind !== "done") for (const each of this.#kept) this.#url(this.#taken[each].step, kind); // so that the slider runs smoothly
    this.#drawWords();
    this.#drawCharts();
    this.#heat();
  }

  #address(path, query) {
    return `${own.url(path)}?${new URLSearchParams({ ...this.#of, pass: this.#pass, ...query })}`;
  }

  /** Where the browser has a step's picture; "" where there is none. */
  #url(step, kind) {
    const address = this.#address("picture", { step, kind });
    if (!this.#urls.has(address)) this.#urls.set(address, fetched(address).then((answer) => answer?.blob()).then((blob) => (blob ? URL.createObjectURL(blob) : "")));
    return this.#urls.get(address);
  }

  #drawWords() {
    const { words } = this.#parts;
    const focused = document.activeElement?.dataset?.keep;
    words.replaceChildren(...(this.#step.maps ?? []).flatMap(({ text }, part) => {
      const row = this.#own.texts[text].words.map((word, index) => {
        const key = `${part} ${index} ${word}`;
        return make("button", {
          type: "button", class: "in-word", "aria-pressed": String(this.#words.has(key)), data: { keep: `word ${key}` },
          onclick: () => this.#toggle(key),
        }, word);
      });
      return part > 0 ? [make("span", { class: "in-and" }, "AND"), ...row] : row;
    }));
    if (focused) words.querySelector(`[data-keep="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #toggle(key) {
    if (!this.#words.delete(key)) this.#words.add(key);
    this.#drawWords();
    this.#heat();
  }

  /** The heat map of the chosen words, of this step or of all that were kept. */
  async #heat() {
    const { share } = this.#parts;
    const [wantedWords, at, of] = [new Set(this.#words), this.#at, this.#of];
    const cells = this.#own.map[0] * this.#own.map[1];
    const steps = this.#whole ? this.#kept.map((index) => this.#taken[index]) : [this.#step];
    const sum = new Float64Array(cells);
    let [found, shares] = [0, 0];
    for (const step of steps) {
      for (const [part, { text, peaks, shares: means }] of (step.maps ?? []).entries()) {
        const chosen = this.#own.texts[text].words.flatMap((word, index) => (wantedWords.has(`${part} ${index} ${word}`) ? [index] : []));
        if (chosen.length === 0) continue;
        const bytes = await this.#bytes(step.step, part);
        if (!bytes) continue;
        added(bytes, peaks, chosen, cells).forEach((value, cell) => (sum[cell] += value));
        shares += chosen.reduce((total, index) => total + means[index], 0);
        found += 1;
      }
    }
    if (this.#of !== of || this.#at !== at || wantedWords.size !== this.#words.size) return; // another one is asked for by now
    this.#view.heat(found > 0 ? sum : null, this.#own.map);
    const rest = this.#step.maps?.[0]?.rest ?? 0;
    share.textContent = found > 0
      ? `${percent(shares / found)} of the attention goes to the chosen words here. ${percent(rest)} goes to no word at all, but to the marks around the text, as it always does.`
      : "";
  }

  async #bytes(step, part) {
    const address = this.#address("maps", { step, part });
    if (!this.#maps.has(address)) {
      this.#maps.set(address, fetched(address).then((answer) => answer?.arrayBuffer()).then((buffer) => (buffer ? new Uint8Array(buffer) : null)));
    }
    return this.#maps.get(address);
  }

  #drawCharts() {
    const { guidance, schedule } = this.#parts;
    const [taken, at, { scale }] = [this.#taken, this.#at, this.#own];
    const pulls = taken.map((step) => step.guidance);
    const count = this.#running ? Math.max(this.#own.steps, taken.length) : taken.length;
    const choosing = { at, count, choose: (index) => this.#go(index) };
    const pull = (index) => (pulls[index] === null ? "In this step the negative prompt was not asked, so there is no guidance." :
      `Step ${taken[index].step + 1}: the prompt changes ${percent(pulls[index])} of what is taken to be noise, and a scale of ${number(scale)} makes it ${percent(pulls[index] * scale)}.`);
    const noise = (index) => `Step ${taken[index].step + 1}: noise level ${number(taken[index].sigma)}.`;
    guidance.replaceChildren(
      chart({ values: pulls, title: "How hard the prompt pulls", says: pull, ...choosing }), make("p", { class: "in-number" }, pull(at)));
    schedule.replaceChildren(
      chart({ values: taken.map((step) => step.sigma), title: "Noise levels", says: noise, ...choosing }), make("p", { class: "in-number" }, noise(at)));
  }
}

/** An answer that is no JSON; null where there is none, as of a record that is gone by now. */
async function fetched(address) {
  const response = await fetch(address, { credentials: "same-origin" }).catch(() => null);
  return response?.ok ? response : null;
}

/** In a picture's details: a button that goes to the tab with it. */
class InspectorOpen extends HTMLElement {
  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.append(button("Look inside", "search", () => this.#go()));
  }

  #go() {
    const tab = document.querySelector("inspector-tab");
    if (tab) tab.open(this.picture.id);
    else wanted = this.picture.id;
    show("inspector/inspector");
  }
}

customElements.define("inspector-tab", InspectorTab);
customElements.define("inspector-open", InspectorOpen);
