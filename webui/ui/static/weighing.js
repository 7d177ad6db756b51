// Ctrl+Up and Ctrl+Down: the weight of what is selected, or of the word at the caret, by a tenth; that of a tag by a twentieth.

const STEP = 0.1;
const TAG_STEP = 0.05;
const PLAIN = 1.1; // what (brackets) without a number mean
const WEIGHT = /:\s*(-?\d*\.?\d+)\s*$/;
const TAG = /<\w+:[^<>]*>/g;
const APART = /[\s,.;!?()[\]{}<>|\\/:"]/; // what words do not have in them

/** What replaces which part of a text, {start, end, text, select: [from, to]}; null where there is nothing to weigh. */
export function weighed(text, from, to, up) {
  const tag = tagAt(text, from, to);
  if (tag) return tagged(tag, from, to, up);
  let [start, end] = trimmed(text, from, to);
  const group = groupAt(text, start, end);
  if (group) return grouped(text, group, [start, end], from !== to, up);
  if (start === end) [start, end] = wordAt(text, start);
  if (start === end) return null;
  const weight = rounded(1 + (up ? STEP : -STEP));
  const word = text.slice(start, end);
  const select = from === to ? [from + 1, from + 1] : [start + 1, end + 1];
  return { start, end, text: `(${word}:${weight})`, select };
}

function tagAt(text, from, to) {
  for (const found of text.matchAll(TAG)) {
    const end = found.index + found[0].length;
    if (found.index <= from && to <= end && (from > found.index || to > from)) return { start: found.index, end, text: found[0] };
  }
  return null;
}

/** `<lora:name:0.8>`: the number behind the name; without one it stands for 1. */
function tagged({ start, end, text }, from, to, up) {
  const [kind, name, first = "1", ...rest] = text.slice(1, -1).split(":");
  const named = /^(\w+=)?(-?\d*\.?\d+)$/.exec(first.trim());
  if (!named) return null;
  const weight = rounded(Number(named[2]) + (up ? TAG_STEP : -TAG_STEP));
  const changed = `<${[kind, name, `${named[1] ?? ""}${weight}`, ...rest].join(":")}>`;
  const behind = from - start > kind.length + name.length + first.length + 2; // then it stays behind the same words
  const kept = Math.min(from + (behind ? changed.length - text.length : 0), start + changed.length - 1);
  return { start, end, text: changed, select: from === to ? [kept, kept] : [start, start + changed.length] };
}

function trimmed(text, from, to) {
  let [start, end] = [from, to];
  while (start < end && /\s/.test(text[start])) start += 1;
  while (end > start && /\s/.test(text[end - 1])) end -= 1;
  return [start, end];
}

/** The brackets that a selection is all the content of, or all of; around a caret, the innermost ones. */
function groupAt(text, start, end) {
  const open = [];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") open.push(at);
    else if (text[at] === ")" && open.length > 0) {
      const group = { start: open.pop(), end: at + 1 };
      const inside = text.slice(group.start + 1, at).replace(WEIGHT, "");
      const content = [group.start + 1, group.start + 1 + inside.length];
      const whole = start === group.start && end === group.end;
      const all = start === content[0] && end === content[1];
      if (start === end ? group.start < start && start < group.end : whole || all) return { ...group, content };
    }
  }
  return null;
}

function grouped(text, { start, end, content }, [first], selected, up) {
  const inside = text.slice(...content);
  const said = WEIGHT.exec(text.slice(content[0], end - 1));
  const weight = rounded((said ? Number(said[1]) : PLAIN) + (up ? STEP : -STEP));
  const changed = weight === "1" ? inside : `(${inside}:${weight})`;
  const shift = weight === "1" ? -1 : 0;
  const kept = Math.min(first, content[1]) + shift;
  return { start, end, text: changed, select: selected ? [content[0] + shift, content[1] + shift] : [kept, kept] };
}

function wordAt(text, at) {
  let [start, end] = [at, at];
  while (start > 0 && !APART.test(text[start - 1])) start -= 1;
  while (end < text.length && !APART.test(text[end])) end += 1;
  return [start, end];
}

function rounded(weight) {
  return String(Math.round(weight * 100) / 100);
}
