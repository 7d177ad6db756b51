// Reads the text of a picture's parameters for display: the prompts, and the values of its last line in their order.
// What the text means is for the program to say; the form is the one described in webui/infotext.py.

const KEY = /\s*(\w[\w \-/]*):\s*/uy;
const QUOTED = /"(?:[^"\\]|\\.)*"(?=\s*(?:,|$))/y;
const FEWEST_VALUES = 3;
const NEGATIVE = "Negative prompt:";

/** {prompt, negative, values: [[key, value], …]} */
export function readInfotext(text) {
  const lines = text.replace(/^\n+|\n+$/g, "").split("\n");
  let values = readValues(lines.at(-1));
  if (values.length < FEWEST_VALUES) values = [];
  else lines.pop();
  const found = lines.findIndex((line) => line.trim().startsWith(NEGATIVE));
  const first = found < 0 ? lines.length : found;
  const negative = lines.slice(first).join("\n").trim().replace(NEGATIVE, "").trim();
  return { prompt: lines.slice(0, first).join("\n").trim(), negative, values };
}

/** Whether a text is a picture's parameters rather than a prompt. */
export function isInfotext(text) {
  return /(^|\n|, )Steps: \d/.test(text) && readInfotext(text).values.length >= FEWEST_VALUES;
}

function readValues(line) {
  const values = [];
  let at = 0;
  while (at < line.length) {
    KEY.lastIndex = at;
    const key = KEY.exec(line);
    if (key === null) {
      at = comma(line, at) + 1;
      continue;
    }
    QUOTED.lastIndex = KEY.lastIndex;
    const quoted = unquoted(QUOTED.exec(line)?.[0]);
    const end = comma(line, quoted === null ? KEY.lastIndex : QUOTED.lastIndex);
    values.push([key[1].trim(), quoted ?? line.slice(KEY.lastIndex, end).trim()]);
    at = end + 1;
  }
  return values;
}

/** What a quoted value says; null where it is none, for other programs' texts may hold anything. */
function unquoted(text) {
  try {
    return text === undefined ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function comma(line, at) {
  const found = line.indexOf(",", at);
  return found < 0 ? line.length : found;
}
