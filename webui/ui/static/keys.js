// Keys that work wherever the focus is: Ctrl+Enter generates, Alt+Enter skips.

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing || document.querySelector("dialog[open]")) return;
  const id = event.ctrlKey || event.metaKey ? "txt2img_generate" : event.altKey ? "txt2img_skip" : null;
  const target = id && document.getElementById(id);
  if (!target || target.offsetParent === null) return; // another tab is shown
  event.preventDefault();
  event.stopPropagation();
  target.click();
}, { capture: true });
