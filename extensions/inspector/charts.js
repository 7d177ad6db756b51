// Two small charts of a picture's steps: how hard the prompt pulls, and how much noise is left.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [320, 120];
const EDGE = { left: 8, right: 8, top: 10, bottom: 8 };

/**
 * A chart of one number a step, of `count` there will be: {values: [number or null], at, title, says(index) -> a sentence,
 * choose(index)}. The node is an image with the sentence of the chosen step as its label; a press chooses the nearest step.
 */
export function chart({ values, count, at, title, says, choose }) {
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "in-chart", role: "img", preserveAspectRatio: "none" });
  svg.setAttribute("aria-label", `${title}. ${says(at)}`);
  const known = values.map((value, index) => [index, value]).filter(([, value]) => value !== null);
  const top = Math.max(...known.map(([, value]) => value), 1e-9);
  const x = (index) => EDGE.left + (count > 1 ? index / (count - 1) : 0.5) * (WIDTH - EDGE.left - EDGE.right);
  const y = (value) => HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  const points = known.map(([index, value]) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`);
  svg.append(drawn("line", { x1: x(at), x2: x(at), y1: 0, y2: HEIGHT, class: "in-now" }));
  if (points.length > 1) {
    const ends = [x(known.at(-1)[0]), x(known[0][0])].map((each) => `${each.toFixed(1)},${HEIGHT - EDGE.bottom}`);
    svg.append(drawn("polygon", { points: [...points, ...ends].join(" "), class: "in-ground" }));
    svg.append(drawn("polyline", { points: points.join(" "), class: "in-line" }));
  }
  for (const [index, value] of known) {
    svg.append(drawn("circle", { cx: x(index), cy: y(value), r: index === at ? 5 : 2, class: index === at ? "in-dot in-on" : "in-dot" }));
  }
  svg.addEventListener("pointerdown", (event) => {
    const { left, width } = svg.getBoundingClientRect();
    const part = ((event.clientX - left) / width) * WIDTH - EDGE.left;
    const index = Math.round((part / (WIDTH - EDGE.left - EDGE.right)) * (count - 1));
    choose(Math.min(Math.max(index, 0), values.length - 1));
  });
  return svg;
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
