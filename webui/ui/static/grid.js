// A grid of any length whose page holds only the rows that can be seen: ten thousand pictures cost no more than fifty.

const PHONE = 600; // pixels; on narrower windows tiles are smaller
const ON_PHONE = 0.6;
const GAP = 8;
const BEYOND = 2; // rows kept above and below what is seen

export class Grid {
  #host;
  #make;
  #near;
  #count = 0;
  #nodes = new Map();
  #columns = 1;
  #pitch = 1; // pixels from one row to the next
  #asked = false;

  #least;

  /** `least()` is how wide tiles are at least, `make(index)` makes one, `near()` is called when the end comes into sight. */
  constructor(host, { least, make, near }) {
    this.#least = least;
    this.#host = host;
    this.#make = make;
    this.#near = near;
    new ResizeObserver(() => this.draw()).observe(host);
    addEventListener("scroll", () => this.#soon(), { passive: true });
    host.addEventListener("keydown", (event) => this.#key(event));
  }

  get length() {
    return this.#count;
  }

  /** How many cells there are now; `anew` makes those that are seen again. */
  set(count, anew = false) {
    this.#count = count;
    if (anew) this.#drop(() => true);
    this.draw();
  }

  /** Make some cells again. */
  renew(indices) {
    const focused = [...this.#nodes].find(([, node]) => node.contains(document.activeElement))?.[0];
    this.#drop((index) => indices.has(index));
    this.draw();
    if (focused !== undefined && indices.has(focused)) this.focus(focused);
  }

  /** Show only the cells in sight. */
  draw() {
    const width = this.#host.clientWidth;
    if (width === 0) return; // the tab is closed
    const least = this.#least() * (width < PHONE ? ON_PHONE : 1);
    const columns = Math.max(Math.floor((width + GAP) / (least + GAP)), 1);
    const tile = (width - GAP * (columns - 1)) / columns;
    this.#columns = columns;
    this.#pitch = tile + GAP;
    const rows = Math.ceil(this.#count / columns);
    this.#host.style.height = `${Math.max(rows * this.#pitch - GAP, 0)}px`;
    const above = -this.#host.getBoundingClientRect().top;
    const first = Math.max(Math.floor(above / this.#pitch) - BEYOND, 0) * columns;
    const last = Math.min((Math.ceil((above + innerHeight) / this.#pitch) + BEYOND) * columns, this.#count);
    this.#drop((index, node) => (index < first || index >= last) && !node.contains(document.activeElement));
    for (let index = first; index < last; index += 1) this.#place(index, tile);
    if (last >= this.#count - columns * BEYOND) this.#near();
  }

  /** Bring a cell into sight and give it the focus. */
  focus(index) {
    const top = this.#host.getBoundingClientRect().top + scrollY + Math.floor(index / this.#columns) * this.#pitch;
    if (top < scrollY + this.#pitch / 2) scrollTo({ top: top - this.#pitch });
    else if (top + this.#pitch > scrollY + innerHeight) scrollTo({ top: top + 2 * this.#pitch - innerHeight });
    this.draw();
    this.#nodes.get(index)?.querySelector("button")?.focus({ preventScroll: true });
  }

  #place(index, tile) {
    let node = this.#nodes.get(index);
    if (!node) {
      node = this.#make(index);
      node.dataset.index = String(index);
      this.#nodes.set(index, node);
      const after = [...this.#nodes.keys()].filter((each) => each > index).sort((one, other) => one - other)[0];
      this.#host.insertBefore(node, this.#nodes.get(after) ?? null); // in the order in which they are read
    }
    const row = Math.floor(index / this.#columns);
    const column = index % this.#columns;
    node.style.width = `${tile}px`;
    node.style.height = `${tile}px`;
    node.style.transform = `translate(${column * (tile + GAP)}px, ${row * this.#pitch}px)`;
  }

  #drop(which) {
    for (const [index, node] of this.#nodes) {
      if (!which(index, node)) continue;
      node.remove();
      this.#nodes.delete(index);
    }
  }

  #soon() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.draw();
    });
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns }[event.key];
    const cell = event.target.closest("[data-index]");
    if (!by || !cell) return;
    const index = Number(cell.dataset.index) + by;
    if (index < 0 || index >= this.#count) return;
    event.preventDefault();
    this.focus(index);
  }
}
