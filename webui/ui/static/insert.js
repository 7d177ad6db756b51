// Puts text into a prompt, or takes it out again, as if somebody had typed it.

import { replace } from "./replace.js";

const TOUCHED = matchMedia("(hover: none)").matches; // there, a field that gets the focus brings up a keyboard

/** Put a text where the caret is, with what separates it from its neighbours. `negative`: into the negative prompt. */
export async function insert(tab, text, { negative = false } = {}) {
  const name = negative ? "negative" : "prompt";
  const field = fieldOf(tab, name);
  const value = field?.value ?? tab.values[name] ?? "";
  const at = field?.selectionEnd ?? value.length;
  const put = `${before(value.slice(0, at), text)}${text}${behind(value.slice(at), text)}`;
  if (field) replace(field, { start: at, end: at, text: put });
  else await tab.controls.fill({ [name]: value.slice(0, at) + put + value.slice(at) });
}

/** Take a text out of a prompt; returns whether it was in. A tag is found whatever its strength. */
export async function takeOut(tab, text, { negative = false } = {}) {
  const name = negative ? "negative" : "prompt";
  const field = fieldOf(tab, name);
  const value = field?.value ?? tab.values[name] ?? "";
  const place = placeOf(value, text);
  if (!place) return false;
  const [start, end] = place;
  if (field) replace(field, { start, end, text: "" });
  else await tab.controls.fill({ [name]: value.slice(0, start) + value.slice(end) });
  return true;
}

/** Whether a prompt has a text. */
export function holds(value, text) {
  return placeOf(value ?? "", text) !== null;
}

function placeOf(value, text) {
  const tag = /^<[^:<>]+:[^:<>]+/.exec(text);
  const what = tag ? `${quoted(tag[0])}(?::[^<>]*)?>` : `(?<![\\w-])${quoted(text)}(?![\\w-])`;
  const match = text.trim() === "" ? null : new RegExp(`(?:, ?| )?${what}`, tag ? "i" : "").exec(value);
  if (!match) return null;
  const end = match.index + match[0].length;
  const leads = match.index === 0 ? (/^, ?|^ /.exec(value.slice(end))?.[0].length ?? 0) : 0; // nothing begins with a comma
  return [match.index, end + leads];
}

function quoted(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

function before(left, text) {
  if (left === "" || /\s$/.test(left)) return "";
  return text.startsWith("<") || left.endsWith(",") ? " " : ", ";
}

function behind(right, text) {
  if (right === "" || /^[\s,]/.test(right)) return "";
  return text.endsWith(">") ? " " : ", ";
}

/** The field, where it can be typed into: one that Gradio has not drawn yet is filled another way, and one behind a dialog too. */
function fieldOf(tab, name) {
  const field = document.querySelector(`#${tab.task}_${name} textarea`);
  return field?.checkVisibility() && !document.querySelector("dialog:modal") && !TOUCHED ? field : null;
}
