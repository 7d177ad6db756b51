// What a picture was made with, in words, and what can be done with it: the same below the result and in the full view.

import { copy } from "./clipboard.js";
import { button, icon, make } from "./dom.js";
import { readInfotext } from "./infotext.js";
import { download, downloadJob } from "./pictures.js";
import { say, tried } from "./say.js";
import { mapButtons, sendButton } from "./send.js";
import { ask } from "./server.js";
import { inputSource } from "./inputs.js";
import { inspect } from "./pnginfotab.js";

/** The parameters as a list of names and values. */
export function parameterList(text) {
  const { prompt, negative, values } = readInfotext(text);
  const list = make("dl", { class: "w-parameters" });
  const add = (name, value, wide) => list.append(make("div", { class: wide ? "w-wide" : "" }, make("dt", {}, name), make("dd", {}, value)));
  add("Prompt", prompt || "(empty)", true);
  if (negative) add("Negative prompt", negative, true);
  for (const [name, value] of values) add(name, value, false);
  return list;
}

/** The buttons for a picture. `page` is the whole page, `siblings` how many pictures its job made. */
export function actionBar(page, picture, { siblings = 1, full = null } = {}) {
  const { pictures } = page;
  const star = button(picture.starred ? "Unstar" : "Star", "star", () => toggleStar(page, picture), {
    shown: false, class: picture.starred ? "w-on" : "", "aria-pressed": String(Boolean(picture.starred)), data: { act: "star" },
  });
  const out = picture.trashed
    ? [
        button("Restore", "restore", () => pictures.act("restore", [picture.id]), { data: { act: "restore" } }),
        button("Delete for good", "trash", () => page.deleteForGood([picture.id]), { class: "w-danger", data: { act: "delete" } }),
      ]
    : [button("Move to the trash", "trash", () => pictures.trash([picture.id]), { shown: false, data: { act: "trash" } })];
  return make("div", { class: "w-actions", role: "toolbar", "aria-label": "Actions for this picture" },
    full ? button("Full view", "full", full, { shown: false, data: { act: "full" } }) : null,
    button("Download", "download", () => download([picture.id]), { data: { act: "download" } }),
    siblings > 1 ? button(`All ${siblings}`, "zip", () => downloadJob(picture.job), {
      data: { act: "zip" }, "aria-label": `Download all ${siblings} pictures of this job as a zip` }) : null,
    star,
    ...out,
    sendButton(page, picture),
    ...mapButtons(page, picture),
    make("span", { class: "w-gap" }),
    button("Reuse seed", "seed", () => reuseSeed(page, picture), { data: { act: "seed" } }),
    button("Reuse all", "redo", () => reuseAll(page, picture), { data: { act: "all" } }),
    button("Copy parameters", "copy", () => copy(picture.parameters), { data: { act: "copy" } }),
    button("PNG Info", "info", () => inspect({ picture }), { shown: full === null, title: "All that the file says, and the difference to another", data: { act: "info" } }),
  );
}

/** A fold with the parameters in it; what was open stays open for the next picture. */
export function parameterFold(text, open, ontoggle) {
  const fold = make("details", { class: "w-fold", open }, make("summary", {}, icon("next"), "Parameters"), parameterList(text));
  fold.addEventListener("toggle", () => ontoggle(fold.open));
  return fold;
}

async function toggleStar({ pictures }, picture) {
  await pictures.act(picture.starred ? "unstar" : "star", [picture.id]);
}

async function reuseSeed(page, picture) {
  const { tab } = page;
  const { controls, task } = tab.controls.names.includes("seed") ? tab : page.tabs.txt2img;
  await controls.fill({ seed: String(picture.seed) });
  page.show(task);
  say(`The seed is ${picture.seed} now.`);
}

/** Everything as it was: the controls, and the pictures it began with, in the tab it was made in. */
async function reuseAll(page, picture) {
  const found = await tried(() => ask("/x/read", { text: picture.parameters, area: page.tabs[picture.task] ? picture.task : null }));
  if (!found) return;
  const tab = page.tabs[found.area];
  const known = picture.inputs ?? {};
  const start = Object.entries(known).map(([name, digest]) => [name, { url: inputSource(digest), digest, width: 0, height: 0, name: "" }]);
  if (start.length > 0) tab.start(Object.fromEntries(start));
  await tab.controls.fill(found.values);
  page.show(tab.task);
  tab.took(found.notes, { picture });
}
