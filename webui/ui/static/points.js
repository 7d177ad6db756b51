// Places in a text: the program counts characters, a browser counts the units of UTF-16, of which some characters have two.

/** A function from the program's places to the browser's. */
export function units(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (point) => Math.min(point, text.length);
  const starts = [0];
  for (const character of text) starts.push(starts.at(-1) + character.length);
  return (point) => starts[Math.min(point, starts.length - 1)];
}
