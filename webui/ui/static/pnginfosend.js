// Sending on what a picture was made with, the picture itself, or both, to any tab.

import { make } from "./dom.js";
import { inputSource } from "./inputs.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";
import { leftOver } from "./info.js";

/** The row of buttons for an item of a place. */
export function sending(item) {
  const has = { picture: Boolean(item.id || item.file), parameters: item.info.text !== "" };
  const box = (name, label) => {
    const input = make("input", { type: "checkbox", name, disabled: !has[name] });
    input.checked = has[name];
    input.addEventListener("change", draw);
    return [input, make("label", { class: "w-check" }, input, make("span", {}, label))];
  };
  const [picture, pictureLabel] = box("picture", "the picture");
  const [parameters, parametersLabel] = box("parameters", "the parameters");
  const buttons = Object.values(page.tabs).map((tab) => {
    const go = () => send(item, tab, { picture: picture.checked, parameters: parameters.checked });
    return make("button", { type: "button", class: "w-button", data: { task: tab.task }, onclick: go }, tab.task);
  });
  function draw() {
    for (const each of buttons) {
      const tab = page.tabs[each.dataset.task];
      each.disabled = !(parameters.checked && takesParameters(tab, item)) && !(picture.checked && takesPicture(tab));
    }
  }
  draw();
  return make("div", { class: "w-info-send", role: "group", "aria-label": "Send to a tab" },
    make("span", { class: "w-info-label" }, "Send to"), ...buttons, make("span", { class: "w-info-what" }, pictureLabel, parametersLabel));
}

/** Put an item's picture, its parameters, or both into a tab, and go there; returns whether it is done. */
export async function send(item, tab, { picture, parameters }) {
  const withPicture = picture && takesPicture(tab);
  if (withPicture) {
    const kept = await tried(() => bring(item));
    if (!kept) return false;
    const { digest, width, height } = kept;
    tab.start({ picture: { url: inputSource(digest), digest, width, height, name: item.name } });
  }
  const withParameters = parameters && takesParameters(tab, item);
  page.show(tab.task);
  if (withParameters) {
    const left = leftOver(item.info);
    const done = await tried(() => tab.read(item.info.text, { keep: withPicture, quietly: true, further: left ? [left] : [], whole: item.given }).then(() => true));
    if (!done) return false;
  }
  const what = [withPicture ? "picture" : "", withParameters ? "parameters" : ""].filter(Boolean);
  say(`The ${what.join(" and the ")} ${what.at(-1) === "picture" ? "is" : "are"} in ${tab.task} now.`);
  return true;
}

function takesPicture(tab) {
  return tab.inputs.names.includes("picture");
}

/** A tab that asks no model takes over only what was made there. */
function takesParameters(tab, item) {
  return item.info.text !== "" && (tab.controls.names.includes("prompt") || item.info.task === tab.task);
}

function bring(item) {
  return item.id ? ask("/x/inputs/from-picture", { id: item.id }) : ask("/x/inputs", undefined, { method: "POST", body: item.file });
}
