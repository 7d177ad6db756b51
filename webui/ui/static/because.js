// Why a model takes other settings than most: what follows from its file's name.

/** "4 steps, CFG scale 1 and Euler, because its name says Lightning."; "" where nothing does. */
export function because({ because: word, hinted, steps, scale, sampler }) {
  if (!word) return "";
  const all = { steps: steps === 1 ? "one step" : `${steps} steps`, scale: `CFG scale ${scale}`, sampler };
  const said = Object.entries(all).filter(([name]) => hinted.includes(name)).map(([, text]) => text);
  const last = said.pop();
  return `${[said.join(", "), last].filter(Boolean).join(" and ")}, because its name says ${word}.`;
}
