// Finds the parameters' text in a picture file, here in the browser: the picture itself need not be sent anywhere.
// PNG: the chunks tEXt, zTXt and iTXt with the keyword "parameters" (PNG specification, section 11.3.3).

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const KEYWORD = "parameters";
const UTF8 = new TextDecoder();

/** The text, or "" where the file has none. */
export async function textOfPicture(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!SIGNATURE.every((byte, at) => bytes[at] === byte)) return "";
  const view = new DataView(bytes.buffer);
  let at = SIGNATURE.length;
  while (at + 12 <= bytes.length) {
    const length = view.getUint32(at);
    const kind = latin1(bytes.subarray(at + 4, at + 8));
    const text = await textOfChunk(kind, bytes.subarray(at + 8, at + 8 + length));
    if (text !== null) return text;
    at += 12 + length;
  }
  return "";
}

async function textOfChunk(kind, data) {
  if (!["tEXt", "zTXt", "iTXt"].includes(kind)) return null;
  const [keyword, afterKeyword] = upToZero(data, 0);
  if (keyword !== KEYWORD) return null;
  if (kind === "tEXt") return latin1(data.subarray(afterKeyword));
  if (kind === "zTXt") return latin1(await inflated(data.subarray(afterKeyword + 1)));
  const isCompressed = data[afterKeyword] === 1;
  const [, afterLanguage] = upToZero(data, afterKeyword + 2);
  const [, afterTranslation] = upToZero(data, afterLanguage);
  const rest = data.subarray(afterTranslation);
  return UTF8.decode(isCompressed ? await inflated(rest) : rest);
}

function upToZero(data, from) {
  const end = data.indexOf(0, from);
  const stop = end < 0 ? data.length : end;
  return [latin1(data.subarray(from, stop)), stop + 1];
}

async function inflated(data) {
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Each byte is the character of its number; TextDecoder's "latin1" is another encoding, windows-1252. */
function latin1(data) {
  return Array.from(data, (byte) => String.fromCharCode(byte)).join("");
}
