// Sending a result on: the picture becomes what another tab starts from, its parameters come along.

import { button, icon, make } from "./dom.js";
import { inputSource } from "./inputs.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const TASKS = [
  ["img2img", "img2img", "a picture from it"],
  ["inpaint", "inpaint", "a part of it made anew"],
  ["depth", "depth", "the same space, another picture"],
  ["extras", "extras", "the same, larger"],
  ["txt2img", "txt2img", "its parameters alone"],
];
const MARGIN = 8; // pixels between the menu and the window's edge

/** The button with the menu, the same wherever a picture is seen. */
export function sendButton(page, picture) {
  const open = button("Send to", "send", () => choose(page, picture, open), { "aria-haspopup": "menu", data: { act: "send" } });
  return open;
}

function choose(page, picture, opener) {
  const items = TASKS.map(([task, label, what]) =>
    make("button", { type: "button", role: "menuitem", class: "w-button w-row", data: { task }, onclick: () => (menu.hidePopover(), sendTo(page, picture, task)) },
      make("span", {}, label), make("small", {}, what)));
  const menu = make("div", { class: "w-menu w-send", popover: "auto", role: "menu", "aria-label": "Send the picture to" }, items);
  menu.addEventListener("toggle", ({ newState }) => newState === "closed" && menu.remove());
  menu.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = items.indexOf(document.activeElement);
    items[(at + by + items.length) % items.length].focus();
  });
  (opener.closest("dialog[open]") ?? document.body).append(menu);
  menu.showPopover();
  place(menu, opener);
  items[0].focus();
}

/** Below the button, or above it where there is more room; never beyond the window. */
function place(menu, opener) {
  const { left, top, bottom } = opener.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = bottom + 4 + height <= innerHeight - MARGIN;
  menu.style.inset = "auto";
  menu.style.left = `${Math.max(MARGIN, Math.min(left, document.documentElement.clientWidth - width - MARGIN))}px`;
  menu.style.top = `${below ? bottom + 4 : Math.max(MARGIN, top - 4 - height)}px`;
}

/** Send a picture to a task's tab; returns whether it is there. */
export async function sendTo(page, picture, task) {
  const tab = page.tabs[task];
  if (tab.inputs.names.includes("picture")) {
    const kept = await tried(() => ask("/x/inputs/from-picture", { id: picture.id }));
    if (!kept) return false;
    const { digest, width, height } = kept;
    tab.start({ picture: { url: inputSource(digest), digest, width, height, name: picture.name } });
  }
  if (tab.controls.names.includes("prompt")) await tried(() => tab.read(picture.parameters, { keep: true, quietly: true }));
  page.show(task);
  say(tab.inputs.names.length > 0 ? `The picture is in ${task} now.` : "The parameters are in txt2img now.");
  return true;
}

/** Keep what is where in a picture, and change what it shows: its depth map becomes the start, the prompt is what comes next. */
export async function keepStructure(page, picture) {
  const tab = page.tabs.depth;
  const { digest, width = picture.width, height = picture.height } = mapOf(picture);
  tab.start({ depth: { url: inputSource(digest), digest, width, height, name: "depth map" } });
  await tried(() => tab.read(picture.parameters, { keep: true, quietly: true }));
  await tab.controls.fill({ depth_invert: false, depth_near: 1, depth_far: 0, strength: 1 }); // the map is as it was used already
  page.show("depth");
  say("The structure stays; say what the picture should show now.");
  await tab.write();
}

/** The depth map a picture was made with: {digest}; null where there is none. */
export function mapOf(picture) {
  const map = picture.maps?.depth ?? null;
  return typeof map === "string" ? { digest: map } : map;
}

/** What a picture of a gallery or stage can be continued with beside sending it. */
export function mapButtons(page, picture) {
  const map = mapOf(picture);
  if (!map) return [];
  return [
    button("Keep the structure, change the prompt", "structure", () => keepStructure(page, picture), { class: "w-solid w-structure", data: { act: "structure" } }),
    make("a", { class: "w-button", href: inputSource(map.digest), download: `depth-${map.digest.slice(0, 10)}.png`, data: { act: "map" }, title: "The depth map as a 16-bit PNG" }, icon("download"), make("span", {}, "Depth map")),
  ];
}
