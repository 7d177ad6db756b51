// The panel in which a custom schedule is drawn: noise levels over the way, its points moved with a pointer or the arrow keys.

import { button, extension, get, make, on, say, set, tell, tried, values } from "webui";

const own = extension(import.meta.url);
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [320, 170, 12];
const CUSTOM = "Custom";
const DECADES = [-3, 3]; // of noise levels, that can be drawn
const USUAL = [-2, 1.5]; // of them, that are always seen
const APART = 0.005; // of the way, at least, between two points
const NEAR = 0.02; // of a decade, at least, that each lies below the one before it
const START = [[0, 14.6], [0.5, 1.6], [1, 0.03]]; // a curve to begin with
const MOST_TAKEN = 9; // points of a schedule that is drawn on
const PAUSE = 250; // milliseconds without a change before the text is looked at
const ASKED = ["model", "sampler", "schedule", "steps", "sigma_min", "sigma_max", "rho", "noise_schedule"];

class Curve extends HTMLElement {
  #points = []; // [place, noise level], the first at 0 and the last at 1
  #levels = []; // of the steps
  #saved = [];
  #dragged = null;
  #text = null; // the field's, as it was looked at last
  #timer = 0;
  #number = 0; // of the last question
  #parts = {};
  #ends = [];

  connectedCallback() {
    if (!this.#parts.plot) this.#build();
    this.#ends = [on("change", ({ task }) => task === this.task && this.#later())];
    this.#look();
    this.#list();
  }

  disconnectedCallback() {
    for (const end of this.#ends) end();
  }

  #build() {
    const plot = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "sc-plot", role: "group", "aria-label": "Custom schedule as a curve" });
    plot.addEventListener("pointerdown", (event) => this.#press(event));
    plot.addEventListener("pointermove", (event) => this.#drag(event));
    for (const end of ["pointerup", "pointercancel"]) plot.addEventListener(end, () => this.#drop());
    const choice = make("select", { class: "sc-choice", "aria-label": "Saved schedule" });
    const name = make("input", { class: "sc-name", type: "text", maxlength: "60", placeholder: "A name", "aria-label": "Name to save under" });
    name.addEventListener("keydown", (event) => event.key === "Enter" && this.#save());
    this.#parts = {
      plot, choice, name,
      words: make("p", { class: "sc-words", role: "status" }),
      chosen: make("div", { class: "sc-row" }, choice, button("Draw on it", null, () => this.#load()), button("Remove", null, () => this.#remove())),
    };
    this.append(
      make("p", { class: "sc-help" }, "Press beside the curve for a further point; drag points, or move one with the arrow keys; Delete removes it. Drawing chooses the schedule type Custom."),
      plot, this.#parts.words,
      make("div", { class: "sc-row" }, button("Start from the chosen schedule", null, () => this.#begin()), button("Clear", null, () => this.#write([]))),
      make("div", { class: "sc-row" }, name, button("Save", null, () => this.#save())),
      this.#parts.chosen,
    );
  }

  // --- the field's text and the curve

  #later() {
    const { schedules_points: text, steps } = values(this.task);
    if (`${steps} ${text}` === this.#text || this.#dragged !== null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), PAUSE);
  }

  /** Draw what the field says. */
  async #look() {
    const { schedules_points: text, steps } = values(this.task);
    this.#text = `${steps} ${text}`;
    const number = ++this.#number;
    if (!text?.trim()) {
      [this.#points, this.#levels] = [[], []];
      this.#draw("Nothing is drawn yet.");
      return;
    }
    try {
      const { places, sigmas, levels } = await own.get("look", { points: text, steps: steps ?? "" });
      if (number !== this.#number) return;
      this.#points = places.map((place, index) => [place, sigmas[index]]);
      this.#levels = levels;
      this.#draw();
    } catch (error) {
      if (error.status === undefined) throw error;
      if (number === this.#number) this.#draw(error.message);
    }
  }

  /** Put a curve into the field, and choose the schedule that is made of it. */
  async #write(points) {
    this.#points = points;
    if (points.length > 0 && values(this.task).schedule !== CUSTOM) set(this.task, "schedule", CUSTOM);
    own.set("points", written(points), this.task);
    await this.#look();
  }

  // --- the plot

  get #range() {
    const logs = this.#points.map(([, sigma]) => Math.log10(sigma));
    return [Math.min(USUAL[0], ...logs), Math.max(USUAL[1], ...logs)];
  }

  #x(place) {
    return EDGE + place * (WIDTH - 2 * EDGE);
  }

  #y(sigma) {
    const [low, high] = this.#range;
    return EDGE + ((high - Math.log10(sigma)) / (high - low)) * (HEIGHT - 2 * EDGE);
  }

  #draw(sentence = "") {
    const { plot, words } = this.#parts;
    const [low, high] = this.#range;
    const lines = [];
    for (let decade = Math.ceil(low); decade <= high; decade++) {
      const y = this.#y(10 ** decade);
      lines.push(drawn("line", { x1: EDGE, x2: WIDTH - EDGE, y1: y, y2: y, class: "sc-grid" }));
      lines.push(drawn("text", { x: EDGE + 2, y: y - 2, class: "sc-label" }, String(Number((10 ** decade).toPrecision(3)))));
    }
    const curve = this.#points.map(([place, sigma]) => `${this.#x(place).toFixed(1)},${this.#y(sigma).toFixed(1)}`);
    const steps = this.#levels.filter((sigma) => sigma > 0);
    const dots = steps.map((sigma, index) =>
      drawn("circle", { cx: this.#x(steps.length > 1 ? index / (steps.length - 1) : 0), cy: this.#y(sigma), r: 1.6, class: "sc-step" }));
    const focused = [...plot.querySelectorAll(".sc-point")].indexOf(document.activeElement);
    plot.replaceChildren(...lines, drawn("polyline", { points: curve.join(" "), class: "sc-line" }), ...dots,
      ...this.#points.map((point, index) => this.#handle(point, index)));
    if (focused >= 0) plot.querySelectorAll(".sc-point")[Math.min(focused, this.#points.length - 1)]?.focus();
    words.textContent = sentence || `${steps.length} ${steps.length === 1 ? "step" : "steps"}, noise level ${short(steps[0] ?? 0)} to ${short(steps.at(-1) ?? 0)}, then 0`;
    words.classList.toggle("sc-wrong", sentence !== "" && this.#points.length === 0 && Boolean(values(this.task).schedules_points?.trim()));
  }

  #handle([place, sigma], index) {
    const label = `Point ${index + 1} of ${this.#points.length}: ${Math.round(place * 100)} % of the way, noise level ${short(sigma)}`;
    const node = drawn("circle", { cx: this.#x(place), cy: this.#y(sigma), r: 6, class: "sc-point", tabindex: 0, role: "slider", "aria-label": label,
      "aria-valuemin": 10 ** DECADES[0], "aria-valuemax": 10 ** DECADES[1], "aria-valuenow": short(sigma) });
    node.addEventListener("keydown", (event) => this.#key(event, index));
    return node;
  }

  /** Where a pointer is: a place, and a noise level. */
  #under(event) {
    const box = this.#parts.plot.getBoundingClientRect();
    const [low, high] = this.#range;
    const part = (at, start, size, whole) => clamp((((at - start) / size) * whole - EDGE) / (whole - 2 * EDGE), 0, 1);
    const down = part(event.clientY, box.top, box.height, HEIGHT);
    return [part(event.clientX, box.left, box.width, WIDTH), 10 ** (high - down * (high - low))];
  }

  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    let index = [...this.#parts.plot.querySelectorAll(".sc-point")].indexOf(event.target);
    if (index < 0) {
      const [place, sigma] = this.#under(event);
      if (this.#points.length === 0) this.#points = START.map((point) => [...point]);
      index = this.#points.findIndex(([other]) => other > place);
      if (index < 1 || this.#points[index][0] - place < APART || place - this.#points[index - 1][0] < APART) return;
      this.#points.splice(index, 0, [place, sigma]);
      this.#move(index, [place, sigma]);
    }
    this.#dragged = index;
    this.#levels = [];
    this.#parts.plot.setPointerCapture(event.pointerId);
    this.#parts.plot.querySelectorAll(".sc-point")[index]?.focus();
  }

  #drag(event) {
    if (this.#dragged !== null) this.#move(this.#dragged, this.#under(event));
  }

  #drop() {
    if (this.#dragged === null) return;
    this.#dragged = null;
    this.#write(this.#points);
  }

  /** Move a point as far as its neighbours let it go; the first and the last stay at their ends. */
  #move(index, [place, sigma]) {
    const [before, after] = [this.#points[index - 1], this.#points[index + 1]];
    const low = after ? Math.log10(after[1]) + NEAR : DECADES[0];
    const high = before ? Math.log10(before[1]) - NEAR : DECADES[1];
    const along = !before ? 0 : !after ? 1 : clamp(place, before[0] + APART, after[0] - APART);
    this.#points[index] = [along, 10 ** clamp(Math.log10(sigma), Math.min(low, high), high)];
    this.#draw();
  }

  #key(event, index) {
    const [place, sigma] = this.#points[index];
    const step = event.shiftKey ? 5 : 1;
    const moved = {
      ArrowUp: [place, sigma * 1.05 ** step], ArrowDown: [place, sigma / 1.05 ** step],
      ArrowLeft: [place - 0.01 * step, sigma], ArrowRight: [place + 0.01 * step, sigma],
    }[event.key];
    if (moved) this.#move(index, moved);
    else if (["Delete", "Backspace"].includes(event.key) && index > 0 && index < this.#points.length - 1) this.#points.splice(index, 1);
    else return;
    event.preventDefault();
    this.#write(this.#points);
  }

  // --- other schedules

  async #begin() {
    const known = values(this.task);
    const query = Object.fromEntries(ASKED.map((name) => [name, known[name]]).filter(([, value]) => value !== null && value !== ""));
    if (known.schedule === CUSTOM) Object.assign(query, { schedules_points: known.schedules_points });
    const answer = await tried(() => get("/x/schedule", query));
    const levels = (answer?.sigmas ?? []).filter((sigma) => sigma > 0);
    if (levels.length < 2) return answer && say("That schedule has too few noise levels to draw on.");
    const count = Math.min(levels.length, MOST_TAKEN);
    const taken = Array.from({ length: count }, (_, at) => Math.round((at / (count - 1)) * (levels.length - 1)));
    await this.#write(taken.map((index) => [index / (levels.length - 1), levels[index]]));
  }

  async #list(found = null) {
    this.#saved = found ?? (await tried(() => own.get("saved"))) ?? this.#saved;
    const { choice, chosen } = this.#parts;
    const before = choice.value;
    choice.replaceChildren(...this.#saved.map(({ name }) => make("option", { value: name }, name)));
    if (this.#saved.some(({ name }) => name === before)) choice.value = before;
    chosen.hidden = this.#saved.length === 0;
  }

  async #save() {
    const { name } = this.#parts;
    const found = await tried(() => own.post("save", { name: name.value, points: values(this.task).schedules_points ?? "" }));
    if (!found) return;
    tell(`Saved; it is the schedule type ${name.value.trim()} (custom) once the page is loaded again.`);
    await this.#list(found);
    this.#parts.choice.value = name.value.trim();
  }

  async #load() {
    const one = this.#saved.find(({ name }) => name === this.#parts.choice.value);
    if (!one) return;
    own.set("points", one.points, this.task);
    if (values(this.task).schedule !== CUSTOM) set(this.task, "schedule", CUSTOM);
    this.#parts.name.value = one.name;
    await this.#look();
  }

  async #remove() {
    const found = await tried(() => own.post("remove", { name: this.#parts.choice.value }));
    if (found) await this.#list(found);
  }
}

/** A curve as the field has it. */
function written(points) {
  return points.length === 0 ? "" : [...points.map(([place, sigma]) => `${Number(place.toFixed(3))}:${Number(sigma.toPrecision(5))}`), "0"].join(", ");
}

function short(sigma) {
  return String(Number(sigma.toPrecision(3)));
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}

customElements.define("schedules-curve", Curve);
