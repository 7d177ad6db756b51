// Writes PNG files, row by row: a browser's own canvas gives no grey ones, and none that are larger than what it can hold.
// PNG specification, third edition: 5 (datastream structure), 11.2.1 (IHDR), 10 (compression).

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const COLOR_TYPES = { 1: 0, 4: 6 }; // bytes of a pixel: greyscale, red green blue alpha
const BAND = 2 ** 21; // bytes handed over at a time
const TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  let value = number;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/** A PNG as a blob; `row(y, out)` writes one row's bytes. */
export async function png({ width, height, depth }, row) {
  const stream = new CompressionStream("deflate"); // which is zlib's form
  const packed = gathered(stream.readable.getReader());
  const writer = stream.writable.getWriter();
  const length = 1 + width * depth; // the first byte names the filter, none
  const rows = Math.max(1, Math.floor(BAND / length));
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    const band = new Uint8Array(count * length);
    for (let y = 0; y < count; y += 1) row(top + y, band.subarray(y * length + 1, (y + 1) * length));
    await writer.write(band);
  }
  await writer.close();
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, COLOR_TYPES[depth]);
  const parts = [Uint8Array.from(SIGNATURE), ...chunk("IHDR", new Uint8Array(head.buffer))];
  for (const each of await packed) parts.push(...chunk("IDAT", each));
  return new Blob([...parts, ...chunk("IEND", new Uint8Array(0))], { type: "image/png" });
}

async function gathered(reader) {
  const found = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return found;
    found.push(value);
  }
}

function chunk(kind, data) {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setUint32(0, data.length);
  head.set([...kind].map((letter) => letter.charCodeAt(0)), 4);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint32(0, checksum([head.subarray(4), data]));
  return [head, data, tail];
}

function checksum(parts) {
  let value = 0xffffffff;
  for (const part of parts) for (const byte of part) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
