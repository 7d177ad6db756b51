"""The Models tab: what is known of each file, why one cannot be used, and what an owner says of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Person, choose, comes_to_be, generate, go, stage, unfold, value, wide, write
from tests.ui.site import Site
from webui.service.overrides import NO_OPTIONS

READY = "webui-model-files[data-state=ready]"


@pytest.fixture
def quick(site: Site) -> Iterator[Path]:
    """A second model, whose name says that it takes few steps, and a VAE beside it."""
    models = site.studio.root / "models"
    path = models / "checkpoints" / "quick_lightning_2step.safetensors"
    shutil.copy(models / "builtin" / "model.safetensors", path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    near = path.with_name("quick_lightning_2step.vae.safetensors")
    near.write_bytes(b"no autoencoder, but named like one")
    (models / "VAE").mkdir(exist_ok=True)
    own = models / "VAE" / "fine colours.safetensors"
    own.write_bytes(b"nor is this")
    yield path
    for each in (path, near, own):
        each.unlink()


@pytest.fixture
def owner(people: Callable[..., Person], site: Site) -> Iterator[Person]:
    yield people(owner=True)
    for model in site.studio.resolver.models():
        if model["set"]:
            site.studio.resolver.overrides.put(model["hash"], NO_OPTIONS)


def opened(person: Person) -> Page:
    page = person.open("Models")
    expect(page.locator(READY)).to_be_attached()
    return page


def test_everybody_sees_the_files_and_why_one_cannot_be_used(person: Person, quick: Path) -> None:
    page = opened(person)
    builtin = page.locator("[data-model=builtin]")
    expect(builtin).to_contain_text("Built-in still lifes")
    expect(builtin).to_contain_text("MB")
    broken = page.locator("[data-model=broken]")
    expect(broken.locator(".w-model-problem")).to_have_text(
        "broken.safetensors is not a weight file: it is neither safetensors nor a PyTorch checkpoint. It looks like a text that "
        "begins with 'this is no model'.")
    assert broken.locator("[data-act]").count() == page.locator("[data-act=change]").count() == 0
    expect(page.locator(f"[data-model={quick.stem}]")).to_contain_text("2 steps and Euler, because its name says Lightning.")
    expect(page.locator("[data-model='fine colours.safetensors'] .w-model-problem")).to_be_visible()
    write_search(page, "lightning")
    expect(page.locator(".w-model")).to_have_count(1)
    write_search(page, "nothing like it")
    expect(page.locator(".w-model-lists")).to_have_text("No model has these words.")


def test_a_model_is_chosen_there_and_says_what_it_takes(person: Person, quick: Path) -> None:
    page = opened(person)
    page.locator(f"[data-model={quick.stem}] [data-act=use]").click()
    comes_to_be(page, "model", quick.stem)
    expect(page.locator("#txt2img_model_note")).to_have_text("2 steps and Euler, because its name says Lightning.")
    expect(page.locator("#txt2img_steps input")).to_have_attribute("placeholder", "2")
    expect(page.locator("#txt2img_sampler input")).to_have_value("Auto: Euler")
    generate(page, prompt="a ball")
    stage(page, "finished")
    (picture,) = person.pictures()
    assert "Steps: 2, Sampler: Euler, Schedule type: Uniform" in picture.parameters
    choose(page, "model", "builtin")
    expect(page.locator("#txt2img_steps input")).to_have_attribute("placeholder", "20")
    expect(page.locator("#txt2img_model_note")).to_be_hidden()


def test_a_file_that_is_added_is_found_without_a_restart(person: Person, site: Site) -> None:
    page = opened(person)
    path = site.studio.root / "models" / "checkpoints" / "later.safetensors"
    path.write_bytes(b"")
    try:
        page.locator("#models_refresh").click()
        expect(page.locator("[data-model=later] .w-model-problem")).to_contain_text("later.safetensors is empty")
        expect(page.locator(".w-note", has_text="There is one model; 2 more cannot be used.")).to_be_visible()
    finally:
        path.unlink()


def test_an_owner_says_what_a_file_is_and_takes_it_back(owner: Person) -> None:
    page = opened(owner)
    page.locator("[data-model=builtin] [data-act=change]").click()
    dialog = page.locator("#model_options")
    dialog.get_by_label("Prediction").select_option("eps")
    dialog.get_by_label("Steps").fill("6")
    dialog.get_by_label("Native size").fill("192")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    row = page.locator("[data-model=builtin]")
    expect(row.locator(".w-mark-set")).to_have_text("set by the owner")
    expect(row).to_contain_text("192 × 192")
    expect(row).not_to_contain_text("predicts velocity")
    go(page, "txt2img")
    expect(page.locator("#txt2img_steps input")).to_have_attribute("placeholder", "6")
    expect(page.locator("#txt2img_width input")).to_have_attribute("placeholder", "192")
    page.reload()
    go(page, "Models")
    page.locator("[data-model=builtin] [data-act=change]").click()
    expect(dialog.get_by_label("Steps")).to_have_value("6")
    expect(dialog.get_by_label("Prediction")).to_have_value("eps")
    expect(dialog.get_by_label("CFG scale")).to_have_attribute("placeholder", "3.5")
    page.locator("#model_reset").click()
    expect(dialog).to_have_count(0)
    expect(row.locator(".w-mark-set")).to_have_count(0)
    expect(row).to_contain_text("predicts velocity")


def test_what_a_file_cannot_be_is_said_in_the_dialog_and_changes_nothing(owner: Person) -> None:
    owner.meant.add(400)
    page = opened(owner)
    page.locator("[data-model=builtin] [data-act=change]").click()
    dialog = page.locator("#model_options")
    dialog.get_by_label("Family").select_option("sdxl-base")
    page.locator("#model_save").click()
    expect(dialog.locator("[role=alert]:not([hidden])")).to_contain_text("model.safetensors")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator("[data-model=builtin] .w-mark-set")).to_have_count(0)


def test_the_dialog_is_used_with_the_keyboard_alone(owner: Person) -> None:
    page = opened(owner)
    page.locator("[data-model=builtin] [data-act=change]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#model_options").get_by_label("Family")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.locator("#model_options").get_by_label("Steps")).to_be_focused()
    page.keyboard.type("9")
    page.keyboard.press("Enter")
    expect(page.locator("[data-model=builtin]")).to_contain_text("9 steps")


def test_vae_and_refiner_are_chosen_and_come_back_from_the_picture(person: Person, quick: Path) -> None:
    page = person.open()
    unfold(page, "refiner")
    unfold(page, "more")
    choose(page, "vae", "fine colours.safetensors")
    choose(page, "refiner", quick.stem)
    write(page, "refiner_switch_at", "0.5")
    generate(page, prompt="a ball", steps="3")
    stage(page, "finished")
    (picture,) = person.pictures()
    assert "VAE: fine colours.safetensors" in picture.parameters and "VAE hash: " in picture.parameters
    assert f"Refiner: {quick.stem} [" in picture.parameters and "Refiner switch at: 0.5" in picture.parameters
    page.locator("#txt2img_reset").click()
    comes_to_be(page, "vae", "Automatic")
    comes_to_be(page, "refiner", "None")
    page.evaluate("text => webui.tabs.txt2img.read(text)", picture.parameters)
    comes_to_be(page, "vae", "fine colours.safetensors")
    comes_to_be(page, "refiner", quick.stem)
    assert value(page, "refiner_switch_at") == 0.5


def test_the_refiner_is_not_there_while_there_is_one_model(person: Person, site: Site) -> None:
    page = person.open()
    expect(page.locator("#txt2img_refiner_fold")).to_be_hidden()
    expect(page.locator("#txt2img_more_fold")).to_be_visible()


@pytest.mark.parametrize("width", [390, 360])
def test_everything_fits_a_phone(owner: Person, width: int, quick: Path) -> None:
    page = opened(owner)
    page.set_viewport_size({"width": width, "height": 740})
    assert wide(page) <= 0
    page.locator(f"[data-model={quick.stem}] [data-act=change]").click()
    dialog = page.locator("#model_options")
    expect(dialog).to_be_visible()
    box = dialog.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert wide(page) <= 0
    page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [390, 360])
def test_every_tab_is_seen_on_a_phone(people: Callable[..., Person], width: int) -> None:
    phone = people(viewport={"width": width, "height": 740}, is_mobile=True, has_touch=True)
    page = phone.open()
    for name in ("txt2img", "Gallery", "Models", "Settings"):
        expect(page.get_by_role("tab", name=name, exact=True)).to_be_visible()


def write_search(page: Page, text: str) -> None:
    page.locator("#models_search").fill(text)
