"""Takes the pictures of the page that the documentation shows, with the model that ships:

    .venv/bin/python -m tests.ui.screenshots [FOLDER]     (default: docs)
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.ui.drawn import stroke
from tests.ui.person import Person, generate, go, stage, write
from tests.ui.site import Site, find_browser, serving
from webui.drawing import Txt2Img
from webui.service.engines import ThreadEngine
from webui.service.users import OWNER_ID

ROOT = Path(__file__).parents[2]
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
PROMPTS = (
    "a shiny green cone, pink floor", "a yellow cylinder on a grey floor", "a striped orange ball on a white table",
    "a purple ring on a teal floor", "a small red cube, wooden table", "a metal pyramid on a sand floor",
    "a large blue ball, grey floor", "a matte white cone on a wooden table",
)  # fmt: skip
PROMPT = "a large blue cube on a sand floor"
OTHERS = {
    "img2img": "a large red cube on a sand floor", "inpaint": "a yellow ball on a sand floor",
    "depth": "a shiny green cube on a wooden table", "extras": "",
}  # fmt: skip
"""What is asked for in the tabs that start from a picture."""
QUALITY = 88


def main(arguments: Sequence[str]) -> None:
    """Draw some pictures, then take the page from several sides."""
    folder = Path(arguments[0]) if arguments else ROOT / "docs"
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        root = Path(temporary)
        model = Path("models") / "builtin"
        shutil.copytree(ROOT / model, root / model, ignore=shutil.ignore_patterns("recipe", "training"))
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        with serving(root, ThreadEngine(root)) as site:
            user, cookie = site.owner()
            for scheme in ("light", "dark"):
                for name, options in (("desktop", DESKTOP), ("phone", PHONE)):
                    person = Person(browser, site, user, cookie, color_scheme=scheme, **options)
                    if not person.pictures():
                        draw(person)
                    take(person, folder, f"{name}-{scheme}")
                    person.close()
        browser.close()


def draw(person: Person) -> None:
    """Fill the gallery, and the stage with four pictures of one prompt."""
    site, page = person.site, person.open()
    for number, prompt in enumerate(PROMPTS):
        submit(site, page, Txt2Img(prompt=prompt, steps=30, seed=number + 1))
    write(page, "prompt", PROMPT)
    submit(site, page, Txt2Img(prompt=PROMPT, steps=30, seed=7, count=4))
    expect(page.locator("webui-preferences[data-state=kept]")).to_be_attached()
    page.close()


def submit(site: Site, page: Page, params: Txt2Img) -> None:
    """Have a job done."""
    owner = site.studio.users.get(OWNER_ID)
    site.studio.queue.submit(owner, "txt2img", params)
    while site.studio.queue.view(owner):
        page.wait_for_timeout(200)


def take(person: Person, folder: Path, name: str) -> None:
    """The page with its newest pictures; on a wide window also while it draws, and the gallery."""
    page = person.open()
    stage(page, "past")
    settle(page)
    expect(page.locator("#txt2img .w-schedule-line")).to_be_visible()
    save(page, folder / f"page-{name}.webp")
    if name == "desktop-dark":
        write(page, "prompt", "a red ball on a wooden table")
        page.locator("#txt2img_steps input[type=number]").fill("150")
        page.locator("#txt2img_generate").click()
        page.wait_for_function("Number(document.querySelector('.w-cell')?.dataset.step) > 40")
        save(page, folder / "page-drawing.webp")
        page.locator("#txt2img_interrupt").click()
        stage(page, "interrupted")
    if name in ("desktop-light", "phone-dark"):
        go(page, "Gallery")
        expect(page.locator("webui-gallery[data-state=ready]")).to_be_attached()
        settle(page)
        save(page, folder / f"gallery-{name}.webp")
        go(page, "txt2img")
        for area in OTHERS:
            take_other(page, area)
            save(page, folder / f"{area}-{name}.webp")
            go(page, "txt2img")


def take_other(page: Page, area: str) -> None:
    """A tab that starts from the picture on the first stage, with what came of it beside that."""
    page.locator("#txt2img [data-act=send]").click()
    page.locator(f".w-send [data-task={area}]").click()
    page.wait_for_function("area => document.querySelector(`#${area}_picture`)?.value?.digest", arg=area)
    if area == "inpaint":
        for height in (0.4, 0.5, 0.6):
            stroke(page, area, (0.35, height), (0.65, height))
    if area != "extras":
        write(page, "prompt", OTHERS[area], area)
    if area == "depth":
        page.locator("#depth_show").click()
        expect(page.locator(".w-depth[data-state=shown]")).to_be_attached()
    generate(page, area)
    stage(page, "finished", area)
    if area != "depth":  # there it is what a result is seen in
        page.locator(f"#{area} .w-stage-head [data-act=compare]").click()
    expect(page.locator(f"#{area} .w-canvas > webui-compare")).to_be_visible()
    expect(page.locator(".w-note")).to_have_count(0)  # what was said has been read
    page.evaluate("scrollTo(0, 0)")


def settle(page: Page) -> None:
    """Wait for every picture that is in view; the others are loaded when they are scrolled to."""
    seen = "each => each.checkVisibility() && each.getBoundingClientRect().top < innerHeight"
    page.wait_for_function(f"[...document.images].filter({seen}).every(each => each.complete)")
    cells = f"[...document.querySelectorAll('.w-cell')].filter({seen})"
    page.wait_for_function(f"{cells}.every(each => each.classList.contains('w-filled'))")


def save(page: Page, path: Path) -> None:
    """Write what is seen."""
    page.mouse.move(0, 0)
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)


if __name__ == "__main__":
    main(sys.argv[1:])
