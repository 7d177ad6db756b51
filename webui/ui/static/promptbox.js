// A prompt while it is written: what is wrong in it is underlined, its tokens are counted, and which words fall into which chunk
// is tinted. The program reads the prompt; while it is slow or away, what was last known stays, as far as it still holds.

import { Completion } from "./completion.js";
import { icon, make } from "./dom.js";
import { latest } from "./latest.js";
import { Mirror, moved } from "./mirror.js";
import { page } from "./page.js";
import { units } from "./points.js";
import { replace } from "./replace.js";
import { ask } from "./server.js";
import { weighed } from "./weighing.js";

const PAUSE = 150; // milliseconds without a key before the program is asked
const OF = 75; // tokens of a chunk, until the program says otherwise
const LONGEST = 20000; // characters that are read
const ROLES = { prompt: "prompt", negative: "negative", hires_prompt: "prompt", hires_negative: "negative" }; // by the control

class PromptBox {
  #tab;
  #role;
  #field;
  #mirror;
  #text = ""; // that the marks are about
  #wanted = null; // what the last question is about
  #marks = []; // {start, end, name, sentence} in units of UTF-16
  #problem = null; // that is shown below
  #count = make("span", { class: "w-tokens" });
  #said = make("button", { type: "button", class: "w-prompt-problem", hidden: true, onclick: () => this.#lead() });
  #foot = make("div", { class: "w-prompt-foot", data: { state: "asking" } }, this.#said, this.#count);
  #tip = make("div", { class: "w-prompt-tip", role: "tooltip", popover: "manual" });
  #look = latest(PAUSE, (signal) => this.#ask(signal));

  constructor(tab, role, field, block) {
    this.#tab = tab;
    this.#role = role;
    this.#field = field;
    this.#mirror = new Mirror(field);
    this.#said.id = `${block.id}_problems`;
    block.append(this.#foot, this.#tip);
    block.classList.add("w-prompt");
    new Completion(tab, field, this.#mirror);
    field.addEventListener("input", () => this.#changed());
    field.addEventListener("keydown", (event) => this.#key(event));
    field.addEventListener("pointermove", (event) => this.#hover(event));
    field.addEventListener("pointerleave", () => this.#tip.hidePopover());
    field.addEventListener("scroll", () => this.#tip.hidePopover(), { passive: true });
    field.addEventListener("blur", () => this.#point());
    document.addEventListener("selectionchange", () => document.activeElement === field && this.#point());
    tab.controls.addEventListener("change", () => requestAnimationFrame(() => this.#changed())); // Gradio may have filled it
    addEventListener("online", () => this.#look());
    this.#draw();
    this.#changed();
  }

  #changed() {
    const { value } = this.#field;
    if (value !== this.#text) {
      this.#marks = moved(this.#marks, this.#text, value);
      this.#text = value;
      this.#draw();
    }
    const subject = this.#subject();
    if (this.#wanted === subject && this.#foot.dataset.state !== "lost") return;
    this.#wanted = subject;
    this.#foot.dataset.state = "asking";
    this.#look();
  }

  /** What an answer depends on. */
  #subject() {
    const { model, emphasis } = this.#tab.values;
    return JSON.stringify([this.#field.value, model, emphasis]);
  }

  async #ask(signal) {
    const text = this.#field.value;
    if ([...text].length > LONGEST) return; // which is said when a picture is asked for
    const { model = null, emphasis } = this.#tab.values;
    try {
      const found = await ask("/x/prompt", { text, role: this.#role, model, emphasis }, { signal });
      if (signal.aborted || text !== this.#field.value) return;
      this.#take(text, found);
      this.#foot.dataset.state = "known";
    } catch (error) {
      if (error.status === undefined) throw error;
      if (!signal.aborted) this.#foot.dataset.state = "lost"; // the next key asks again
    }
  }

  #take(text, { tokens, of, chunks, problems }) {
    const at = units(text);
    const tinted = chunks.length < 2 ? [] : chunks.map(([start, end], place) => ({
      start: at(start), end: at(end), name: place % 2 ? "w-chunk w-chunk-odd" : "w-chunk", first: place > 0 ? "w-chunk-first" : "", stretches: true,
    }));
    const wrong = problems.map(({ start, end, sentence }) => ({ ...seen(text, at(start), at(end)), name: "w-problem-mark", sentence, stretches: false }));
    this.#marks = [...tinted, ...wrong];
    this.#count.textContent = tokens === null || tokens === undefined ? "" : `${tokens}/${of ?? OF}`;
    const parts = chunks.length > 1 ? `, in ${chunks.length} chunks, which the model reads one by one` : "";
    this.#count.title = `${tokens} of ${of ?? OF} tokens${parts}`;
    this.#draw();
  }

  #draw() {
    this.#mirror.show(this.#field.value, this.#marks);
    this.#point();
  }

  get #problems() {
    return this.#marks.filter(({ sentence }) => sentence);
  }

  /** Say below the problem that the caret is in, else the first. */
  #point() {
    const problems = this.#problems;
    const { selectionStart: caret } = this.#field;
    const focused = document.activeElement === this.#field;
    this.#problem = (focused && problems.find(({ start, end }) => start <= caret && caret <= end)) || problems[0] || null;
    this.#said.hidden = this.#problem === null;
    if (this.#problem === null) return this.#describe();
    const more = problems.length > 1 ? ` (1 of ${problems.length} problems)` : "";
    const text = `${this.#problem.sentence}${more}`;
    if (this.#said.textContent !== text) this.#said.replaceChildren(icon("wrong"), make("span", {}, text));
    return this.#describe();
  }

  /** Those who listen hear the problem with the field, unless something about its value is wrong already. */
  #describe() {
    if (this.#field.hasAttribute("aria-invalid")) return;
    if (this.#problem) this.#field.setAttribute("aria-describedby", this.#said.id);
    else this.#field.removeAttribute("aria-describedby");
  }

  /** To the place that is spoken of. */
  #lead() {
    this.#field.focus();
    this.#field.setSelectionRange(this.#problem.start, this.#problem.end);
  }

  #hover({ clientX: x, clientY: y }) {
    const on = this.#problems.find(({ start, end }) => this.#mirror.rectangles(start, end).some((each) => each.left - 2 <= x && x <= each.right + 2 && each.top <= y && y <= each.bottom));
    if (!on) return this.#tip.hidePopover();
    const [{ left, bottom }] = this.#mirror.rectangles(on.start, on.end);
    this.#tip.textContent = on.sentence;
    this.#tip.showPopover();
    this.#tip.style.left = `${Math.max(8, Math.min(left, document.documentElement.clientWidth - this.#tip.offsetWidth - 8))}px`;
    this.#tip.style.top = `${bottom + 4}px`;
    return undefined;
  }

  #key(event) {
    const up = { ArrowUp: true, ArrowDown: false }[event.key];
    if (up === undefined || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.isComposing) return;
    const { value, selectionStart, selectionEnd } = this.#field;
    const change = weighed(value, selectionStart, selectionEnd, up);
    event.preventDefault();
    if (change) replace(this.#field, change);
  }
}

/** A problem that has no width, such as something that is missing at the end, is shown at the character before it. */
function seen(text, start, end) {
  if (end > start) return { start, end };
  return start > 0 ? { start: start - 1, end: start } : { start, end: Math.min(1, text.length) };
}

const dressed = new WeakSet();

/** Dress the prompts of a tab that are on the page now, which those in folds are once the fold was opened. */
function dress(tab) {
  for (const [name, role] of Object.entries(ROLES)) {
    const block = document.getElementById(`${tab.task}_${name}`);
    const field = block?.querySelector("textarea");
    if (!field || dressed.has(field)) continue;
    dressed.add(field);
    new PromptBox(tab, role, field, block);
  }
}

for (const tab of Object.values(page.tabs).filter(({ controls }) => controls.names.includes("prompt"))) {
  tab.withStage(() => {
    const column = document.getElementById(`${tab.task}_compose`);
    dress(tab);
    document.getElementById(tab.task)?.addEventListener("filled", () => dress(tab));
    if (column) new MutationObserver(() => dress(tab)).observe(column, { childList: true, subtree: true }); // Gradio may draw it later, or anew
  });
}
