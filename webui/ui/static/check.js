// What is wrong with a value, in the words the program itself would use; it is the program that decides.

const LONGEST_QUOTE = 80;
const CHECKED = ["str", "bool", "int", "float"];

/** A sentence about the value of a parameter, "" where nothing is wrong with it. */
export function wrong(parameter, value) {
  const sentence = `${parameter.label} was ${shown(value)}; it must be ${parameter.expected}.`;
  if (!CHECKED.includes(parameter.kind)) return "";
  if (value === null || value === "" || value === undefined) return parameter.optional || parameter.kind === "str" ? "" : sentence;
  if (parameter.kind === "str") return [...String(value)].length > parameter.longest ? sentence : "";
  if (parameter.kind === "bool") return typeof value === "boolean" ? "" : sentence;
  if (parameter.exact) return /^\s*-?\d{1,30}\s*$/.test(value) ? "" : sentence;
  const number = Number(value);
  const below = parameter.min !== null && number < parameter.min;
  const above = parameter.max !== null && number > parameter.max;
  const between = parameter.kind === "int" && (!Number.isInteger(number) || number % (parameter.step ?? 1) !== 0);
  return Number.isNaN(number) || below || above || between ? sentence : "";
}

/** Which parameter a sentence of the program is about: the one whose label it begins with; null where it is none's. */
export function subject(parameters, sentence) {
  const about = parameters.filter((parameter) => sentence.startsWith(`${parameter.label} was `));
  if (about.length > 0) return about[0];
  const kind = /^(?:Unknown|The) (\w+)/.exec(sentence)?.[1]; // "Unknown sampler …", "The size was …", "The model name …"
  const name = kind === "size" ? "width" : kind?.toLowerCase();
  return parameters.find((parameter) => parameter.name === name) ?? null;
}

function shown(value) {
  if (value === null || value === undefined || value === "") return "empty";
  const text = String(value);
  if (typeof value === "number") return text;
  return `'${text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE - 1)}…` : text}'`;
}
