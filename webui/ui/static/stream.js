// The stream of what happens to this person's jobs, held only while there is something to hear.
//
// Browsers allow six connections to a program, over all tabs: so the stream ends when no job is open, and while the tab is hidden.
// It is opened again by a submission here or in another tab, and when the tab is looked at.

import { ask } from "./server.js";

const PATH = "/x/events";
const FIRST_WAIT = 500; // milliseconds until the first new try; each further one waits twice as long
const LONGEST_WAIT = 15000;
const CHANNEL = "webui-jobs";

/** Events: "message" with the event as its detail, "opened", "lost", "idle". */
export class Stream extends EventTarget {
  #source = null;
  #tries = 0;
  #timer = null;
  #news = false; // something was submitted after the stream was opened, which its "idle" may not know of
  #others = new BroadcastChannel(CHANNEL);

  constructor() {
    super();
    this.#others.onmessage = () => this.open();
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#close() : this.open()));
    addEventListener("pageshow", (event) => event.persisted && this.open()); // back from the browser's memory of pages
    addEventListener("pagehide", () => this.#close());
    addEventListener("online", () => this.again());
  }

  /** Listen, from now until nothing is open any more. */
  open() {
    if (document.hidden || this.#source) return;
    clearTimeout(this.#timer);
    this.#news = false;
    this.#source = new EventSource(PATH);
    this.#source.onopen = () => {
      this.#tries = 0;
      this.#say("opened");
    };
    this.#source.onmessage = (message) => this.#take(JSON.parse(message.data));
    this.#source.onerror = () => this.#retry();
  }

  /** Listen, and have the other tabs do so too. */
  announce() {
    this.open();
    this.#news = true;
    this.#others.postMessage("open");
  }

  /** Drop the connection, if there is one, and make it anew. */
  again() {
    this.#close();
    this.open();
  }

  #take(event) {
    if (event.kind === "idle") {
      this.#close();
      if (this.#news) this.open();
      else this.#say("idle");
    } else if (event.kind === "behind") {
      this.again(); // events were left out: what is shown is looked up anew
    } else {
      this.dispatchEvent(new CustomEvent("message", { detail: event }));
    }
  }

  #retry() {
    this.#close();
    this.#say("lost");
    ask("/x/jobs").catch(() => {}); // a stream does not say why it ended; whoever is signed out is asked to sign in
    const wait = Math.min(FIRST_WAIT * 2 ** this.#tries, LONGEST_WAIT);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.open(), wait);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #say(kind) {
    this.dispatchEvent(new Event(kind));
  }
}
