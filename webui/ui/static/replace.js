// Changes a text field as if somebody typed: so it can be undone, and whoever listens hears of it.

/** Put a text in place of a part of a field, as if it had been typed: so it can be undone. */
export function replace(field, { start, end, text, select }) {
  field.focus();
  field.setSelectionRange(start, end);
  if (!document.execCommand("insertText", false, text)) {
    field.setRangeText(text, start, end, "end"); // browsers that know no such command
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  if (select) field.setSelectionRange(...select);
}
