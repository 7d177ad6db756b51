// Which words of two texts differ: the longest common subsequence of their words (Wagner and Fischer 1974), spaces aside.

const WORDS = /\s+|[,.;:|()[\]{}<>"]|[^\s,.;:|()[\]{}<>"]+/gu;
const MOST_PAIRS = 4_000_000; // beyond it all words between the common beginning and end count as different

/** Two lists of pieces {text, differs}; put together, each is its text again. */
export function differences(one, other) {
  const [a, b] = [one, other].map((text) => text.match(WORDS) ?? []);
  const [wordsA, wordsB] = [a, b].map((pieces) => pieces.filter(isWord));
  const [keptA, keptB] = common(wordsA, wordsB);
  return [pieces(a, keptA), pieces(b, keptB)];
}

function isWord(piece) {
  return piece.trim() !== "";
}

/** For each word of both lists, whether it has its like in the other. */
function common(a, b) {
  const kept = [new Array(a.length).fill(false), new Array(b.length).fill(false)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  for (let at = 0; at < start; at += 1) kept[0][at] = kept[1][at] = true;
  for (let at = 1; at <= end; at += 1) kept[0][a.length - at] = kept[1][b.length - at] = true;
  const [height, width] = [a.length - start - end, b.length - start - end];
  if (height * width <= MOST_PAIRS) within(a, b, start, height, width, kept);
  return kept;
}

function within(a, b, start, height, width, kept) {
  const longest = new Uint32Array((height + 1) * (width + 1)); // of what is left of both from each place on
  const row = width + 1;
  for (let y = height - 1; y >= 0; y -= 1) {
    for (let x = width - 1; x >= 0; x -= 1) {
      const same = a[start + y] === b[start + x];
      longest[y * row + x] = same ? longest[(y + 1) * row + x + 1] + 1 : Math.max(longest[(y + 1) * row + x], longest[y * row + x + 1]);
    }
  }
  let [y, x] = [0, 0];
  while (y < height && x < width) {
    if (a[start + y] === b[start + x]) {
      kept[0][start + y] = kept[1][start + x] = true;
      y += 1;
      x += 1;
    } else if (longest[(y + 1) * row + x] >= longest[y * row + x + 1]) y += 1;
    else x += 1;
  }
}

/** The text's pieces, neighbours of a kind together; a space between words that differ belongs to them. */
function pieces(all, kept) {
  const found = [];
  let word = 0;
  const add = (text, differs) => {
    if (found.at(-1)?.differs === differs) found.at(-1).text += text;
    else found.push({ text, differs });
  };
  all.forEach((piece) => {
    if (isWord(piece)) {
      add(piece, !kept[word]);
      word += 1;
    } else add(piece, word > 0 && word < kept.length && !kept[word - 1] && !kept[word]);
  });
  return found;
}
