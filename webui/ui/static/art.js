// What a canvas holds of one picture: its pixels for the screen, and its layers.

import { asFile, asState } from "./layerfile.js";
import { Layer } from "./strokes.js";

const MOST_PIXELS = 4096 * 4096; // that are drawn on; a larger picture's layers are enlarged afterwards
const LONGEST_SIDE = 16384;
const SMALLEST = 700; // pixels of the smallest copy for the screen
const GLANCE = 256; // pixels in which transparency is looked for
const OPAQUE = 254;

export class Art {
  layers;
  transparent = false;
  images = []; // {image, width} for the screen, each half as large as the one before; there are more once the picture is decoded
  #state;
  #closed = false;
  #files = new Map(); // layer -> {version, file, digest}

  /** `state`: {width, height, seen}; `names` of its layers; `onready` when there is more to see; `like`: whose layers stay, where they fit. */
  constructor(state, names, onready, like = null) {
    this.#state = state;
    const { width, height } = state;
    this.scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)), LONGEST_SIDE / Math.max(width, height));
    this.width = Math.max(1, Math.round(width * this.scale)); // of what is drawn on
    this.height = Math.max(1, Math.round(height * this.scale));
    const fits = like?.width === this.width && like.height === this.height;
    this.layers = fits ? like.layers : Object.fromEntries(names.map((name) => [name, new Layer(name, this.width, this.height)]));
    if (state.seen) this.#decode(state.seen.image, onready);
  }

  /** Give its memory back. */
  close() {
    for (const { image } of this.images) image.close();
    this.images = [];
    this.#closed = true;
  }

  /** A PNG of a layer, null where it is empty; made once for what is drawn. */
  blob(name) {
    const layer = this.layers[name];
    if (!layer || layer.empty) return Promise.resolve(null);
    return this.#file(name, layer).file;
  }

  /** Its digest, null where it is empty; brought once for what is drawn. */
  async uploaded(name, upload) {
    const layer = this.layers[name];
    if (!layer || layer.empty) return null;
    const made = this.#file(name, layer);
    made.digest ??= made.file.then(upload).then(({ digest }) => digest);
    made.digest.catch(() => (made.digest = null)); // so that asking again tries again
    return made.digest;
  }

  /** The state of a layer that shows a file, or the picture itself where `source` is null; null where it cannot be read. */
  read(name, source, how) {
    return asState(source ?? this.#state.seen.image, this.layers[name].tiles, how);
  }

  /** The colour at a point, as #rrggbb. */
  colorAt([x, y]) {
    const canvas = new OffscreenCanvas(1, 1);
    const context = canvas.getContext("2d");
    if (this.images[0]) context.drawImage(this.images[0].image, -Math.floor(x), -Math.floor(y), this.width, this.height);
    const { data } = context.getImageData(0, 0, 1, 1);
    return `#${[...data.slice(0, 3)].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
  }

  #file(name, layer) {
    const known = this.#files.get(name);
    if (known?.version === layer.version) return known;
    const made = { version: layer.version, file: asFile(layer, this.#state.width, this.#state.height), digest: null };
    this.#files.set(name, made);
    return made;
  }

  /** The picture once as it is drawn on, and copies each half as large, so that showing it small takes no time. */
  async #decode(image, onready) {
    const large = { resizeWidth: this.width, resizeHeight: this.height, resizeQuality: "medium" };
    let copy = await createImageBitmap(image, this.scale < 1 ? large : {}).catch(() => null);
    if (!copy || this.#closed) return void copy?.close();
    this.images.push({ image: copy, width: copy.width });
    this.#lookThrough(copy);
    onready();
    while (copy.width > SMALLEST && copy.height > 1 && !this.#closed) {
      copy = await createImageBitmap(copy, { resizeWidth: Math.ceil(copy.width / 2), resizeHeight: Math.ceil(copy.height / 2), resizeQuality: "medium" }).catch(() => null);
      if (!copy) break;
      this.images.push({ image: copy, width: copy.width });
    }
    onready();
  }

  #lookThrough(image) {
    const share = Math.min(1, GLANCE / Math.max(image.width, image.height));
    const [width, height] = [Math.max(1, Math.round(image.width * share)), Math.max(1, Math.round(image.height * share))];
    const context = new OffscreenCanvas(width, height).getContext("2d");
    context.drawImage(image, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    this.transparent = data.some((value, at) => at % 4 === 3 && value < OPAQUE);
  }
}
