// What the JavaScript of an extension may use of the page: `import { extension, on, values } from "webui";`
//
// An extension's files are modules, loaded once the page can be used. A tab or panel of it is an element that it defines with
// `customElements.define`; the page makes one when it is first to be seen, and sets `task` (and for "picture details" also
// `picture`) on it. Text from elsewhere goes into the page through `make` and `textContent`, never as HTML. What is not named
// here is the page's own and may change with any version.

import { confirm } from "./confirm.js";
import { button, icon, make } from "./dom.js";
import { Form } from "./form.js";
import { inputSource } from "./inputs.js";
import { insert as put } from "./insert.js";
import { page } from "./page.js";
import { source } from "./pictures.js";
import { say, tell, tried } from "./say.js";
import { ask, Refused } from "./server.js";

/** The version of what is offered here, as manifests name it. */
export const API = "1";

export {
  button, // (label, icon or null, onclick, {shown = true}) -> a button as the page has them
  confirm, // (question, explanation, yes) -> whether the person says yes
  icon, // (name) -> an icon of the page's
  make, // (tag, attributes, ...children) -> an element; text stays text, `on…` attributes are listeners
  Refused, // what `get` and `post` raise: `message` is a sentence for people, `status` HTTP's, 0 without an answer
  say, // (sentence, {wrong, undo: {label, act}}) -> shown in a note, and read out
  source, // (id, {thumbnail, download}) -> the address of a picture in the gallery
  tell, // (sentence) -> read out to those who listen instead of look
  tried, // (act) -> what an async function returns; null where it was refused, which is said
};

/** The task of the tab that makes pictures and is looked at, or was last: "txt2img", "img2img", … */
export function current() {
  return page.tab.task;
}

/** The tasks there are. */
export function tasks() {
  return Object.keys(page.tabs);
}

/** What is known of a task's parameters: [{name, label, help, kind, default, min, max, step, one_of, …}]. */
export function parameters(task = current()) {
  return page.tabs[task].controls.parameters.map((parameter) => ({ ...parameter }));
}

/** The values of a task's controls by name; null is the model's default. Those of extensions are "extension_field". */
export function values(task = current()) {
  return { ...page.tabs[task].values };
}

/** Set a control, as if a person had. What the value may not be is said when a picture is asked for. */
export function set(task, name, value) {
  if (!page.tabs[task].controls.names.includes(name)) throw new Error(`${task} has no parameter ${name}.`);
  return page.tabs[task].controls.fill({ [name]: value });
}

/** Put text into a task's prompt where the caret is, separated from its neighbours; `negative`: into the negative prompt. */
export function insert(task, text, { negative = false } = {}) {
  return put(page.tabs[task], text, { negative });
}

/** The digests of the pictures that a task starts from, by name. */
export function inputs(task = current()) {
  return { ...page.tabs[task].inputs.digests };
}

/** Start from a picture that was brought to the program: {digest, width, height, name}; null from none. */
export function setInput(task, name, given) {
  page.tabs[task].inputs.set(name, given && { url: inputSource(given.digest), ...given });
}

/** Bring a file or blob to the program: {digest, width, height}. */
export function upload(file) {
  return ask("/x/inputs", undefined, { method: "POST", body: file });
}

/** The address of a picture that was brought. */
export { inputSource };

/** The picture that a task's stage shows now, null for none: {id, job, seed, width, height, prompt, parameters, …}. */
export function picture(task = current()) {
  const shown = page.tabs[task].stage?.picture;
  return shown ? { ...shown } : null;
}

/** The job that a task's stage shows now, null for none: {id, task, state, pictures, fraction}. */
export function job(task = current()) {
  const shown = page.tabs[task].stage?.job;
  return shown ? plain(shown) : null;
}

/** A person's newest pictures: {pictures, more}. Words of `text` are looked for in prompts and parameters. */
export function pictures({ text = "", job: of = "", before = "", limit = 60 } = {}) {
  return page.pictures.search({ text, job: of, before, limit });
}

/** Press Generate in a task's tab. */
export function generate(task = current()) {
  return page.generate(task);
}

/** Queue a job of a task with these parameters, and pictures by their digests; what is left out is the program's own. Returns its id. */
export function submit(task, given, pictures = {}) {
  return page.jobs.submit(task, given, [], pictures);
}

/** Go to a tab: a task, "gallery", "settings", or "extension/tab" for one of an extension's. */
export function show(tab) {
  page.show(tab.replace("/", "--"));
}

/**
 * Call `act` whenever something happens, until the function that is returned is called:
 * "job" {id, task, state, kind, pictures, fraction, event} when a job of this person's is not as it was,
 * "picture" {id, job, task} when a picture is in the gallery, "shown" {task, picture} when a stage shows another picture,
 * "change" {task, values} when controls changed, "tab" {name} when a tab was opened.
 */
export function on(event, act) {
  if (!(event in LISTENING)) throw new Error(`There is no event ${event}; known: ${Object.keys(LISTENING).join(", ")}.`);
  return LISTENING[event](act);
}

/** Ask an address of the program for JSON; `query` is put behind it. */
export function get(path, query = {}, options = {}) {
  const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined));
  return ask(`${path}${given.size > 0 ? `?${given}` : ""}`, undefined, options);
}

/** Send JSON to an address of the program; returns the JSON that is answered. */
export function post(path, data = {}, options = {}) {
  return ask(path, data, options);
}

/**
 * What is an extension's own, by the address of the file that asks: `const own = extension(import.meta.url)`.
 * `own.get(path, query)` and `own.post(path, data)` ask its routes, `own.url(path)` is their address, `own.file(name)` that of a
 * file beside it that the manifest names, `own.value(field, task)` one of its parameters.
 */
export function extension(url) {
  const [, name, version] = /\/x\/extensions\/([^/]+)\/files\/([^/]+)\//.exec(url) ?? [];
  if (!name) throw new Error(`${url} is no file of an extension; pass import.meta.url.`);
  const address = (path) => `/x/extensions/${name}/${path.replace(/^\/+/, "")}`;
  return {
    name,
    url: address,
    file: (path) => address(`files/${version}/${path}`),
    get: (path, query = {}, options = {}) => get(address(path), query, options),
    post: (path, data = {}, options = {}) => post(address(path), data, options),
    value: (field, task = current()) => values(task)[`${name}_${field}`],
    set: (field, value, task = current()) => set(task, `${name}_${field}`, value),
  };
}

/**
 * Fields as the page has them: `fields(id, [{name, label, help, kind, default, min, max, one_of, …}], {values, changed})`.
 * `kind` is "str", "int", "float" or "bool". Returns {node, values(), put(values)}; `changed(values)` is called after each change.
 */
export function fields(id, described, { values: given = {}, changed = () => {} } = {}) {
  const form = new Form(id, described, given);
  const node = make("div", { class: "w-fields", id }, ...form.nodes());
  form.addEventListener("change", () => changed({ ...form.values }));
  return { node, values: () => ({ ...form.values }), put: (wanted) => form.put(wanted) };
}

function plain({ id, task, ended, state, pictures: count, fraction, sentence }) {
  return { id, task, state: ended || state, pictures: count, fraction, sentence };
}

function listen(target, event, heard) {
  target.addEventListener(event, heard);
  return () => target.removeEventListener(event, heard);
}

const LISTENING = {
  job: (act) => listen(page.jobs, "change", ({ detail: { job: changed, kind, event } }) => act({ ...plain(changed), kind, event: { ...event } })),
  picture: (act) => listen(page.jobs, "change", ({ detail: { job: changed, kind, event } }) =>
    kind === "picture" && act({ id: event.id, job: changed.id, task: changed.task })),
  shown(act) {
    const last = new Map();
    const look = () => {
      for (const [task, { stage }] of Object.entries(page.tabs)) {
        const id = stage?.picture?.id ?? null;
        if (stage && last.get(task) !== id) act({ task, picture: last.set(task, id) && picture(task) });
      }
    };
    look();
    return listen(page, "drawn", look);
  },
  change(act) {
    const all = Object.entries(page.tabs).map(([task, { controls }]) => listen(controls, "change", () => act({ task, values: values(task) })));
    return () => all.forEach((end) => end());
  },
  tab: (act) => listen(page, "shown", () => {
    const chosen = document.querySelector("#w-tabs > .tab-wrapper [role=tab][aria-selected=true]");
    act({ name: (chosen?.id ?? "").replace(/^tab_|-button$/g, "").replace("--", "/") });
  }),
};
