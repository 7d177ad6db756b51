"""A text or file with parameters gives the same settings back in every tab; what was not taken over stays until dismissed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.ui.drawn import file
from tests.ui.person import Person, choose_picture, comes_to_be, digests, go, ready, stage, until, value, wide, write
from tests.ui.test_pnginfo import DROP, EVIL, PASTE, PHONE, TEXT, foreign, written
from tests.ui.test_setting import request_of
from webui import infotext
from webui.params import Parameter, Params, parameters
from webui.service.users import User
from webui.tasks import TASKS
from webui.ui.areas import GENERATING
from webui.ui.controls import as_shown

DRAWN = ("txt2img", "img2img", "inpaint", "depth")
CHOSEN: dict[str, Any] = {
    "prompt": "a (red:1.3) ball, [a|b]", "negative": "a cube,\nand: more", "model": "builtin", "vae": "Automatic",
    "refiner": "None", "sampler": "Euler a", "schedule": "Karras", "estimator": "None", "hires_upscaler": "Latent (bicubic)",
    "hires_sampler": "Heun", "hires_schedule": "Exponential", "hires_prompt": 'a "cone"', "hires_negative": "a ring",
    "width": 96, "height": 128, "clip_skip": 3, "sigma_min": 0.05, "sigma_max": 12.0, "s_tmin": 0.1,
    "s_tmax": 8.0, "seed": 2**64 - 1, "variation_seed": 2**63,
}  # fmt: skip
"""Values of what only a few are known for."""
FILES = ("model_hash", "vae_hash", "hires_model")  # there is one model here
STRANGE = "a cone\nSteps: 7, Sampler: Euler, Seed: 3, Size: 64x96, Model: wonder, VAE: other, Lora hashes: \"x: 1\", Wonder: 5"
FOOOCUS = {
    "prompt": "a cone", "negative_prompt": "a ball", "steps": 11, "seed": "9", "guidance_scale": 4, "resolution": "(64, 96)",
    "sampler": "euler_ancestral", "scheduler": "karras", "performance": "Speed", "sharpness": 2, "adm_guidance": EVIL,
}  # fmt: skip


def unusual(parameter: Parameter) -> Any:
    """A value that is not the usual one."""
    if parameter.name in CHOSEN:
        return CHOSEN[parameter.name]
    if parameter.kind is bool:
        return not parameter.default
    if parameter.one_of:
        return next(each for each in parameter.one_of if each != parameter.default)
    low, high = parameter.min, parameter.max
    assert low is not None and high is not None, f"{parameter.name} needs a value here"
    step = parameter.step or 1
    made = parameter.kind(round(low + step * max(round((min(high, low + 1000 * step) - low) / step / 3), 1), 6))
    return made if made != parameter.default else parameter.kind(round(made + step, 6))


def is_said(parameter: Parameter) -> bool:
    """Whether a text says the parameter."""
    return parameter.infotext is not None or parameter.name in ("prompt", "negative")


def all_unusual(task: str) -> Params:
    """Parameters of a task of which none that a text says is as usual."""
    known = parameters(TASKS[task])
    return TASKS[task](**{name: unusual(each) for name, each in known.items() if is_said(each) and name not in FILES})


def expected(task: str, params: Params) -> dict[str, Any]:
    """The values of the controls for what a text says of these parameters."""
    known = GENERATING[task].parameters()
    return {name: as_shown(each, getattr(params, name)) for name, each in known.items() if is_said(each)}


def values(page: Page, task: str) -> dict[str, Any]:
    return dict(page.evaluate("task => webui.controls[task].values", task))


def paste(page: Page, text: str, task: str) -> None:
    """Paste a text into the prompt as a person does, and take over what it says."""
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    page.locator(f"#{task}_prompt textarea").click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Control+V")
    page.locator(f"#{task}_read_offer").click()


HUGE = """
() => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(2 ** 26 + 1)], "huge.png", {type: "image/png"}));
  const input = document.getElementById("txt2img_read_file");
  input.files = transfer.files;
  input.dispatchEvent(new Event("change"));
}
"""


@pytest.fixture
def writer(people: Callable[..., Person]) -> Person:
    """Somebody who may use the clipboard."""
    return people(permissions=["clipboard-read", "clipboard-write"])


@pytest.mark.parametrize("task", DRAWN)
def test_a_pasted_text_gives_the_same_settings_back(writer: Person, task: str) -> None:
    params = all_unusual(task)
    usual = {name for name, each in parameters(params).items() if is_said(each) and getattr(params, name) == each.default}
    assert usual <= {*FILES, "refiner", "vae"}, "these come back whatever is read"
    page = writer.open(task)
    paste(page, infotext.write(params), task)
    comes_to_be(page, "prompt", CHOSEN["prompt"], task)
    found, wanted = values(page, task), expected(task, params)
    assert {name: found[name] for name in wanted} == wanted
    expect(page.locator(f"#{task}_steps input[type=number], #{task}_steps input").first).to_have_value(str(wanted["steps"]))
    expect(page.locator(f"#{task}_sampler input")).to_have_value("Euler a")
    expect(page.locator(f"#{task}_read_offer")).to_be_hidden()


def test_a_picture_is_made_again_from_its_pasted_text(writer: Person) -> None:
    params = replace(all_unusual("txt2img"), steps=4, hires_steps=3)
    user: User = writer.user
    writer.site.studio.queue.submit(user, "txt2img", params)
    page = writer.open()
    until(page, lambda: len(writer.pictures()) == 1)
    (first,) = writer.pictures()
    paste(page, first.parameters, "txt2img")
    comes_to_be(page, "prompt", CHOSEN["prompt"])
    page.locator("#txt2img_generate").click()
    until(page, lambda: len(writer.pictures()) == 2)
    stage(page, "finished")
    second = next(each for each in writer.pictures() if each.id != first.id)
    assert request_of(writer, second) == request_of(writer, first)
    assert second.parameters == first.parameters


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "AVIF", "GIF", "text"])
def test_a_file_of_any_kind_gives_the_settings_back(person: Person, kind: str) -> None:
    page = person.open()
    page.locator("#txt2img_read_file").set_input_files(written(TEXT, kind))
    comes_to_be(page, "prompt", "a red ball, matte")
    found = values(page, "txt2img")
    assert [found[name] for name in ("negative", "steps", "sampler", "seed")] == ["a cube", 12, "Euler", "5"]
    assert (found["width"], found["height"]) == (96, 64)


def test_other_programs_files_and_texts_give_their_settings(person: Person) -> None:
    page = person.open()
    page.locator("#txt2img_read_file").set_input_files(foreign())
    comes_to_be(page, "prompt", "a green cone")
    found = values(page, "txt2img")
    assert [found[name] for name in ("negative", "steps", "sampler", "schedule", "seed", "width", "height")] == [
        "a ring", 9, "Euler", "Karras", "77", 64, 96,
    ]  # fmt: skip
    write(page, "prompt", json.dumps(FOOOCUS))
    page.locator("#txt2img_read_offer").click()
    for name, wanted in (("prompt", "a cone"), ("sampler", "Euler a"), ("steps", 11)):  # Gradio tells late of what it had before
        comes_to_be(page, name, wanted)
    assert [value(page, name) for name in ("negative", "seed")] == ["a ball", "9"]
    notes = page.locator("#txt2img_compose .w-left")
    expect(notes).to_contain_text("Not taken over from Fooocus")
    expect(notes).to_contain_text("sharpness")
    page.locator("#txt2img_compose [data-act=whole]").click()
    expect(page.locator("#pnginfo_left")).to_contain_text(EVIL)
    assert page.evaluate("window.pwned") is None


@pytest.mark.parametrize("window", ["desktop", "phone"])
def test_what_was_not_taken_over_stays_until_it_is_dismissed(people: Callable[..., Person], window: str) -> None:
    person = people(**(PHONE if window == "phone" else {}))
    page = person.open()
    write(page, "prompt", STRANGE)
    page.locator("#txt2img_read_offer").click()
    rows = page.locator("#txt2img_compose .w-left li")
    expect(rows).to_have_count(3)
    expect(page.locator(".w-note", has_text="but for 3 things")).to_be_visible()
    for words in ("The model wonder is not here", "The VAE other is not here", "Lora hashes, Wonder"):
        expect(rows.filter(has_text=words)).to_have_count(1)
    assert wide(page) <= 0
    rows.filter(has_text="VAE").get_by_role("button", name="Dismiss this note").click()
    expect(rows).to_have_count(2)
    go(page, "Gallery")
    go(page, "txt2img")
    expect(rows).to_have_count(2)
    page.reload()
    ready(page)
    expect(rows).to_have_count(2)
    page.locator("#txt2img_compose [data-act=whole]").click()
    expect(page.locator("#pnginfo_table")).to_contain_text("Wonder")
    go(page, "txt2img")
    page.locator("#txt2img_compose [data-act=dismiss]").click()
    expect(page.locator("#txt2img_compose .w-left")).to_be_hidden()
    page.reload()
    ready(page)
    expect(page.locator("#txt2img_compose .w-left")).to_have_count(1)
    expect(rows).to_have_count(0)


def test_notes_are_of_the_last_text_and_of_its_tab(person: Person) -> None:
    page = person.open()
    write(page, "prompt", STRANGE)
    page.locator("#txt2img_read_offer").click()
    expect(page.locator("#txt2img_compose .w-left li")).to_have_count(3)
    write(page, "prompt", TEXT)
    page.locator("#txt2img_read_offer").click()
    comes_to_be(page, "prompt", "a red ball, matte")
    expect(page.locator("#txt2img_compose .w-left")).to_be_hidden()
    go(page, "img2img")
    write(page, "prompt", STRANGE, "img2img")
    page.locator("#img2img_read_offer").click()
    expect(page.locator("#img2img_compose .w-left li")).to_have_count(3)
    go(page, "txt2img")
    expect(page.locator("#txt2img_compose .w-left")).to_be_hidden()


def test_a_file_on_the_prompt_is_read_and_beside_it_is_where_the_tab_starts(person: Person) -> None:
    page = person.open("img2img")
    page.wait_for_function("webui.tabs.img2img.panel !== null")
    given = written(TEXT, "WebP")
    event = [list(given["buffer"]), given["name"], given["mimeType"]]
    page.evaluate(DROP, [*event, "#img2img_prompt textarea"])
    comes_to_be(page, "prompt", "a red ball, matte", "img2img")
    assert digests(page, "img2img") == {}
    page.evaluate(DROP, [*event, "#img2img_stage"])
    until(page, lambda: "picture" in digests(page, "img2img"))
    text = written(TEXT.replace("Seed: 5", "Seed: 6"), "text")
    page.evaluate(DROP, [list(text["buffer"]), text["name"], text["mimeType"], "#img2img_stage"])
    comes_to_be(page, "seed", "6", "img2img")


def test_a_pasted_picture_is_read_where_a_tab_starts_from_none(person: Person) -> None:
    page = person.open()
    given = written(TEXT, "AVIF")
    page.evaluate(PASTE, [list(given["buffer"]), "", given["mimeType"], ""])
    comes_to_be(page, "prompt", "a red ball, matte")


def test_a_chosen_picture_of_any_kind_offers_what_it_carries(person: Person) -> None:
    page = person.open("img2img")
    choose_picture(page, written(TEXT, "WebP"), "img2img")
    page.locator(".w-note", has_text="carries the parameters").get_by_role("button", name="Use them").click()
    comes_to_be(page, "prompt", "a red ball, matte", "img2img")
    assert "picture" in digests(page, "img2img")


def test_what_holds_no_parameters_is_a_sentence_and_the_controls_stay(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "mine")
    page.locator("#txt2img_read_file").set_input_files(file("empty.txt", b"\0\0", "text/plain"))
    expect(page.locator(".w-note.w-wrong")).to_contain_text("empty.txt holds no parameters.")
    assert value(page, "prompt") == "mine"
    page.evaluate(HUGE)
    expect(page.locator(".w-note.w-wrong", has_text="huge.png is larger than 64 MB")).to_be_visible()


def test_an_ordinary_prompt_is_no_text_of_a_picture(person: Person) -> None:
    page = person.open()
    for prompt in ("a ball, Steps: red", "{a|b} on sand", "{not json", "wide steps: 3 of them"):
        write(page, "prompt", prompt)
        comes_to_be(page, "prompt", prompt)
        expect(page.locator("#txt2img_read_offer")).to_be_hidden()
