"""What could come next in a prompt is listed below the caret, and taken by key or touch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from tests.ui.person import Person, comes_to_be, until, value

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
BOX = "#txt2img_prompt textarea"
WORDS = {
    "lora": ["details", "detailed ink", "water"], "wildcard": ["colours", "colours/warm"], "embedding": ["deep-blue"],
    "style": ["deep oil"], "hypernet": ["dim"],
}  # fmt: skip


def words(context: BrowserContext, asked: list[tuple[str, str]] | None = None) -> None:
    """Answer what is asked for words."""

    def answer(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query, keep_blank_values=True)
        kind, start = query["kind"][0], query["start"][0]
        if asked is not None:
            asked.append((kind, start))
        route.fulfill(json={"words": [{"name": name} for name in WORDS[kind] if name.startswith(start)]})

    context.route("**/x/words?**", answer)
    context.route("**/x/prompt", lambda route: route.fulfill(json={"tokens": 1, "of": 75, "chunks": [], "problems": []}))


def opened(person: Person) -> Page:
    words(person.context)
    page = person.open()
    expect(page.locator("#txt2img_prompt .w-prompt-foot[data-state=known]")).to_be_attached()
    page.locator(BOX).focus()
    return page


def options(page: Page) -> Any:
    return page.locator(".w-completion:popover-open [role=option]")


def type_in(page: Page, text: str) -> None:
    page.locator(BOX).press_sequentially(text)


def test_a_tag_is_completed_by_key(person: Person) -> None:
    page = opened(person)
    type_in(page, "a cat <lora:det")
    expect(options(page)).to_have_text(["detailsLoRA", "detailed inkLoRA"])
    expect(page.locator(BOX)).to_have_attribute("aria-expanded", "true")
    first = options(page).first.get_attribute("id")
    assert page.locator(BOX).get_attribute("aria-activedescendant") == first
    page.keyboard.press("ArrowDown")
    expect(options(page).nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(options(page)).to_have_count(0)
    comes_to_be(page, "prompt", "a cat <lora:detailed ink:1>")
    page.keyboard.press("Control+z")
    comes_to_be(page, "prompt", "a cat <lora:det")


def test_what_stands_behind_the_caret_is_not_put_there_twice(person: Person) -> None:
    page = opened(person)
    type_in(page, "<lora::0.5>")
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    type_in(page, "wat")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("Tab")
    comes_to_be(page, "prompt", "<lora:water:0.5>")
    expect(page.locator(BOX)).to_be_focused()


def test_wildcards_are_completed_between_their_underscores(person: Person) -> None:
    page = opened(person)
    type_in(page, "a __col")
    expect(options(page)).to_have_text(["coloursWildcard", "colours/warmWildcard"])
    page.keyboard.press("Enter")
    comes_to_be(page, "prompt", "a __colours__")
    type_in(page, " ball")
    comes_to_be(page, "prompt", "a __colours__ ball")
    expect(options(page)).to_have_count(0)


def test_a_word_is_only_a_word_until_a_completion_is_chosen(person: Person) -> None:
    page = opened(person)
    type_in(page, "in dee")
    expect(options(page)).to_have_text(["deep-blueEmbedding", "deep oilStyle"])
    page.keyboard.press("Enter")
    comes_to_be(page, "prompt", "in dee\n")
    page.keyboard.press("Backspace")
    type_in(page, "p")
    expect(options(page)).to_have_count(2)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    comes_to_be(page, "prompt", "in deep-blue")


def test_escape_closes_the_list_until_something_else_is_begun(person: Person) -> None:
    page = opened(person)
    type_in(page, "<lora:d")
    expect(options(page)).to_have_count(2)
    page.keyboard.press("Escape")
    expect(options(page)).to_have_count(0)
    type_in(page, "e")
    comes_to_be(page, "prompt", "<lora:de")
    expect(options(page)).to_have_count(0)
    type_in(page, "tails:1> <lora:w")
    expect(options(page)).to_have_text(["waterLoRA"])
    page.locator("#txt2img_negative textarea").focus()
    expect(options(page)).to_have_count(0)


def test_a_style_is_chosen_and_its_name_leaves_the_prompt(person: Person) -> None:
    page = opened(person)
    page.evaluate(
        "fetch('/x/styles', {method: 'POST', headers: {'Content-Type': 'application/json'},"
        " body: JSON.stringify({name: 'deep oil', prompt: 'oil', negative: '', instead_of: null})}).then(each => each.json())"
    )
    page.reload()
    expect(page.locator("#txt2img_prompt .w-prompt-foot[data-state=known]")).to_be_attached()
    page.locator(BOX).focus()
    type_in(page, "a ball, deep")
    expect(options(page)).to_have_count(2)
    options(page).nth(1).click()
    comes_to_be(page, "prompt", "a ball, ")
    page.wait_for_function("webui.controls.txt2img.values.styles.includes('deep oil')")
    assert value(page, "styles") == ["deep oil"]


def test_a_finger_takes_a_word_and_the_list_fits_a_phone(people: Callable[..., Person]) -> None:
    page = opened(people(**PHONE))
    type_in(page, "a very long line of words that goes on <lora:d")
    expect(options(page)).to_have_count(2)
    box = page.locator(".w-completion:popover-open").bounding_box()
    item = options(page).first.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert item is not None and item["height"] >= 38
    options(page).first.tap()
    comes_to_be(page, "prompt", "a very long line of words that goes on <lora:details:1>")
    expect(page.locator(BOX)).to_be_focused()


def test_without_the_program_there_is_no_list_and_writing_goes_on(person: Person) -> None:
    page = opened(person)
    person.meant.add("Failed to load resource")
    person.context.unroute("**/x/words?**")
    person.context.route("**/x/words?**", lambda route: route.abort())
    with page.expect_request("**/x/words?**"):
        type_in(page, "<lora:det")
    comes_to_be(page, "prompt", "<lora:det")
    expect(options(page)).to_have_count(0)


def test_a_late_answer_opens_no_list(person: Person) -> None:
    page = opened(person)
    held: list[Route] = []
    person.context.unroute("**/x/words?**")
    person.context.route("**/x/words?**", lambda route: held.append(route))
    type_in(page, "<lora:det")
    until(page, lambda: len(held) > 0)
    type_in(page, "ails:1>\n")
    comes_to_be(page, "prompt", "<lora:details:1>\n")
    for route in held:
        with contextlib.suppress(Error):  # the browser has given the request up
            route.fulfill(json={"words": [{"name": "too late"}]})
    person.context.unroute("**/x/words?**")
    words(person.context)
    type_in(page, "<lora:w")
    expect(options(page)).to_have_text(["waterLoRA"])


@pytest.mark.parametrize(
    ("file", "start"), [("Lora/fine lines.safetensors", "<lora:fi"), ("embeddings/finest.safetensors", "in fi")]
)
def test_the_programs_own_words_are_listed(person: Person, file: str, start: str) -> None:
    path = Path(person.site.studio.root) / "models" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not looked into to complete its name")
    try:
        page = person.open()
        expect(page.locator("#txt2img_prompt .w-prompt-foot[data-state=known]")).to_be_attached()
        page.locator(BOX).focus()
        type_in(page, start)
        expect(options(page).first).to_contain_text(path.stem)
    finally:
        path.unlink()
