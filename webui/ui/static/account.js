// Who is signed in, how the page looks, and, for the owner, with whom it is shared.

import { button, icon, make } from "./dom.js";
import { page } from "./page.js";
import { say, tried } from "./say.js";
import { ask } from "./server.js";

const THEMES = [["system", "System"], ["light", "Light"], ["dark", "Dark"]];

class Account extends HTMLElement {
  #menu = make("div", { class: "w-menu", popover: "auto", id: "w-account-menu" });

  connectedCallback() {
    if (this.childElementCount > 0) return;
    const open = make("button", {
      type: "button", class: "w-button w-account", popovertarget: "w-account-menu", "aria-label": "Account and appearance", id: "w-account",
    }, icon("account"), make("span", { class: "w-account-name" }));
    this.append(open, this.#menu);
    page.opened.then(({ user }) => this.#draw(user), () => this.#draw({ name: "", owner: false }));
  }

  #draw(user) {
    this.querySelector(".w-account-name").textContent = user.name;
    this.#menu.replaceChildren(...[
      make("p", { class: "w-menu-name" }, user.name, user.owner && user.name !== "owner" ? make("small", {}, "owner") : null),
      this.#themes(),
      user.owner ? button("Sharing and people", "share", () => this.#share(), { class: "w-row", id: "w-share" }) : null,
      make("p", { class: "w-menu-keys" }, keys("Ctrl", "Generate"), keys("Alt", "Skip")),
      user.signed_in ? make("form", { method: "post", action: "/logout" }, button("Sign out", "back", () => {}, { type: "submit", class: "w-row", id: "w-sign-out" })) : null,
    ].filter(Boolean));
  }

  #themes() {
    const group = make("div", { class: "w-segments", role: "group", "aria-label": "Appearance" });
    const draw = () => group.replaceChildren(...THEMES.map(([name, label]) => {
      const pick = () => page.controls.settings.fill({ theme: name });
      const pressed = String((page.controls.settings.values.theme ?? "system") === name);
      return make("button", { type: "button", "aria-pressed": pressed, data: { theme: name }, onclick: pick }, label);
    }));
    page.controls.settings.addEventListener("change", draw);
    draw();
    return group;
  }

  async #share() {
    this.#menu.hidePopover();
    const dialog = make("dialog", { class: "w-dialog", id: "w-sharing", "aria-label": "Sharing and people" });
    dialog.addEventListener("close", () => dialog.remove());
    const inside = make("div");
    dialog.append(inside);
    document.body.append(dialog);
    if (await this.#fill(dialog, inside)) dialog.showModal();
    else dialog.remove(); // why is said
  }

  async #fill(dialog, inside) {
    const [share, who] = await Promise.all([tried(() => ask("/x/share")), tried(() => ask("/x/who"))]);
    if (!share || !who) return false;
    const again = () => this.#fill(dialog, inside);
    inside.replaceChildren(
      make("h2", {}, "Sharing and people"),
      ...sharing(share, again),
      make("h3", {}, "Who is connected"),
      who.sessions.length
        ? make("ul", { class: "w-people" }, ...who.sessions.map((session) => person(session, again)))
        : make("p", { class: "w-aside" }, "Nobody has signed in. Whoever sits at this machine needs no account."),
      make("div", { class: "w-actions" },
        make("a", { class: "w-button", href: "/accounts" }, "Accounts …"),
        make("span", { class: "w-gap" }),
        make("button", { type: "button", class: "w-button w-solid", autofocus: true, onclick: () => dialog.close() }, "Done")),
    );
    return true;
  }
}

function keys(held, what) {
  return make("span", {}, make("kbd", {}, held), " ", make("kbd", {}, "Enter"), ` ${what}`);
}

function sharing(share, again) {
  const end = async () => {
    if (await tried(() => ask("/x/share", { end: true }))) say("The page is not shared any more.");
    again();
  };
  return [
    make("p", {}, share.sentence),
    share.address ? make("p", { class: "w-address" }, make("code", {}, share.address)) : null,
    share.address ? make("div", { class: "w-actions" }, button("End sharing", "stop", end, { class: "w-danger" })) : null,
  ].filter(Boolean);
}

function person(session, again) {
  const end = async () => {
    await tried(() => ask("/x/sessions/end", { id: session.id }));
    again();
  };
  const seen = new Date(session.seen * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return make("li", {},
    make("span", { class: "w-person" }, make("b", {}, session.name), make("small", {}, `${session.address} · last seen ${seen}`)),
    session.here ? make("small", {}, "this browser") : button(`End the session of ${session.name}`, "cancel", end, { shown: false }));
}

customElements.define("webui-account", Account);
