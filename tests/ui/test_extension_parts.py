"""What extensions put into the page: panels at their places, the API of their JavaScript, and what happens where it fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.service.pretend import place_model
from tests.ui.held import HeldEngine
from tests.ui.person import Person, comes_to_be, generate, go, kept, ready, stage, unfold, wide, write
from tests.ui.site import Site, serving
from webui.service.extension_desk import Desk

DATA = Path(__file__).parents[1] / "data"
FAILS = "The JavaScript of the extension wrongjs failed"
PLACES = {  # what holds, in the text, the place of each
    "insert": [
        ["", "<lora:a:1>", "<lora:a:1>"], ["a ball", "<lora:a:1>", "a ball <lora:a:1>"], ["a ball", "red", "a ball, red"],
        ["a ball,", "red", "a ball, red"], ["a ball ", "red", "a ball red"],
    ],
    "take": [
        ["a ball <lora:a:0.5:0.2>, red", "<lora:a:1>", "a ball, red"], ["red, a ball", "red", "a ball"],
        ["a ball, red", "red", "a ball"], ["<LORA:A>", "<lora:a:1>", ""], ["coloured red", "red", "coloured"],
        ["coloured", "red", None], ["<lora:ab:1>", "<lora:a:1>", None], ["a (b) [c]", "(b) [c]", "a"],
        ["infrared", "red", None], ["", "red", None],
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("parts")
    place_model(root)
    for name in ("parts", "wrongjs"):
        shutil.copytree(DATA / f"extension_{name}", root / "extensions" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with serving(root, HeldEngine(0.01)) as served:
        yield served


@pytest.fixture
def someone(people: Callable[..., Person]) -> Person:
    """Somebody who knows that the JavaScript of one of them fails."""
    person = people()
    person.meant.add(FAILS)
    return person


def desk_of(site: Site) -> Desk:
    return Desk(site.studio.shelf, site.studio.installer)


def loaded(page: Page) -> Page:
    """Wait until the code of extensions was loaded."""
    page.wait_for_function("customElements.get('parts-prompt') !== undefined")
    expect(page.locator(".w-note", has_text=FAILS)).to_be_visible()
    return page


def test_panels_are_made_when_they_are_seen_each_at_its_place(someone: Person) -> None:
    page = loaded(someone.open())
    expect(page.locator("#txt2img_settings parts-settings")).to_have_text("parts-settings in txt2img")
    assert page.evaluate("window.partsMade") == {"parts-settings": 1}, "what is in a closed fold is not made"
    assert page.locator("#txt2img_parts_fold .w-own").count() == 0, "nor are its fields"
    fold = page.locator("#txt2img_compose .w-panel", has_text="Parts <b>here</b>")
    fold.locator("summary").click()
    expect(fold.locator("parts-prompt")).to_have_text("parts-prompt in txt2img")
    expect(page.locator("#txt2img parts-picture, #txt2img parts-details")).to_have_count(0)
    generate(page, width="64", height="64")
    stage(page, "finished")
    expect(page.locator("#txt2img .w-below parts-details")).to_have_text("parts-details in txt2img of 64")
    page.locator("#txt2img .w-cell").first.click()
    expect(page.locator(".w-viewer parts-details")).to_have_count(1)
    page.keyboard.press("Escape")
    go(page, "img2img")
    expect(page.locator("#img2img parts-picture")).to_have_text("parts-picture in img2img")
    expect(page.locator("#img2img parts-settings")).to_have_count(0)
    assert wide(page) <= 0


def test_code_that_fails_is_named_and_costs_nothing_else(someone: Person) -> None:
    page = loaded(someone.open())
    go(page, "Wrong")
    expect(page.locator("webui-extension-tab[data-state=ready] .w-problem")).to_contain_text("nothing works <b>here</b>")
    go(page, "txt2img")
    generate(page)
    stage(page, "finished")


def test_the_javascript_api_does_what_it_says(someone: Person) -> None:
    someone.meant.add(404)
    page = loaded(someone.open())
    write(page, "prompt", "a ball")
    comes_to_be(page, "prompt", "a ball")
    found: dict[str, Any] = page.evaluate(
        """async () => {
          const api = await import("webui");
          const heard = [];
          const ends = ["job", "picture", "change", "shown", "tab"].map(name => api.on(name, told => heard.push([name, told])));
          window.heard = heard; window.ends = ends;
          await api.set("txt2img", "parts_word", "hello");
          const own = api.extension("http://x/x/extensions/parts/files/abc/parts.mjs");
          const form = api.fields("mine", [{name: "n", label: "Number", kind: "int", default: 3, min: 0, max: 9}]);
          document.body.append(form.node); form.put({n: 5});
          const refused = await api.get("/x/extensions/parts/nothing").catch(error => [error.status, error.message]);
          const acts = [() => api.set("txt2img", "nonsense", 1), () => api.on("nonsense"), () => api.extension("/x/a.js")];
          const wrong = acts.map(act => { try { act(); return ""; } catch (error) { return error.message; } });
          const field = document.querySelector("#mine input[type=number]").value; form.node.remove();
          return {api: api.API, task: api.current(), tasks: api.tasks(), prompt: api.values().prompt, word: own.value("word"),
                  name: own.name, file: own.file("a.js"), url: own.url("/there"), field, form: form.values(), refused, wrong,
                  picture: api.picture(), label: api.parameters("txt2img").find(({name}) => name === "parts_word").label};
        }"""
    )
    assert found["api"] == "1" and found["task"] == "txt2img" and found["tasks"][:2] == ["txt2img", "img2img"]
    assert (found["prompt"], found["word"], found["label"], found["name"]) == ("a ball", "hello", "Word", "parts")
    assert found["file"] == "/x/extensions/parts/files/abc/a.js" and found["url"] == "/x/extensions/parts/there"
    assert found["field"] == "5" and found["form"] == {"n": 5} and found["picture"] is None
    assert found["refused"][0] == 404 and found["refused"][1].endswith(".") and all(found["wrong"])
    generate(page)
    stage(page, "finished")
    go(page, "img2img")
    page.wait_for_function("window.heard.some(([name, told]) => name === 'tab' && told.name === 'img2img')")
    heard = page.evaluate("window.heard")
    assert {name for name, _ in heard} == {"job", "picture", "change", "shown", "tab"}
    (made,) = [told for name, told in heard if name == "picture"]
    assert made["task"] == "txt2img" and made["id"] == someone.pictures()[0].id
    assert any(name == "shown" and told["picture"] and told["picture"]["id"] == made["id"] for name, told in heard)
    count = page.evaluate("() => { window.ends.forEach(end => end()); return window.heard.length; }")
    go(page, "txt2img")
    generate(page)
    stage(page, "finished")
    assert page.evaluate("window.heard.length") == count


def test_text_goes_into_a_prompt_and_out_of_it_with_what_separates_it(someone: Person) -> None:
    page = loaded(someone.open())
    results = page.evaluate(
        """async cases => {
          const address = document.querySelector('script[type="module"][src*="main.js"]').src.replace("main.js", "insert.js");
          const {insert, takeOut, holds} = await import(address);
          const tab = value => ({task: "none", values: {prompt: value}, controls: {fill(told) { this.told = told.prompt; }}});
          const out = {insert: [], take: []};
          for (const [value, text] of cases.insert) {
            const each = tab(value); await insert(each, text); out.insert.push(each.controls.told);
          }
          for (const [value, text] of cases.take) {
            const each = tab(value); const done = await takeOut(each, text);
            if (done !== holds(value, text)) throw new Error(value);
            out.take.push(done ? each.controls.told : null);
          }
          return out;
        }""",
        PLACES,
    )
    assert results["insert"] == [wanted for *_, wanted in PLACES["insert"]]
    assert results["take"] == [wanted for *_, wanted in PLACES["take"]]


def test_whoever_has_the_page_open_is_offered_to_load_it_again(someone: Person, site: Site) -> None:
    page = loaded(someone.open())
    unfold(page, "parts")
    page.locator("#txt2img_parts_word input").fill("kept")
    comes_to_be(page, "parts_word", "kept")
    kept(page)
    desk_of(site).disable("wrongjs")
    page.evaluate("webui.pictures.search({})")
    note = page.locator("#w-reload")
    expect(note).to_contain_text("Extensions have changed")
    desk_of(site).enable("wrongjs")
    page.evaluate("webui.pictures.search({})")
    expect(note).to_have_count(0)  # it is as it was
    desk_of(site).disable("wrongjs")
    page.evaluate("webui.pictures.search({})")
    with page.expect_navigation():
        note.get_by_role("button", name="Reload").click()
    ready(page)
    comes_to_be(page, "parts_word", "kept")
    expect(page.get_by_role("tab", name="Wrong")).to_have_count(0)
    desk_of(site).disable("parts")
    try:
        page.evaluate("webui.controls.txt2img.set('parts_word', '')")
        generate(page)
        stage(page, "finished")  # without a reload: what is not set is not asked for
    finally:
        for name in ("parts", "wrongjs"):
            desk_of(site).enable(name)


def test_who_is_no_owner_sees_no_extensions(someone: Person) -> None:
    page = someone.open("Extensions")
    expect(page.locator("#extensions_note")).to_contain_text("only an owner")
    expect(page.locator(".w-extension, #extensions_install:visible")).to_have_count(0)
