// Says what happens: to everybody in a small note, to those who listen instead of look in a live region.

import { button, make } from "./dom.js";

const SHOWN_FOR = 5000; // milliseconds; what went wrong stays until it is closed
const UNDO_FOR = 15000; // milliseconds that undoing is offered
const MOST_NOTES = 3;
const SAID = document.getElementById("w-said"); // kept here, for a dialog that is removed takes along what is in it

/** Say a sentence. `wrong`: it is an error. `undo`: {label, act} is offered beside it. `stays`: until it is closed. */
export function say(sentence, { wrong = false, undo = null, stays = wrong } = {}) {
  listening(wrong).textContent = sentence;
  const note = make("div", { class: wrong ? "w-note w-wrong" : "w-note" }, make("span", {}, sentence));
  const close = () => note.remove();
  const later = () => (note.matches(":hover, :focus-within") ? wait() : close()); // not from under somebody's hand
  const wait = () => setTimeout(later, undo ? UNDO_FOR : SHOWN_FOR);
  if (undo) note.append(button(undo.label, null, () => (close(), undo.act())));
  if (stays) note.append(button("Close this note", "cancel", close, { shown: false }));
  else wait();
  const notes = document.getElementById("w-notes");
  notes.append(note);
  while (notes.children.length > MOST_NOTES) notes.firstElementChild.remove();
  return note;
}

/** Tell only those who listen, of what others see anyway. */
export function tell(sentence) {
  const region = listening(false);
  if (region.textContent !== sentence) region.textContent = sentence;
}

/** Carry out what a person asked for; whatever is wrong with it is said. Returns its result, or null. */
export async function tried(act) {
  try {
    return await act();
  } catch (error) {
    if (error.status === undefined) throw error; // a fault of ours, which must not look like an answer
    say(error.message, { wrong: true });
    return null;
  }
}

function listening(wrong) {
  rise();
  return document.getElementById(wrong ? "w-alert" : "w-status");
}

/** Into the dialog that is open, if one is: what lies behind it is neither seen nor heard nor can be pressed. */
function rise() {
  const above = [...document.querySelectorAll("dialog:modal")].at(-1) ?? document.body;
  if (SAID.parentElement === above) return;
  above.append(SAID);
  if (above !== document.body) above.addEventListener("close", rise, { once: true });
}
