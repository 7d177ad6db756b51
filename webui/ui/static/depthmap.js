// The depth tab's map: shown before it is used, as it will be used; and what is said where the model takes none.

import { button, icon, make } from "./dom.js";
import { inputSource } from "./inputs.js";
import { usable } from "./models.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const FIELDS = ["model", "estimator", "depth_invert", "depth_near", "depth_far"]; // what a map follows from
const PAUSE = 500; // milliseconds without a change before a map that is shown is made anew
const MOST_OFFERED = 4;
const NONE = "None";

export class DepthMap {
  node = make("div", { class: "w-depth" });
  #tab;
  #shown = null; // {digest, width, height}, as it would be used
  #of = ""; // what it was made of
  #turn = 0;
  #timer = null;
  #look = button("Show the map", "structure", () => this.#make(), { id: "depth_show", title: "As it will be used, before anything is drawn" });
  #said = make("span", { class: "w-aside", role: "status" });
  #compare = make("webui-compare", { "before-label": "Picture", "after-label": "Depth map" });
  #frame = make("div", { class: "w-depth-map", hidden: true }, this.#compare);
  #use = button("Use this map", "check", () => this.#keep(), { class: "w-slim", id: "depth_use", title: "Keep it as the depth map: no estimator is asked any more" });
  #save = make("a", { class: "w-button w-slim", id: "depth_download", title: "As a 16-bit PNG" }, icon("download"), make("span", {}, "Download"));
  #note = make("p", { class: "w-aside w-depth-note", hidden: true });

  constructor(tab) {
    this.#tab = tab;
    this.#frame.append(make("div", { class: "w-tools" }, this.#use, this.#save));
    this.node.append(this.#note, make("div", { class: "w-depth-line" }, this.#look, this.#said), this.#frame);
    tab.controls.addEventListener("change", () => this.#changed());
    tab.inputs.addEventListener("change", () => this.#changed());
    page.addEventListener("model", ({ detail }) => detail === tab && this.#draw());
    page.addEventListener("models-known", () => this.#draw());
    this.#draw();
  }

  /** A model without depth input cannot be used here: which can, to be chosen at once. "" where it can. */
  refusal() {
    const { model } = this.#tab;
    if (!model || takesDepth(model)) return "";
    const others = usable(takesDepth);
    const choose = ({ name, title }) => button(`Use ${title}`, null, () => this.#choose(name), { class: "w-slim", data: { model: name } });
    const sentence = `${model.title} takes no depth map. `;
    if (others.length === 0) return make("span", {}, `${sentence}No model here does; put one, such as Stable Diffusion 2 depth, into models/checkpoints.`);
    return make("span", {}, `${sentence}${others.length === 1 ? "This model does:" : "These models do:"}`, ...others.slice(0, MOST_OFFERED).map(choose));
  }

  #choose(name) {
    this.#tab.refuse("");
    return this.#tab.controls.fill({ model: name });
  }

  get #inputs() {
    const { picture, depth } = this.#tab.inputs.values;
    return { picture, depth };
  }

  #key() {
    const { picture, depth } = this.#tab.inputs.digests;
    return JSON.stringify([picture, depth, FIELDS.map((name) => this.#tab.values[name])]);
  }

  /** A map that is shown follows what it is made of. */
  #changed() {
    this.#draw();
    if (!this.#shown || this.#key() === this.#of) return;
    clearTimeout(this.#timer);
    const { picture, depth } = this.#inputs;
    if (!picture && !depth) this.#hide();
    else this.#timer = setTimeout(() => this.#make(), PAUSE);
  }

  #draw() {
    const { picture, depth } = this.#inputs;
    const { model, values } = this.#tab;
    const refusal = this.refusal();
    const none = !depth && (!picture || values.estimator === NONE);
    const flat = none && model && takesDepth(model) && model.no_map === null;
    this.#note.replaceChildren(refusal || (flat ? "There is no map, so a flat one is used: this model was never taught to draw without." : ""));
    this.#note.hidden = !refusal && !flat;
    this.#note.classList.toggle("w-refusing", Boolean(refusal));
    this.#look.hidden = none;
  }

  async #make() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    const turn = this.#turn;
    const job = await tried(() => this.#job());
    if (turn !== this.#turn || !job) return;
    const map = await tried(() => mapMade(job));
    if (turn !== this.#turn) return;
    this.#busy(false);
    if (map) this.#show(map);
    else if (job.ended !== "cancelled") say(job.sentence || "There is no map.", { wrong: true });
  }

  async #job() {
    this.#busy(true);
    try {
      await this.#tab.inputs.settled();
      const { picture, depth } = this.#tab.inputs.digests;
      this.#of = this.#key();
      const set = FIELDS.map((name) => [name, this.#tab.values[name]]).filter(([, value]) => value !== null && value !== undefined);
      const inputs = { ...(picture && { picture }), ...(depth && { depth }) };
      return await page.jobs.ended(await page.jobs.submit("map", Object.fromEntries(set), [], inputs));
    } finally {
      this.#busy(false);
    }
  }

  #busy(on) {
    this.#look.disabled = on;
    this.#said.textContent = on ? "Looking at the picture …" : "";
    this.node.dataset.state = on ? "busy" : this.#shown ? "shown" : "empty";
  }

  #show(map) {
    this.#shown = map;
    const { picture } = this.#tab.inputs.digests;
    const address = inputSource(map.digest);
    if (picture) this.#compare.setAttribute("before", inputSource(picture));
    else this.#compare.removeAttribute("before");
    this.#compare.setAttribute("after", address);
    this.#save.href = address;
    this.#save.download = `depth-${map.digest.slice(0, 10)}.png`;
    this.#use.hidden = map.digest === this.#tab.inputs.digests.depth;
    this.#frame.hidden = false;
    this.node.dataset.map = map.digest;
    this.#busy(false);
  }

  #hide() {
    this.#turn += 1;
    this.#shown = null;
    this.#frame.hidden = true;
    delete this.node.dataset.map;
    this.#busy(false);
  }

  /** The map that is shown becomes the depth map; what was done to it is in it already. */
  async #keep() {
    const map = this.#shown;
    await this.#tab.controls.fill({ depth_invert: false, depth_near: 1, depth_far: 0 });
    this.#tab.inputs.set("depth", { url: inputSource(map.digest), ...map, name: "depth map" });
  }
}

/** What a job made; looked up where it was made before this page listened. */
async function mapMade(job) {
  if (job.map) return job.map;
  const { events } = await ask(`/x/jobs/${encodeURIComponent(job.id)}/events`);
  const found = events.find(({ kind }) => kind === "map");
  return found ? { digest: found.digest, width: found.width, height: found.height } : null;
}

function takesDepth(model) {
  return model.beside === "depth";
}
