"""The prompt while it is written: problems are underlined and said, tokens counted, chunks tinted, weights turned up and down."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, Locator, Page, Route, expect

from tests.ui.person import Person, comes_to_be, stage, unfold, until, wide, write

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
BOX = "#txt2img_prompt textarea"
FOOT = "#txt2img_prompt .w-prompt-foot"
MARK = "#txt2img_prompt .w-problem-mark"
CHUNK = "#txt2img_prompt .w-chunk"
SENTENCE = "A bracket <b>is</b> never closed."


def said(text: str) -> dict[str, Any]:
    """What a program says that counts words and minds brackets, eight words to a chunk."""
    starts = [at for at, each in enumerate(text) if each != " " and (at == 0 or text[at - 1] == " ")]
    cuts = [0, *starts[8::8], len(text)]
    chunks = [[start, end] for start, end in pairwise(cuts)]
    problems = [{"start": at, "end": at + 1, "sentence": SENTENCE} for at, each in enumerate(text) if each == "("]
    return {"tokens": len(starts), "of": 75 * max(len(chunks), 1), "chunks": chunks, "problems": problems}


def pretend(context: BrowserContext) -> list[str]:
    """Answer what is asked about prompts; returns the texts that were asked about."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or "")["text"])
        route.fulfill(json=said(asked[-1]))

    context.route("**/x/prompt", answer)
    return asked


def opened(person: Person) -> tuple[Page, list[str]]:
    """A page whose prompts are read by a program that pretends."""
    asked = pretend(person.context)
    page = person.open()
    known(page)
    return page, asked


def known(page: Page) -> None:
    """Wait until the program has said what it has to say about the prompt as it is."""
    expect(page.locator(f"{FOOT}[data-state=known]")).to_be_attached()


def marked(page: Page, what: str = MARK) -> list[str]:
    """The words that are marked."""
    return page.locator(what).all_text_contents()


def test_an_error_is_underlined_and_said_and_gone_when_it_is_mended(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a red (ball on sand")
    expect(page.locator(MARK).first).to_be_attached()
    assert "(" in "".join(marked(page))
    line = page.locator("#txt2img_prompt .w-prompt-problem")
    expect(line).to_be_visible()
    assert line.inner_text().strip().rstrip(")").endswith((".", "problems"))
    assert page.locator(BOX).get_attribute("aria-describedby") == line.get_attribute("id")
    decoration = page.locator(MARK).first.evaluate("each => getComputedStyle(each).textDecorationStyle")
    assert decoration == "wavy"
    write(page, "prompt", "a red (ball) on sand")
    expect(line).to_be_hidden()
    assert marked(page) == []
    assert page.locator(BOX).get_attribute("aria-describedby") is None
    page.locator("#txt2img_generate").click()
    stage(page, "finished")


def test_the_programs_own_count_of_tokens_is_shown(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a red ball")
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("3/75")
    write(page, "prompt", "ball " * 80)
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("80/150")
    page.locator(BOX).focus()
    expect(page.locator("#txt2img_prompt .w-chunk-odd").first).to_be_attached()
    assert "".join(marked(page, "#txt2img_prompt .w-chunk-odd")).split() == ["ball"] * 5
    expect(page.locator("#txt2img_negative .w-tokens")).to_have_text("0/75")


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_what_is_drawn_over_the_text_lies_where_the_text_is(people: Callable[..., Person], device: str) -> None:
    person = people(**PHONE) if device == "phone" else people()
    page, _ = opened(person)
    texts = ["a (ball", "w" * 400, "one\ntwo\n\n", "many words " * 60 + "\n" * 12 + "(end", "ünï — 漢字 (x " * 30]
    for text in texts:
        page.locator(BOX).fill(text)
        known(page)
        sizes = page.locator(BOX).evaluate(
            "each => { const mirror = each.nextElementSibling;"
            " const box = one => { const {x, y} = one.getBoundingClientRect(); return [x, y]; };"
            " each.scrollTop = 1e6; mirror.scrollTop = each.scrollTop;"
            " return [[each.scrollHeight, each.clientWidth, each.scrollTop, ...box(each)],"
            " [mirror.scrollHeight, mirror.clientWidth, mirror.scrollTop, ...box(mirror)]]; }"
        )
        assert sizes[0] == pytest.approx(sizes[1], abs=1.01), text
    assert wide(page) <= 0


def test_places_are_those_of_characters_whatever_a_browser_counts(person: Person) -> None:
    page, _ = opened(person)
    page.locator(BOX).fill("🦊🦊 𝒜 (ball")
    expect(page.locator(MARK)).to_have_text("(")
    page.locator("#txt2img_prompt .w-prompt-problem").click()
    assert page.locator(BOX).evaluate("each => [each.selectionStart, each.selectionEnd]") == [8, 9]


def test_a_sentence_is_seen_at_its_word_and_is_never_markup(person: Person) -> None:
    page, _ = opened(person)
    page.locator(BOX).fill("first (one and (two")
    expect(page.locator(MARK)).to_have_count(2)
    line = page.locator("#txt2img_prompt .w-prompt-problem")
    expect(line).to_have_text(f"{SENTENCE} (1 of 2 problems)")
    assert page.locator("#txt2img_prompt b").count() == 0
    tip = page.locator("#txt2img_prompt .w-prompt-tip")
    expect(tip).to_be_hidden()
    box = page.locator(MARK).first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 8)
    expect(tip).to_be_visible()
    expect(tip).to_have_text(SENTENCE)
    page.mouse.move(box["x"] + 60, box["y"] + 8)
    expect(tip).to_be_hidden()


def test_chunks_are_tinted_while_one_writes_and_only_then(person: Person) -> None:
    page, _ = opened(person)
    page.locator(BOX).fill("one two three four five six seven eight nine ten")
    known(page)
    expect(page.locator(CHUNK)).to_have_count(2)
    assert marked(page, "#txt2img_prompt .w-chunk-odd") == ["nine ten"]
    odd = page.locator("#txt2img_prompt .w-chunk-odd")
    expect(odd).not_to_have_css("background-color", "rgba(0, 0, 0, 0)")
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("10/150")
    page.locator("#txt2img_width input").focus()
    expect(odd).to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_only_the_last_of_what_is_typed_counts_however_slow_the_program_is(person: Person) -> None:
    held: list[Route] = []
    free = threading.Event()

    def answer(route: Route) -> None:
        if free.is_set():
            route.fulfill(json=said(json.loads(route.request.post_data or "")["text"]))
        else:
            held.append(route)

    page, _ = opened(person)
    person.context.unroute("**/x/prompt")
    person.context.route("**/x/prompt", answer)
    page.locator(BOX).fill("a (b")
    until(page, lambda: len(held) > 0)
    free.set()
    page.locator(BOX).fill("a ball without brackets")
    known(page)
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("4/75")
    for route in held:
        with_answer(route)
    page.locator(BOX).press("End")
    assert marked(page) == []
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("4/75")


def with_answer(route: Route) -> None:
    """Answer at last what nobody waits for any more."""
    with contextlib.suppress(Error):  # the browser has given the request up
        route.fulfill(json=said("a (b"))


def test_without_the_program_what_is_known_stays_and_writing_goes_on(person: Person) -> None:
    page, _ = opened(person)
    page.locator(BOX).fill("one (two three")
    expect(page.locator(MARK)).to_have_text("(")
    known(page)
    person.meant.add("Failed to load resource")
    person.context.unroute("**/x/prompt")
    person.context.route("**/x/prompt", lambda route: route.abort())
    page.locator(BOX).press("Home")
    page.locator(BOX).press_sequentially("zero ")
    expect(page.locator(f"{FOOT}[data-state=lost]")).to_be_attached()
    assert marked(page) == ["("]
    assert page.locator(MARK).evaluate("each => [...each.parentElement.childNodes].indexOf(each) > 0")
    page.locator(BOX).fill("zero one two three")
    expect(page.locator(MARK)).to_have_count(0)
    comes_to_be(page, "prompt", "zero one two three")
    person.context.unroute("**/x/prompt")
    pretend(person.context)
    page.locator(BOX).press("End")
    page.locator(BOX).press_sequentially(" (")
    expect(page.locator(MARK)).to_have_text("(")


def test_a_pause_is_waited_for_before_the_program_is_asked(person: Person) -> None:
    page, asked = opened(person)
    page.locator(BOX).focus()
    page.evaluate(  # all keys in one go, as fast as anybody could type
        "() => { const field = document.querySelector('#txt2img_prompt textarea'); for (const each of 'a large blue cube')"
        " document.execCommand('insertText', false, each); return field.value; }"
    )
    known(page)
    expect(page.locator("#txt2img_prompt .w-tokens")).to_have_text("4/75")
    assert [text for text in asked if text] == ["a large blue cube"]


WEIGHTS = [
    ("a c|at b", "up", "a (c|at:1.1) b"), ("a (c|at:1.1)", "up", "a (c|at:1.2)"), ("a (c|at:1.1) b", "down", "a c|at b"),
    ("a |big cat|, x", "up", "a (|big cat|:1.1), x"), ("a (|big cat|:1.1), x", "up", "a (|big cat|:1.2), x"),
    ("a |cat|", "down", "a (|cat|:0.9)"), ("(c|at)", "up", "(c|at:1.2)"), ("(c|at)", "down", "c|at"),
    ("<lora:fi|ne:0.8>", "up", "<lora:fi|ne:0.85>"), ("<lora:fi|ne>", "down", "<lora:fi|ne:0.95>"),
    ("<lora:fine:te=0.5:un|et=1>", "up", "<lora:fine:te=0.55:un|et=1>"), ("((c|at))", "up", "((c|at:1.2))"),
    (r"\(c|at\)", "up", r"\((c|at:1.1)\)"), ("(big |cat|:1.2)", "up", "(big (|cat|:1.1):1.2)"), ("a , | b", "up", "a , | b"),
    ("a |cat | b", "up", "a (|cat|:1.1)  b"),
]  # fmt: skip


def shown(field: Locator) -> str:
    """A field's text, with | where the selection begins and ends."""
    text, start, end = field.evaluate("each => [each.value, each.selectionStart, each.selectionEnd]")
    return f"{text[:start]}|{text[start:end]}|{text[end:]}" if end > start else f"{text[:start]}|{text[start:]}"


def test_keys_turn_weights_up_and_down_and_undo_takes_it_back(person: Person) -> None:
    page, _ = opened(person)
    field = page.locator(BOX)
    for before, way, after in WEIGHTS:
        start, text = before.index("|"), before.replace("|", "")
        end = before.rindex("|") - (before.count("|") - 1)
        field.fill(text)
        field.evaluate("(each, [start, end]) => each.setSelectionRange(start, end)", [start, end])
        field.press("Control+ArrowUp" if way == "up" else "Control+ArrowDown")
        assert shown(field) == after, before
        if after.replace("|", "") != text:
            field.press("Control+z")
            assert field.input_value() == text, f"undo after {before}"
            field.press("Control+Shift+z")
            assert field.input_value() == after.replace("|", "")
    field.fill("a ball")
    field.evaluate("each => each.setSelectionRange(3, 3)")
    for _ in range(3):
        field.press("Control+ArrowUp")
    comes_to_be(page, "prompt", "a (ball:1.3)")


def test_a_prompt_that_is_filled_in_is_read_too(person: Person) -> None:
    page, _ = opened(person)
    page.evaluate("webui.controls.txt2img.fill({prompt: 'filled (in'})")
    expect(page.locator(MARK)).to_have_text("(")
    known(page)


def test_every_tab_that_has_prompts_reads_them(person: Person) -> None:
    pretend(person.context)
    page = person.open("inpaint")
    write(page, "negative", "not (this", "inpaint")
    expect(page.locator("#inpaint_negative .w-problem-mark")).to_have_text("(")


def test_the_prompts_of_a_second_pass_are_read_too(person: Person) -> None:
    page, _ = opened(person)
    unfold(page, "hires_fix")
    write(page, "hires_prompt", "larger (still")
    expect(page.locator("#txt2img_hires_prompt .w-problem-mark")).to_have_text("(")
    expect(page.locator("#txt2img_hires_prompt .w-tokens")).to_have_text("2/75")
