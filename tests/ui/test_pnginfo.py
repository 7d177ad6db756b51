"""The PNG Info tab: what a file of any kind says of how it was made, sent on to other tabs, and the difference of two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.ui.drawn import content, file, stripes
from tests.ui.person import Person, comes_to_be, digests, go, until, value, wide
from tests.ui.test_gallery_page import hang
from webui import infotext
from webui.drawing import Txt2Img
from webui.metadata import writing

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WINDOWS = {"desktop": {}, "phone": PHONE}
EVIL = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>"
PARAMS = Txt2Img(prompt="a red ball, matte", negative="a cube", steps=12, sampler="Euler", scale=3, seed=5, width=96, height=64)
TEXT = infotext.write(PARAMS)
OTHER = infotext.write(replace(PARAMS, prompt="a blue ball, matte, on sand", steps=14, clip_skip=2))
WORKFLOW = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 77, "steps": 9, "cfg": 5.5, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0, "model": ["4", 0],
        "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "builtin.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 96, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a green cone", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "a ring", "clip": ["4", 1]}},
    "9": {"class_type": "WonderNode", "inputs": {"wonder": EVIL}},
}  # fmt: skip


def written(text: str, kind: str = "PNG", *, size: tuple[int, int] = (96, 64)) -> dict[str, Any]:
    """A file with a text, as a browser is given one."""
    pixels = stripes(*size)
    if kind == "text":
        return file("parameters.txt", text.encode(), "text/plain")
    if kind == "GIF":
        return file("made.gif", _gif(pixels, text), "image/gif")
    return file(f"made{writing.SUFFIXES[kind]}", writing.write(pixels, kind, text), writing.TYPES[writing.SUFFIXES[kind]])


def _gif(pixels: Any, text: str) -> bytes:
    import io

    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "GIF", comment=text.encode())
    return held.getvalue()


def foreign() -> dict[str, Any]:
    """A PNG as ComfyUI writes it."""
    texts = {"prompt": json.dumps(WORKFLOW), "workflow": json.dumps({"nodes": []}), "note": EVIL}
    return file("ComfyUI_00001_.png", writing.png(Image.fromarray(stripes(96, 64)), texts))


def opened(person: Person) -> Page:
    """The tab, ready to be used."""
    page = person.open("PNG Info")
    expect(page.locator("webui-pnginfo[data-state=ready]")).to_be_visible()
    return page


def give(page: Page, given: dict[str, Any], place: str = "a") -> None:
    """Choose a file, and wait until it is read."""
    page.locator(f"#pnginfo_{place}_file").set_input_files(given)
    expect(page.locator(f"#pnginfo_{place}[data-state=filled] .w-pick-facts")).to_have_text(given["name"])


def rows(page: Page, table: str = "pnginfo_table") -> dict[str, str]:
    """The rows of a table, by name, in their order."""
    found = "[...document.querySelectorAll(`#${table} tbody tr`)].map(row => [row.dataset.key, row.lastChild.firstChild.data])"
    return dict(page.evaluate(f"table => {found}", table))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "AVIF", "GIF", "text"])
def test_a_file_of_any_kind_says_what_it_was_made_with(person: Person, kind: str) -> None:
    page = opened(person)
    give(page, written(TEXT, kind))
    found = rows(page)
    assert list(found)[:3] == ["Prompt", "Negative prompt", "Steps"]
    info = infotext.parse(TEXT)
    assert found == {"Prompt": info.prompt, "Negative prompt": info.negative, **info.values}
    facts = page.locator(".w-info-facts")
    expect(facts).to_contain_text(kind, ignore_case=True)
    image = page.locator("#pnginfo_a img")
    if kind == "text":
        expect(image).to_be_hidden()
    else:
        expect(image).to_be_visible()
        expect(facts).to_contain_text("96 × 64")
        page.wait_for_function("document.querySelector('#pnginfo_a img').naturalWidth === 96")
    page.locator("#pnginfo_raw summary").click()
    assert page.locator("#pnginfo_raw pre").inner_text() == TEXT


def test_the_raw_text_is_copied_as_it_is(people: Callable[..., Person]) -> None:
    person = people(permissions=["clipboard-read", "clipboard-write"])
    page = opened(person)
    give(page, written(TEXT))
    page.locator("#pnginfo_raw summary").click()
    page.locator("#pnginfo_raw [data-act=copy]").click()
    expect(page.locator(".w-note")).to_have_text("The text is copied.")
    assert page.evaluate("navigator.clipboard.readText()") == TEXT


def test_another_programs_file_is_translated_and_nothing_of_it_is_lost(person: Person) -> None:
    page = opened(person)
    give(page, foreign())
    found = rows(page)
    assert (found["Prompt"], found["Negative prompt"], found["Seed"], found["Size"]) == ("a green cone", "a ring", "77", "64x96")
    expect(page.locator(".w-info-facts")).to_contain_text("ComfyUI")
    expect(page.locator("#pnginfo_left")).to_have_count(0)
    for chunk, text in (("prompt", json.dumps(WORKFLOW)), ("note", EVIL)):
        fold = page.locator(f"[data-chunk='{chunk}']")
        fold.locator("summary").click()
        assert fold.locator("pre").text_content() == text
    assert page.evaluate("window.pwned") is None, "what a file says became markup"


def test_a_picture_that_says_nothing_says_so(person: Person) -> None:
    page = opened(person)
    give(page, file("plain.png", content(stripes(40, 30))))
    expect(page.locator(".w-info-none")).to_contain_text("It holds no parameters")
    expect(page.locator("#pnginfo_table")).to_have_count(0)
    expect(page.locator(".w-info-send [name=parameters]")).to_be_disabled()
    expect(page.locator(".w-info-send [data-task=txt2img]")).to_be_disabled()
    expect(page.locator(".w-info-send [data-task=img2img]")).to_be_enabled()


def test_what_is_neither_picture_nor_text_is_a_sentence_and_what_was_there_stays(person: Person) -> None:
    page = opened(person)
    give(page, written(TEXT))
    page.locator("#pnginfo_a_file").set_input_files(file("some.zip", b"PK\x03\x04", "application/zip"))
    expect(page.locator("#pnginfo_a .w-problem")).to_have_text("some.zip is neither a picture nor a text.")
    assert rows(page)["Prompt"] == "a red ball, matte"
    person.meant.add(400)
    page.route("**/x/info", lambda route: route.fulfill(status=400, json={"error": "That cannot be read."}))
    page.locator("#pnginfo_a_file").set_input_files(written(OTHER))
    expect(page.locator("#pnginfo_a .w-problem")).to_have_text("That cannot be read.")
    assert rows(page)["Prompt"] == "a red ball, matte"
    expect(page.locator("#pnginfo_a")).to_have_attribute("data-state", "filled")


def test_a_slow_answer_does_not_replace_a_newer_one(person: Person) -> None:
    page = opened(person)
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/x/info", hold)
    page.locator("#pnginfo_a_file").set_input_files(written(TEXT))
    until(page, lambda: bool(held))
    give(page, written(OTHER))
    with page.expect_response("**/x/info"):
        held[0].continue_()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert rows(page)["Steps"] == "14"


PASTE = """
([bytes, name, type, text]) => {
  const clipboardData = new DataTransfer();
  if (bytes) clipboardData.items.add(new File([new Uint8Array(bytes)], name, {type}));
  if (text) clipboardData.setData("text/plain", text);
  document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
}
"""
DROP = """
([bytes, name, type, where]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], name, {type}));
  document.querySelector(where).dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}
"""


@pytest.mark.parametrize("where", ["#pnginfo_a", ".w-info-said"])
def test_a_picture_is_dropped_anywhere(person: Person, where: str) -> None:
    page = opened(person)
    given = written(TEXT, "WebP")
    page.evaluate(DROP, [list(given["buffer"]), given["name"], given["mimeType"], where])
    expect(page.locator("#pnginfo_table")).to_be_visible()
    assert rows(page)["Seed"] == "5"
    expect(page.locator("webui-pnginfo")).to_be_visible()  # the drop opened no other tab


def test_a_picture_and_a_text_are_pasted(person: Person) -> None:
    page = opened(person)
    given = written(TEXT)
    page.evaluate(PASTE, [list(given["buffer"]), "", given["mimeType"], ""])
    expect(page.locator("#pnginfo_a .w-pick-facts")).to_have_text("pasted picture")
    assert rows(page)["Steps"] == "12"
    page.evaluate(PASTE, [None, "", "", OTHER])
    expect(page.locator("#pnginfo_a .w-pick-facts")).to_have_text("pasted text")
    assert rows(page)["Steps"] == "14"
    expect(page.locator("#pnginfo_a img")).to_be_hidden()


def test_a_text_is_written_or_pasted_into_a_field(person: Person) -> None:
    page = opened(person)
    page.locator("#pnginfo_a [data-act=text]").click()
    field = page.locator("#pnginfo_a textarea")
    expect(field).to_be_focused()
    field.fill(TEXT)
    page.locator("#pnginfo_a [data-act=read]").click()
    expect(page.locator("#pnginfo_table")).to_be_visible()
    assert rows(page)["Steps"] == "12"


def test_a_picture_of_the_gallery_is_looked_into_from_the_full_view(person: Person) -> None:
    hang(person, ["a cone", "a ring"])
    page = person.open("Gallery")
    page.locator(".w-grid .w-tile").first.click()
    page.locator("[data-act=side]").click()
    page.locator(".w-viewer-side [data-act=info]").click()
    expect(page.locator(".w-viewer")).to_be_hidden()
    expect(page.locator("#pnginfo_table")).to_be_visible()
    assert rows(page)["Prompt"] == "a ring"
    (newest, *_) = person.pictures()
    expect(page.locator("#pnginfo_a img")).to_have_attribute("src", f"/x/pictures/{newest.id}")
    page.locator(".w-info-send [data-task=img2img]").click()
    comes_to_be(page, "prompt", "a ring", "img2img")
    until(page, lambda: "picture" in digests(page, "img2img"))


@pytest.mark.parametrize("task", ["txt2img", "img2img", "inpaint", "depth"])
def test_parameters_are_sent_to_any_tab_with_and_without_the_picture(person: Person, task: str) -> None:
    page = opened(person)
    give(page, written(TEXT, "JPEG"))
    page.locator(".w-info-send [name=picture]").uncheck()
    page.locator(f".w-info-send [data-task={task}]").click()
    expect(page.locator(f"#{task}")).to_be_visible()
    comes_to_be(page, "prompt", "a red ball, matte", task)
    assert [value(page, name, task) for name in ("negative", "steps", "sampler", "seed", "width", "height")] == [
        "a cube", 12, "Euler", "5", 96, 64,
    ]  # fmt: skip
    assert digests(page, task) == {}
    if task == "txt2img":
        return
    go(page, "PNG Info")
    page.locator(".w-info-send [name=picture]").check()
    page.locator(f".w-info-send [data-task={task}]").click()
    until(page, lambda: "picture" in digests(page, task))
    kept = person.site.studio.inputs.get(person.user, digests(page, task)["picture"])
    assert (kept.width, kept.height) == (96, 64)


def test_the_picture_alone_is_sent_and_the_parameters_there_stay(person: Person) -> None:
    page = opened(person)
    give(page, written(TEXT))
    page.locator(".w-info-send [name=parameters]").uncheck()
    expect(page.locator(".w-info-send [data-task=txt2img]")).to_be_disabled()  # it starts from no picture
    page.locator(".w-info-send [data-task=extras]").click()
    until(page, lambda: "picture" in digests(page, "extras"))
    go(page, "PNG Info")
    page.locator(".w-info-send [data-task=img2img]").click()
    until(page, lambda: "picture" in digests(page, "img2img"))
    assert value(page, "prompt", "img2img") == ""


def difference(page: Page) -> dict[str, tuple[list[str], str, str]]:
    """The rows of the difference that are shown: the marked words, and both texts, by name."""
    found = page.evaluate(
        "(() => { const texts = (row, what) => [...row.querySelectorAll(what)].map(each => each.textContent);"
        " return [...document.querySelectorAll('#pnginfo_difference tbody tr')]"
        ".map(row => [row.dataset.key, texts(row, 'mark'), ...texts(row, 'td')]); })()"
    )
    return {key: (marks, a, b) for key, marks, a, b in found}


@pytest.mark.parametrize("window", WINDOWS)
def test_two_pictures_are_compared_side_by_side(people: Callable[..., Person], window: str) -> None:
    person = people(**WINDOWS[window])
    page = opened(person)
    give(page, written(TEXT))
    page.get_by_role("button", name="Difference of two").click()
    give(page, written(OTHER, "JPEG"), "b")
    expect(page.locator("#pnginfo_difference")).to_be_visible()
    found = difference(page)
    assert list(found)[:2] == ["Prompt", "Negative prompt"]
    marks, a, b = found["Prompt"]
    assert (a, b) == ("a red ball, matte", "a blue ball, matte, on sand") and marks == ["red", "blue", ", on sand"]
    assert found["Steps"] == (["12", "14"], "12", "14")
    assert found["Clip skip"][0] == ["2"] and found["Clip skip"][2] == "2"
    assert found["Seed"] == ([], "5", "5")
    differing = [key for key, (marks, *_) in found.items() if marks]
    assert differing == ["Prompt", "Steps", "Clip skip"]
    marked = page.locator("#pnginfo_difference tr[data-differs=true]")
    expect(marked).to_have_count(3)
    expect(marked.get_by_role("img", name="differs")).to_have_count(3)
    for place in ("a", "b"):
        expect(page.locator(f"#pnginfo_{place} img")).to_be_visible()
    boxes = [page.locator(f"#pnginfo_{place} img").bounding_box() for place in ("a", "b")]
    assert boxes[0] is not None and boxes[1] is not None and abs(boxes[0]["y"] - boxes[1]["y"]) < 2, "not beside each other"
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    page.locator("[data-act=fold]").click()
    expect(page.locator("#pnginfo_difference tbody tr")).to_have_count(3)
    page.locator("[data-act=fold]").click()
    expect(page.locator("#pnginfo_difference tbody tr")).to_have_count(len(found))
    page.locator("[data-act=swap]").click()
    expect(page.locator("#pnginfo_difference [data-key=Steps] td").first).to_have_text("14")
    assert difference(page)["Prompt"][1:] == ("a blue ball, matte, on sand", "a red ball, matte")
    page.wait_for_function("[...document.querySelectorAll('.w-info-places img')].every(each => each.naturalWidth === 96)")
    page.locator(".w-info-head [data-act=compare]").click()
    expect(page.locator(".w-info webui-compare")).to_have_attribute("data-state", "slider")
    assert wide(page) <= 0


def test_equal_pictures_differ_in_nothing(person: Person) -> None:
    page = opened(person)
    page.get_by_role("button", name="Difference of two").click()
    expect(page.locator(".w-info-difference")).to_contain_text("Choose two")
    give(page, written(TEXT))
    give(page, written(TEXT, "AVIF"), "b")
    expect(page.locator(".w-info-count b")).to_have_text("Nothing differs")
    expect(page.locator("#pnginfo_difference mark")).to_have_count(0)


def test_two_of_the_gallery_are_compared(person: Person) -> None:
    hang(person, ["a cone on sand", "a ring on sand", "a cube"])
    page = person.open("Gallery")
    expect(page.locator(".w-grid-cell")).to_have_count(3)
    for at in (2, 1):
        page.locator(".w-grid-cell .w-tick").nth(at).check()
    page.locator(".w-bulk").get_by_role("button", name="Difference").click()
    expect(page.locator("#pnginfo_difference")).to_be_visible()
    assert difference(page)["Prompt"] == (["cone", "ring"], "a cone on sand", "a ring on sand")


WORDS = """
async (pairs) => {
  const { differences } = await import("/x/static/worddiff.js");
  return pairs.map(pair => differences(...pair));
}
"""


def test_marked_words_are_those_that_differ(person: Person) -> None:
    import random

    chance, words = random.Random(3), ["a", "red", "ball,", "on  sand", "(", "x:1.2", ")", "\n", ""]
    pairs = [[" ".join(chance.choices(words, k=chance.randrange(0, 12))) for _ in "ab"] for _ in range(200)]
    pairs += [["same", "same"], ["", "new"], ["a b c", "a c"], ["x " * 3000, "y " * 3000]]
    found = person.open().evaluate(WORDS, pairs)
    for pair, both in zip(pairs, found, strict=True):
        for text, pieces in zip(pair, both, strict=True):
            assert "".join(piece["text"] for piece in pieces) == text
        alike = ["".join("".join(piece["text"] for piece in pieces if not piece["differs"]).split()) for pieces in both]
        assert alike[0] == alike[1], pair
        assert pair[0] != pair[1] or not any(piece["differs"] for pieces in both for piece in pieces)
    assert [[piece["text"] for piece in pieces if piece["differs"]] for pieces in found[-2]] == [["b"], []]


def test_it_costs_nothing_before_it_is_opened(person: Person) -> None:
    page = person.context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rsplit("/", 1)[-1]))
    page.goto(person.site.address)
    expect(page.locator("html[data-ready=true]")).to_be_attached()
    page.evaluate("customElements.whenDefined('webui-inputs').then(() => true)")
    assert "pnginfotab.js" in asked and "pnginfo.js" not in asked and "pnginfotable.js" not in asked
    assert page.locator("webui-pnginfo").count() == 0
    go(page, "PNG Info")
    expect(page.locator("webui-pnginfo[data-state=ready]")).to_be_visible()
    assert "pnginfo.js" in asked
