// Reads the text of a picture's parameters for display: the prompts, and the values below them in their order.
// What the text means is for the program to say; the form is the one described in webui/infotext.py.

const NOT_KEY = /[^\p{L}\p{N}_ \-/]/u;
const EDGES = /^[ \-/]+|[ \-/]+$/g; // of a key
const QUOTED = /"(?:[^"\\\u0000-\u001f]|\\.)*"/suy;
const TAIL = /^([\p{L}\p{N}_][\p{L}\p{N}_ \-/]{0,60}): ?([^]*)$/u;
const FIRST = "Steps: "; // what the values begin with, in a text that goes on behind them
const FEWEST_VALUES = 3;
const MOST_LINES = 200; // behind the values
const MOST_GUESSES = 1000; // of values that look like JSON and are none
const NEGATIVE = "Negative prompt:";
const EXACT = { prompt: "Exact prompt", negative: "Exact negative prompt" };

/** {prompt, negative, values: [[key, value], …]} */
export function readInfotext(text) {
  const lines = text.replace(/^\n+|\n+$/g, "").split("\n");
  const { count, values } = found(lines);
  lines.length -= count;
  const negativeAt = lines.findIndex((line) => line.trim().startsWith(NEGATIVE));
  const first = negativeAt < 0 ? lines.length : negativeAt;
  const negative = lines.slice(first).join("\n").trim().replace(NEGATIVE, "").trim();
  const read = { prompt: lines.slice(0, first).join("\n").trim(), negative };
  for (const [name, key] of Object.entries(EXACT)) {
    if (!values.has(key)) continue;
    read[name] = values.get(key);
    values.delete(key);
  }
  return { ...read, values: [...values] };
}

/** Whether a text is a picture's parameters rather than a prompt. */
export function isInfotext(text) {
  return /(^|\n|, )Steps: \d/.test(text) && readInfotext(text).values.length >= FEWEST_VALUES;
}

/** How many of the last lines hold values, and these: the last one, or an earlier one with `Key: text` lines behind it. */
function found(lines) {
  const last = scanned(lines.at(-1));
  if (last.size >= FEWEST_VALUES) return { count: 1, values: last };
  for (let count = 2; count <= Math.min(lines.length, MOST_LINES); count += 1) {
    if (!lines.at(-count).startsWith(FIRST) || !TAIL.test(lines.at(1 - count))) continue;
    const values = scanned(lines.at(-count));
    if (values.size < FEWEST_VALUES) break;
    for (const [key, value] of behind(lines.slice(1 - count))) if (!values.has(key)) values.set(key, value);
    return { count, values };
  }
  return { count: 0, values: new Map() };
}

/** Values behind the others, each from a line of its own on. */
function behind(lines) {
  const values = new Map();
  let [key, said] = ["", []];
  for (const line of lines) {
    const match = TAIL.exec(line);
    if (match === null) {
      said.push(line);
      continue;
    }
    if (key) values.set(key, said.join("\n"));
    [key, said] = [match[1].trim(), [match[2]]];
  }
  return values.set(key, said.join("\n"));
}

function scanned(line) {
  const values = new Map();
  let [at, guesses] = [0, 0];
  while (at < line.length) {
    const comma = commaFrom(line, at);
    const colon = line.indexOf(":", at);
    if (colon < 0 || colon >= comma) {
      at = comma + 1;
      continue;
    }
    const key = line.slice(at, colon).split(NOT_KEY).at(-1).replace(EDGES, "");
    if (!key) {
      at = colon + 1;
      continue;
    }
    const begin = colon + 1 + /^\s*/.exec(line.slice(colon + 1))[0].length;
    const json = guesses < MOST_GUESSES ? jsonAt(line, begin) : null;
    if (json === null && '"[{'.includes(line[begin] ?? " ")) guesses += 1;
    values.set(key, json ? json.value : line.slice(begin, commaFrom(line, begin)).trim());
    at = (json ? json.end : commaFrom(line, begin)) + 1;
  }
  return values;
}

/** A JSON string that begins there, or a list or object as its text, and where the comma after it is; null where none is. */
function jsonAt(line, at) {
  const end = line[at] === '"' ? afterString(line, at) : "[{".includes(line[at] ?? " ") ? afterBrackets(line, at) : null;
  if (end === null || line.slice(end, commaFrom(line, end)).trim() !== "") return null;
  const text = line.slice(at, end);
  try {
    const value = JSON.parse(text);
    return { value: typeof value === "string" ? value : text, end: commaFrom(line, end) };
  } catch {
    return null; // other programs' texts may hold anything
  }
}

function afterString(line, at) {
  QUOTED.lastIndex = at;
  return QUOTED.test(line) ? QUOTED.lastIndex : null;
}

function afterBrackets(line, at) {
  let depth = 0;
  for (let place = at; place < line.length; place += 1) {
    if (line[place] === '"') {
      const end = afterString(line, place);
      if (end === null) return null;
      place = end - 1;
    } else if ("[{".includes(line[place])) depth += 1;
    else if ("]}".includes(line[place])) depth -= 1;
    if (depth === 0) return place + 1;
  }
  return null;
}

function commaFrom(line, at) {
  const place = line.indexOf(",", at);
  return place < 0 ? line.length : place;
}
