// The chosen schedule as a small plot below its control: one point for each step, at the noise level that is left there.

import { wrong } from "./check.js";
import { make } from "./dom.js";
import { latest } from "./latest.js";
import { page } from "./page.js";
import { ask } from "./server.js";

const ASKED = [
  "model", "sampler", "schedule", "steps", "sigma_min", "sigma_max", "rho", "beta_alpha", "beta_beta", "noise_schedule", "discard_penultimate",
];
const PAUSE = 200; // milliseconds without a change before it is asked for
const HEIGHT = 52;
const EDGE = 5; // pixels around the curve
const MOST_DOTS = 60; // steps that each get a dot
const SVG = "http://www.w3.org/2000/svg";

class Schedule extends HTMLElement {
  #tab = null;
  #sigmas = [];
  #wanted = ""; // what the last question was
  #words = make("span", { class: "w-schedule-words" });
  #plot = document.createElementNS(SVG, "svg");
  #look = latest(PAUSE, (signal) => this.#ask(signal));

  connectedCallback() {
    if (this.childElementCount > 0) return;
    this.#tab = page.tabOf(this);
    this.#plot.setAttribute("role", "img");
    this.#plot.setAttribute("height", String(HEIGHT));
    this.append(this.#plot, this.#words);
    this.#plot.addEventListener("pointermove", (event) => this.#say(this.#stepAt(event)));
    this.#plot.addEventListener("pointerleave", () => this.#say(null));
    this.#tab.controls.addEventListener("change", () => this.#changed());
    page.addEventListener("model", ({ detail }) => detail === this.#tab && this.#changed());
    page.addEventListener("shown", () => this.#changed());
    new ResizeObserver(() => this.#draw()).observe(this);
    this.#changed();
  }

  /** The names of what the plot follows from: some of the program's, and what extensions' schedules are made of. */
  get #asked() {
    return [...new Set([...ASKED, ...this.#tab.controls.parameters.filter((each) => each.schedule).map((each) => each.name)])];
  }

  /** What the plot follows from. */
  get #query() {
    const { values } = this.#tab;
    const said = this.#asked.map((name) => [name, values[name] ?? ""]).filter(([, value]) => value !== "" && value !== false);
    return new URLSearchParams(said).toString();
  }

  #changed() {
    if (!this.#tab.shown || this.#query === this.#wanted || this.#wrong) return;
    this.#wanted = this.#query;
    this.#look();
  }

  /** Whether something it follows from is no value, such as a number that is half typed. */
  get #wrong() {
    const { parameters, values } = this.#tab.controls;
    return parameters.some((parameter) => this.#asked.includes(parameter.name) && wrong(parameter, values[parameter.name]) !== "");
  }

  async #ask(signal) {
    const query = this.#query;
    if (this.#wrong) this.#wanted = ""; // half typed meanwhile
    if (query === "" || this.#wrong) return;
    try {
      const { sigmas } = await ask(`/x/schedule?${query}`, undefined, { signal });
      if (signal.aborted) return;
      this.#sigmas = sigmas ?? [];
    } catch (error) {
      if (error.status === undefined) throw error;
      if (signal.aborted) return;
      if (error.status === 0) this.#wanted = ""; // the next change asks again
      this.#sigmas = []; // it says beside the control what is wrong when a picture is asked for
    }
    const known = this.#sigmas.length > 1;
    this.#plot.toggleAttribute("hidden", !known);
    this.#words.textContent = "";
    this.dataset.steps = String(Math.max(this.#sigmas.length - 1, 0));
    this.#draw();
  }

  #draw() {
    const width = this.clientWidth;
    if (this.#sigmas.length < 2 || width === 0) return;
    const [count, top] = [this.#sigmas.length - 1, Math.max(...this.#sigmas)];
    const at = (step) => [EDGE + (step / count) * (width - 2 * EDGE), HEIGHT - EDGE - (this.#sigmas[step] / top) * (HEIGHT - 2 * EDGE)];
    const points = this.#sigmas.map((_, step) => at(step).map((each) => each.toFixed(1)));
    const line = drawn("polyline", { points: points.map((point) => point.join(",")).join(" "), class: "w-schedule-line" });
    const ground = drawn("polygon", { points: [`${EDGE},${HEIGHT - EDGE}`, ...points.map((point) => point.join(",")), `${width - EDGE},${HEIGHT - EDGE}`].join(" "), class: "w-schedule-ground" });
    const dots = count <= MOST_DOTS ? points.map(([x, y], step) => drawn("circle", { cx: x, cy: y, r: "2", "data-step": step, class: "w-schedule-dot" })) : [];
    this.#plot.setAttribute("width", String(width));
    this.#plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.#plot.replaceChildren(ground, line, ...dots);
    this.#say(null);
  }

  #stepAt({ offsetX }) {
    const count = this.#sigmas.length - 1;
    const step = Math.round(((offsetX - EDGE) / (this.clientWidth - 2 * EDGE)) * count);
    return Math.min(Math.max(step, 0), count);
  }

  /** The whole in words, or one step of it. */
  #say(step) {
    const count = this.#sigmas.length - 1;
    const last = this.#sigmas.findLast((sigma) => sigma > 0) ?? 0;
    const whole = `${count} ${count === 1 ? "step" : "steps"}, noise level ${number(this.#sigmas[0])} to ${number(last)}`;
    this.#plot.setAttribute("aria-label", `Schedule: ${whole}`);
    const one = step === count ? "done" : `step ${step + 1}`;
    this.#words.textContent = step === null ? whole : `${one}: noise level ${number(this.#sigmas[step])}`;
    for (const dot of this.#plot.querySelectorAll("circle")) dot.classList.toggle("w-on", Number(dot.dataset.step) === step);
  }
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

function number(sigma) {
  return sigma === 0 ? "0" : String(Number(sigma.toPrecision(3)));
}

customElements.define("webui-schedule", Schedule);
