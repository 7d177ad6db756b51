// What was dropped: files, folders with what is in them, or a picture that was dragged here from elsewhere on this page.

import { fetched } from "./decoded.js";

/** Whether what is dragged could be a picture. */
export function mayBePicture(event) {
  const types = [...(event.dataTransfer?.types ?? [])];
  return types.includes("Files") || types.includes("text/uri-list");
}

/** The files of a drop. It must be called while the event is handled: afterwards the browser has forgotten them. */
export function filesOf(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const address = transfer.getData("text/uri-list").split("\n").find((line) => line && !line.startsWith("#"))?.trim();
  if (entries.length === 0) return address ? linked(address) : Promise.resolve([]);
  return Promise.all(entries.map(within)).then((found) => found.flat());
}

async function linked(address) {
  const url = new URL(address, location.href);
  if (url.origin !== location.origin && url.protocol !== "blob:") return [];
  const name = decodeURIComponent(url.pathname.split("/").at(-1)) || "picture";
  const file = await fetched(url.href, name);
  return file ? [file] : [];
}

/** The files in a file or folder, in the order of their names. */
async function within(entry) {
  if (!entry || entry instanceof File) return entry ? [entry] : [];
  if (entry.isFile) return new Promise((resolve) => entry.file((file) => resolve([file]), () => resolve([])));
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([]))); // a hundred at a time
    if (some.length === 0) break;
    inside.push(...some);
  }
  inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  return (await Promise.all(inside.map(within))).flat();
}
