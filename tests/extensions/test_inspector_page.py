"""The tab Inspector in a browser, with the model that ships: watched while it is made, scrubbed, asked for words, made again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.ui.person import Person, go, ready
from tests.ui.site import Site, find_browser, serving
from webui.service.engines import ThreadEngine

ROOT = Path(__file__).parents[2]
PROMPT = "a large red ball on a grey floor"
SUBMIT = """async ([parameters]) => (await import("webui")).submit("txt2img", parameters)"""
HOT = """
() => {
  const canvas = document.querySelector(".in-heat");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [sum, x, y] = [0, 0, 0];
  for (let at = 0; at < data.length / 4; at += 1) {
    sum += data[at * 4 + 3];
    x += data[at * 4 + 3] * (at % canvas.width);
    y += data[at * 4 + 3] * Math.floor(at / canvas.width);
  }
  return [sum, x / sum / canvas.width, y / sum / canvas.height];
}
"""
WIDTH = "async () => { const it = document.querySelector('.in-view img'); await it.decode(); return it.naturalWidth; }"
ALONE_IN_WIDTH = "document.documentElement.scrollWidth <= innerWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("inspected")
    shutil.copytree(ROOT / "models" / "builtin", root / "models" / "builtin", ignore=shutil.ignore_patterns("recipe", "training"))
    with serving(root, ThreadEngine(root)) as served:
        yield served


@pytest.fixture(scope="module")
def person(browser: Browser, site: Site) -> Iterator[Person]:
    made = Person(browser, site, *site.account("teacher"))
    yield made
    made.close()
    assert made.problems == []


@pytest.fixture(scope="module")
def page(person: Person) -> Page:
    """The tab, after a picture was made with inspection and another without."""
    page = person.context.new_page()
    page.goto(person.site.address)
    ready(page)
    go(page, "Inspector")
    expect(page.locator("inspector-tab")).to_contain_text("There are no pictures yet")
    page.evaluate(SUBMIT, [{"prompt": "a green cone", "steps": 3, "seed": 4}])
    expect(page.locator(".in-tile")).to_have_count(1)
    page.evaluate(SUBMIT, [{"prompt": PROMPT, "steps": 6, "seed": 3, "inspector_inspect": True}])
    expect(page.locator(".in-tile.in-has")).to_have_count(1)
    expect(page.locator(".in-live")).to_have_count(0)
    page.locator(".in-tile.in-has").click()
    expect(page.locator(".in-place")).to_contain_text("Step 6 of 6")
    return page


def test_the_slider_goes_through_the_steps_by_keyboard(page: Page) -> None:
    shown = page.locator(".in-view img")
    slider = page.get_by_role("slider", name="Step", exact=True)
    addresses = set()
    for step in range(6, 0, -1):
        expect(page.locator(".in-place")).to_contain_text(f"Step {step} of 6")
        expect(slider).to_have_attribute("aria-valuetext", re.compile(f"Step {step} of 6"))
        expect(shown).to_have_attribute("alt", re.compile(f"Guess, Step {step} "))
        addresses.add(shown.get_attribute("src"))
        slider.press("ArrowLeft")
    assert len(addresses) == 6
    for kind in ("Input", "Noise", "Guess"):
        page.get_by_role("button", name=kind, exact=True).click()
        expect(shown).to_have_attribute("alt", re.compile(f"{kind}, Step 1 "))
        assert page.evaluate(WIDTH) == (128 if kind == "Guess" else 16)
    page.get_by_role("button", name="Result", exact=True).click()
    expect(shown).to_have_attribute("src", re.compile("^/x/pictures/"))
    page.get_by_role("button", name="Guess", exact=True).click()
    slider.press("End")
    expect(page.locator(".in-place")).to_contain_text("Step 6 of 6")


def test_words_are_buttons_whose_heat_lies_on_what_they_name(page: Page, person: Person) -> None:
    words = page.get_by_role("group", name="Words of the prompt").get_by_role("button")
    expect(words).to_have_text(PROMPT.split())
    expect(page.locator(".in-heat")).to_be_hidden()
    ball = words.filter(has_text="ball")
    ball.focus()
    ball.press("Enter")
    expect(ball).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".in-heat")).to_be_visible()
    expect(ball).to_be_focused()
    (picture,) = [each for each in person.pictures() if each.prompt == PROMPT]
    pixels = np.asarray(Image.open(picture.path).convert("RGB")).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1:].max(axis=-1) > 60)
    _, x, y = page.evaluate(HOT)
    assert abs(x - columns.mean() / 128) < 0.2 and abs(y - rows.mean() / 128) < 0.2
    page.get_by_role("button", name="All steps").click()
    expect(page.get_by_text("of the attention goes to the chosen words")).to_be_visible()
    ball.press("Enter")
    expect(page.locator(".in-heat")).to_be_hidden()


def test_the_charts_say_the_step_and_choose_one(page: Page) -> None:
    guidance, schedule = page.locator(".in-chart").all()
    expect(guidance).to_have_attribute("aria-label", re.compile("How hard the prompt pulls. Step 6: the prompt changes .* %"))
    schedule.click(position={"x": 3, "y": 50})
    expect(page.locator(".in-place")).to_contain_text("Step 1 of 6")
    expect(schedule).to_have_attribute("aria-label", re.compile("Step 1: noise level"))
    assert page.locator(".in-chart").first.locator("circle").count() == 6
    page.get_by_role("slider", name="Step", exact=True).press("End")


def test_it_fits_a_phone_and_the_dark(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert page.evaluate(ALONE_IN_WIDTH)
    expect(page.locator(".in-stage")).to_have_css("background-color", "rgb(26, 26, 29)")
    expect(page.locator(".in-says").first).to_have_css("color", "rgb(163, 163, 173)")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_picture_is_inspected_again_and_is_the_same(page: Page, person: Person) -> None:
    page.locator(".in-tile:not(.in-has)").click()
    page.get_by_role("button", name="Inspect this picture again").click()
    expect(page.locator(".in-tile.in-has")).to_have_count(2)
    expect(page.locator(".in-place")).to_contain_text("Step 3 of 3")
    first, again = [each for each in person.pictures() if each.prompt == "a green cone"]
    assert first.id != again.id
    assert np.array_equal(*(np.asarray(Image.open(each.path)) for each in (first, again)))


def test_nobody_else_sees_a_record(page: Page, person: Person, browser: Browser, site: Site) -> None:
    mine = person.pictures()[0].id
    stranger = Person(browser, site, *site.account("stranger"))
    other = stranger.context.new_page()
    other.goto(site.address)
    for who, status in ((page, 200), (other, 400)):
        for path in ("record?", "picture?pass=0&step=0&kind=clean&", "maps?pass=0&step=0&"):
            answer = who.request.get(f"{site.address}/x/extensions/inspector/{path}picture={mine}")
            assert answer.status == status, answer.text()
    stranger.close()
