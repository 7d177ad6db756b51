// The pictures of this person: looked up, starred, put into the trash and back. Every view hears of it, in other tabs too.

import { say, tried } from "./say.js";
import { ask } from "./server.js";

const CHANNEL = "webui-pictures";

/** Events: "change" with {ids, what}, where what is star, unstar, trash, restore, delete or made. */
export class Pictures extends EventTarget {
  #others = new BroadcastChannel(CHANNEL);

  constructor() {
    super();
    this.#others.onmessage = ({ data }) => this.#tell(data);
  }

  /** A stretch of pictures, newest first: {pictures, more}. */
  search({ text = "", starred = false, trashed = false, job = "", before = "", limit = 60 }) {
    const given = { text, starred: starred ? 1 : "", trashed: trashed ? 1 : "", job, before, limit };
    const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== ""));
    return ask(`/x/pictures?${query}`);
  }

  /** Star, unstar, trash, restore or delete pictures; returns whether it was done. */
  async act(what, ids) {
    const done = await tried(() => ask(`/x/pictures/${what}`, { ids }));
    if (done === null) return false;
    this.announce(what, ids);
    return true;
  }

  /** Into the trash, and out of it again if that was a slip. */
  async trash(ids) {
    if (!(await this.act("trash", ids))) return false;
    const undo = { label: "Undo", act: () => this.act("restore", ids) };
    say(ids.length === 1 ? "The picture is in the trash." : `${ids.length} pictures are in the trash.`, { undo });
    return true;
  }

  /** Something happened to pictures. */
  announce(what, ids) {
    this.#others.postMessage({ what, ids });
    this.#tell({ what, ids });
  }

  #tell(detail) {
    this.dispatchEvent(new CustomEvent("change", { detail }));
  }
}

/** Where a picture's bytes are, as they were saved. */
export function source(id, { thumbnail = false, download = false } = {}) {
  return `/x/pictures/${encodeURIComponent(id)}${thumbnail ? "/thumbnail" : ""}${download ? "?download=1" : ""}`;
}

/** Save pictures where the browser saves things: one as its file, several as a zip. */
export function download(ids) {
  const link = document.createElement("a");
  const several = `/x/pictures/zip?ids=${ids.map(encodeURIComponent).join(",")}`;
  link.href = ids.length === 1 ? source(ids[0], { download: true }) : several;
  link.download = "";
  link.click();
}

/** Save all pictures of a job as a zip. */
export function downloadJob(job) {
  const link = document.createElement("a");
  link.href = `/x/jobs/${encodeURIComponent(job)}/zip`;
  link.download = "";
  link.click();
}

/** What a picture shows, for those who do not see it. */
export function describe(picture) {
  const prompt = picture.prompt?.trim() || "a picture without a prompt";
  return `${prompt.length > 160 ? `${prompt.slice(0, 159)}…` : prompt}, seed ${picture.seed}`;
}
