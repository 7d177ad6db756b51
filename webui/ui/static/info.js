// What a file or a text says of how a picture was made. The program reads it, whatever wrote it and wherever it stands in the file.

import { ask, Refused } from "./server.js";

const LARGEST = 64 * 2 ** 20; // bytes; the program takes no more
const MOST_NAMED = 6;

/** {format, width, height, source, text, task, values, prompt, negative, unmapped, chunks} of a file; raises `Refused`. */
export function infoOfFile(file) {
  if (file.size > LARGEST) throw new Refused(`${file.name || "That"} is larger than ${LARGEST / 2 ** 20} MB; it is not looked into.`, 413);
  return ask("/x/info", undefined, { method: "POST", body: file });
}

/** The same of a text: ours, or what another program writes. */
export function infoOfText(text) {
  return infoOfFile(new Blob([text], { type: "text/plain" }));
}

/** The same of a picture of the gallery. */
export function infoOfPicture(id) {
  return ask(`/x/info/picture/${encodeURIComponent(id)}`);
}

/** Whether a file may say something of how a picture was made. */
export function mayBeRead(file) {
  return file.type.startsWith("image/") || file.type === "text/plain" || file.type === "application/json" || file.type === "";
}

/** Whether a text is what a program other than those that write "Steps: 20, …" keeps of a picture. */
export function isForeign(text) {
  const trimmed = text.trim();
  if (!trimmed.startsWith("{") || !trimmed.endsWith("}")) return false;
  try {
    return Object.keys(JSON.parse(trimmed)).length > 0;
  } catch {
    return false;
  }
}

/** What another program says that has no name among the parameters: [[name, text], …]. */
export function nameless({ values, unmapped }) {
  const named = new Set(values.map(([key]) => key));
  return Object.entries(unmapped).filter(([name]) => !named.has(name));
}

/** The same as a sentence; "" where there is nothing. What has a name, but no control here, is told when it is read. */
export function leftOver(info) {
  const { source } = info;
  const names = nameless(info).map(([name]) => name);
  if (names.length === 0) return "";
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : "";
  return `Not taken over from ${source || "the file"}: ${names.slice(0, MOST_NAMED).join(", ")}${more}.`;
}
