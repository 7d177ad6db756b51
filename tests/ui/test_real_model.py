"""The page with the model that ships: no torch before it is served, previews that move, and the pixels of the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from tests.ui.drawn import content, file, stripes, stroke
from tests.ui.person import Person, choose, choose_picture, generate, ready, stage
from tests.ui.site import Site, serving
from webui.commands.txt2img import main as txt2img
from webui.drawing import Txt2Img
from webui.service.engines import ThreadEngine
from webui.service.gallery import read_text
from webui.service.users import OWNER_ID

ROOT = Path(__file__).parents[2]
LONGEST_START = 1800  # seconds; nobody waits so long but a machine that is very busy
MANY = "100"  # pictures: more than any machine draws while a test looks at them
DONE = "Number(document.querySelector('.w-bar').getAttribute('aria-valuenow'))"  # percent of the job
TWO_PREVIEWS_OF_ONE_PICTURE = """
() => {
  const seen = (window.seenPreviews ??= {});
  for (const image of document.querySelectorAll(".w-cell img")) {
    const [, place, number] = /[/]preview[/](\\d+)[?](\\d+)$/.exec(image.getAttribute("src") ?? "") ?? [];
    if (place) (seen[place] ??= new Set()).add(number);
  }
  return Object.values(seen).some((numbers) => numbers.size > 1);
}
"""
SERVED_WITHOUT_TORCH = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from tests.service.pretend import PretendEngine, place_model
from webui.api.application import build
from webui.service.studio import open_studio
from webui.ui.page import mount
root = Path(sys.argv[1])
place_model(root)
with open_studio(root, engine=PretendEngine()) as studio:
    with TestClient(build(studio, mount), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        page, opening = client.get("/"), client.get("/x/opening")
        assert page.status_code == opening.status_code == 200, (page.text[:300], opening.text[:300])
        assert "main.js" in page.text and "txt2img_prompt" in page.text
        assert opening.json()["models"][0]["name"] == "builtin"
    assert "torch" not in sys.modules, "torch was imported before the page was served"
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("real")
    shutil.copytree(ROOT / "models" / "builtin", root / "models" / "builtin", ignore=shutil.ignore_patterns("recipe", "training"))
    with serving(root, ThreadEngine(root)) as served:
        draw_one(served)
        yield served


def draw_one(site: Site) -> None:
    """Have a picture drawn: the first takes as long as importing torch does, for which no page should have to wait."""
    owner, queue = site.studio.users.get(OWNER_ID), site.studio.queue
    news = threading.Event()
    subscription = queue.broadcast.subscribe(owner.id, news.set, previews=False)
    queue.submit(owner, "txt2img", Txt2Img(steps=1, width=64, height=64))
    while queue.view(owner):
        assert news.wait(LONGEST_START), "the engine does not start"
        news.clear()
    subscription.close()


@pytest.fixture
def person(browser: Browser, site: Site, request: pytest.FixtureRequest) -> Iterator[Person]:
    someone = Person(browser, site, *site.account(request.node.name[:40]))
    yield someone
    someone.close()
    assert someone.problems == []


def test_the_page_is_served_without_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVED_WITHOUT_TORCH, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr


def test_page_and_command_line_draw_the_same_pixels(person: Person, tmp_path: Path) -> None:
    page = person.open()
    choose(page, "sampler", "Euler a")
    generate(page, prompt="a red ball on a wooden table", steps="4", seed="11", width="64", height="96", scale="3.5")
    stage(page, "finished")
    (picture,) = person.pictures()
    flags = ["--steps", "4", "--seed", "11", "--size", "64x96", "--scale", "3.5", "--sampler", "Euler a"]
    command = ["a red ball on a wooden table", *flags, "--output", str(tmp_path)]
    assert txt2img(command, person.site.studio.root) == 0
    (other,) = tmp_path.glob("*.png")
    assert read_text(other) == picture.parameters
    with Image.open(picture.path) as ours, Image.open(other) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
        assert np.asarray(ours).std() > 5  # it is a picture and no plain colour


def test_only_what_is_painted_over_is_made_anew(person: Person) -> None:
    before = stripes(128, 128)
    page = person.open("inpaint")
    choose_picture(page, file("stripes.png", content(before)), "inpaint")
    stroke(page, "inpaint", (0.3, 0.75), (0.7, 0.75))
    page.locator("#inpaint_picture .w-canvas-ground").focus()
    page.keyboard.press("Control+z")  # that was the wrong place
    stroke(page, "inpaint", (0.3, 0.25), (0.7, 0.25))
    generate(page, "inpaint", prompt="a red ball", steps="4", seed="3")
    stage(page, "finished", "inpaint")
    (picture,) = person.pictures()
    with Image.open(picture.path) as made:
        after = np.asarray(made.convert("RGB"))
    changed = (after != before).any(-1)
    assert after.shape == before.shape and changed[28:36, 44:84].mean() > 0.9, "what was painted over is as it was"
    assert not changed[64:].any() and not changed[:, :8].any(), "something changed that was not painted over"


def test_previews_of_the_real_model_move_and_a_reload_finds_it(person: Person) -> None:
    page = person.open()
    job = generate(page, prompt="a blue cube on a sand floor", steps="150", count=MANY)
    page.wait_for_function(TWO_PREVIEWS_OF_ONE_PICTURE)
    before = page.evaluate(DONE)
    page.reload()
    ready(page)
    assert stage(page, "running") == job
    page.wait_for_function(f"before => {DONE} >= before", arg=before)
    page.wait_for_function(TWO_PREVIEWS_OF_ONE_PICTURE)
    page.locator("#txt2img_interrupt").click()
    assert stage(page, "interrupted") == job
    pictures = person.pictures()
    assert any(picture.interrupted for picture in pictures) and len(pictures) < int(MANY)
    newest = pictures[0]
    expect(page.locator(f".w-cell img[src='/x/pictures/{newest.id}']")).to_be_visible()
