// Ctrl+V anywhere on the page: a picture goes to the place for pictures that a person was at last, else to the first that is seen.

const places = new Map(); // element -> what takes files there
const WRITTEN_IN = "textarea, [contenteditable]:not([contenteditable=false]), input:not([type=range], [type=checkbox], [type=radio], [type=color], [type=button], [type=file])";
let latest = null;

/** From now on pictures may be pasted into `element`; `take` gets the files. */
export function takesPastes(element, take) {
  places.set(element, take);
  for (const kind of ["pointerenter", "pointerdown", "focusin"]) element.addEventListener(kind, () => (latest = element));
}

/** `element` is gone from the page. */
export function leavesPastes(element) {
  places.delete(element);
  if (latest === element) latest = null;
}

/** Whether somebody writes there, so that keys and pasted text are theirs. */
export function isWritten(element) {
  return element?.matches?.(WRITTEN_IN) ?? false;
}

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  const hasText = [...(event.clipboardData?.types ?? [])].includes("text/plain");
  if (event.defaultPrevented || files.length === 0 || (hasText && isWritten(document.activeElement))) return;
  const place = placed();
  if (!place) return;
  event.preventDefault();
  places.get(place)(files);
});

function placed() {
  const seen = [...places.keys()].filter((each) => each.isConnected && each.checkVisibility());
  if (seen.includes(latest)) return latest;
  return seen.sort((one, other) => (one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1))[0] ?? null;
}
