// Asking while somebody types: a little later, once, and what was asked before is forgotten.

/** A function that does `act(signal)` once nobody called for `pause` milliseconds; `signal` ends what an earlier call still waits for. */
export function latest(pause, act) {
  let timer = null;
  let going = new AbortController();
  return () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      going.abort();
      going = new AbortController();
      act(going.signal);
    }, pause);
  };
}
