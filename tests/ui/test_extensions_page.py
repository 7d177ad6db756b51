"""Somebody else's extension, installed from a repository in the page, used, updated, broken and removed; each time the page and
the pixels are as they should be. With the model that ships.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.ui.drawn import content, file, stripes
from tests.ui.person import Person, choose, comes_to_be, generate, go, ready, stage, unfold, value, write
from tests.ui.site import Site, serving
from webui.service.engines import ThreadEngine
from webui.service.extension_shelf import Shelf

ROOT = Path(__file__).parents[2]
GLOW = ROOT / "tests" / "data" / "extension_glow"
SECOND = {
    "extension.toml": {'version = "1.0.0"': 'version = "2.0.0"'},
    "__init__.py": {"Glow <1>": "Glow <2>", "1 - strength": "1 + 2 * strength", "SHARPNESS = 0.5": "SHARPNESS = -0.5"},
}
BROKEN = {
    "extension.toml": {'version = "2.0.0"': 'version = "3.0.0"'}, "__init__.py": {"SHARPNESS = -0.5": "SHARPNESS = 1 / 0"},
}  # fmt: skip
RAISING = {"return x * self._kept": "raise LookupError(call.site)  #"}
LEAST = 5.0  # mean difference of pixels that is an effect
EVIL = "<img src=x onerror=\"window.pwned=1\">"
Pixels = NDArray[np.int16]


@dataclass(frozen=True)
class Repository:
    """A git repository on this machine."""

    folder: Path

    def commit(self, changes: dict[str, dict[str, str]]) -> str:
        """Change texts of its files, and commit that; returns the commit."""
        for name, texts in changes.items():
            change(self.folder / name, texts)
        self.git("add", "-A")
        self.git("-c", "user.name=S", "-c", "user.email=s@example.org", "commit", "-q", "-m", "Another version")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        """What git says."""
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def change(path: Path, texts: dict[str, str]) -> None:
    """Put texts in place of others, each of which is there."""
    text = path.read_text()
    for old, new in texts.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "glow")
    shutil.copytree(GLOW, made.folder, ignore=shutil.ignore_patterns("__pycache__"))
    made.git("init", "-q", "-b", "main")
    made.commit({})
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "models" / "builtin", root / "models" / "builtin", ignore=shutil.ignore_patterns("recipe", "training"))
    shelf = Shelf(root)
    with serving(root, ThreadEngine(root, shelf=shelf), shelf=shelf) as served:
        yield served


@pytest.fixture
def owner(browser: Browser, site: Site) -> Iterator[Person]:
    someone = Person(browser, site, *site.owner())
    yield someone
    someone.close()
    assert someone.problems == []


def drawn(person: Person, page: Page) -> Pixels:
    """Draw what the controls say; returns the picture."""
    before = len(person.pictures())
    generate(page)
    stage(page, "finished")
    found = person.pictures()
    assert len(found) == before + 1
    return np.asarray(Image.open(found[0].path).convert("RGB"), np.int16)


def differ(one: Pixels, other: Pixels) -> float:
    """How much two pictures differ, in parts of 255."""
    return float(np.abs(one - other).mean())


def row(page: Page, state: str) -> Any:
    """The row of the extension, once it is in that state and nothing is done with it."""
    found = page.locator("[data-extension=glow].w-extension")
    expect(found).to_have_attribute("data-state", state)
    expect(found).to_have_attribute("data-busy", "false")
    return found


def act(page: Page, what: str) -> None:
    """Press a button of the extension's row."""
    page.locator(f"[data-extension=glow].w-extension [data-act={what}]").click()


def reload(page: Page) -> None:
    """Take the offer to load the page again."""
    with page.expect_navigation():
        page.locator("#w-reload").get_by_role("button", name="Reload").click()
    ready(page)
    expect(page.locator("#w-reload")).to_have_count(0)


def strength(page: Page, to: str) -> None:
    """Set the extension's parameter."""
    if not page.locator("#txt2img_glow_strength").is_visible():
        unfold(page, "glow")
    page.locator("#txt2img_glow_strength input[type=number]").fill(to)
    comes_to_be(page, "glow_strength", float(to))


def has_nothing(page: Page) -> None:
    """Of the extension nothing is left in the page."""
    assert page.evaluate("customElements.get('glow-tab') === undefined")
    expect(page.get_by_role("tab", name=re.compile("Glow"))).to_have_count(0)
    expect(page.locator("#txt2img_glow_fold, glow-note")).to_have_count(0)
    assert "glow_strength" not in page.evaluate("Object.keys(webui.controls.txt2img.values)")
    page.locator("#txt2img_sampler input").click()
    expect(page.get_by_role("option", name="Glowing")).to_have_count(0)
    page.keyboard.press("Escape")


def install(page: Page, source: Path) -> None:
    """Look at what is there, see what it declares, and install it."""
    go(page, "Extensions")
    page.locator("#extensions_install").click()
    page.locator("#extension_source").fill(str(source))
    page.locator("#extension_look").click()
    expect(page.locator("#extension_rights")).to_contain_text("your rights")


def test_an_extension_comes_is_used_changes_breaks_and_goes(owner: Person, repository: Repository) -> None:
    page = owner.open()
    write(page, "prompt", "a red ball on a wooden table")
    for name, text in (("steps", "6"), ("seed", "7")):
        write(page, name, text)
    choose(page, "sampler", "Euler")
    plain = drawn(owner, page)
    has_nothing(page)

    install(page, repository.folder)
    dialog = page.locator("#extension_install")
    for text in ("glow", "1.0.0", "Somebody Else", "MIT", "<b>softly</b>", repository.git("rev-parse", "--short=12", "HEAD")):
        expect(dialog).to_contain_text(text)
    expect(dialog).to_contain_text("Answer at addresses of its own, run JavaScript in this page")
    expect(page.locator("[data-extension=glow]")).to_have_count(0)  # nothing is installed by looking
    page.locator("#extension_yes").click()
    expect(row(page, "loaded")).to_contain_text("1.0.0")
    reload(page)
    first = used(owner, page, plain, "1")
    cards_go_into_the_prompt(page)
    settings_hold_at_once(page)

    repository.commit(SECOND)
    go(page, "Extensions")
    act(page, "update")
    expect(page.locator("#extension_yes")).to_have_text("Replace 1.0.0 by 2.0.0")
    page.locator("#extension_yes").click()
    expect(row(page, "loaded")).to_contain_text("2.0.0")
    reload(page)
    second = used(owner, page, plain, "2")
    assert differ(first, second) > LEAST

    owner.meant.add(400)
    repository.commit(BROKEN)
    go(page, "Extensions")
    act(page, "update")
    page.locator("#extension_yes").click()
    expect(dialog.locator(".w-problem[role=alert]")).to_contain_text("ZeroDivisionError")
    page.locator("#extension_cancel").click()
    expect(row(page, "loaded")).to_contain_text("2.0.0")
    broken_by_hand(owner, page, plain)

    go(page, "Extensions")
    act(page, "remove")
    page.locator("#extension_remove_yes").click()
    expect(page.locator("[data-extension=glow].w-extension")).to_have_count(0)
    with page.expect_navigation():
        page.reload()
    ready(page)
    has_nothing(page)
    assert not (owner.site.studio.root / "extensions" / "glow").exists()
    assert np.array_equal(drawn(owner, page), plain), "what is removed is gone to the bit"
    assert page.evaluate("window.pwned") is None


def used(owner: Person, page: Page, plain: Pixels, version: str) -> Pixels:
    """Tab, sampler, parameter and panel are there and do what they should; returns the picture at full strength."""
    go(page, f"Glow <{version}>")
    tab = page.locator("glow-tab[data-state=ready]")
    expect(tab.locator(".glow-said")).to_contain_text(f"owner! This is {version}.0.0; txt2img has")
    expect(tab.locator("h2")).to_have_css("color", "rgb(1, 2, 3)")
    go(page, "txt2img")
    assert value(page, "glow_strength") == 0
    assert np.array_equal(drawn(owner, page), plain), "what is not used changes nothing"
    choose(page, "sampler", "Glowing")
    glowing = drawn(owner, page)
    assert differ(glowing, plain) > 1 and "Sampler: Glowing" in owner.pictures()[0].parameters
    choose(page, "sampler", "Euler")
    go(page, f"Glow <{version}>")
    page.locator("#glow_fully").click()
    go(page, "txt2img")
    comes_to_be(page, "glow_strength", 1)
    full = drawn(owner, page)
    assert differ(full, plain) > LEAST and "Glow strength: 1" in owner.pictures()[0].parameters
    expect(page.locator("#txt2img glow-note")).to_have_text("Glow knows 128 × 128 in txt2img.")
    expect(page.locator("#txt2img_glow_fold .w-fold-count")).to_have_text("1 set")
    strength(page, "0")
    picture = page.locator("#txt2img_glow_picture")
    picture.locator("input[type=file]").first.set_input_files(file("reference.png", content(stripes(40, 30))))
    page.wait_for_function("webui.controls.txt2img.values.glow_picture.length === 64")
    picture.get_by_role("button", name="Remove").click()
    comes_to_be(page, "glow_picture", "")
    assert np.array_equal(drawn(owner, page), plain), "what is used no more leaves nothing"
    return full


def cards_go_into_the_prompt(page: Page) -> None:
    """A card that is chosen is in the prompt, and out of it when it is chosen again; so are its words."""
    page.locator("#txt2img_cards").click()
    card = page.locator(".w-card[data-card=warm]")
    expect(card).to_contain_text("Warm <i>evening</i>")
    page.locator("#cards_search").fill("golden")
    expect(page.locator(".w-card[data-card=bad]")).to_have_count(0)
    card.locator(".w-card-face").click()
    comes_to_be(page, "prompt", "a red ball on a wooden table, warm")
    expect(card.locator(".w-card-face")).to_have_attribute("aria-pressed", "true")
    card.get_by_text("golden light").click()
    comes_to_be(page, "prompt", "a red ball on a wooden table, warm, golden light")
    card.locator(".w-card-face").click()
    card.get_by_text("golden light").click()
    comes_to_be(page, "prompt", "a red ball on a wooden table")
    page.locator("#cards_search").fill("")
    page.locator(".w-card[data-card=bad] .w-card-face").click()
    comes_to_be(page, "negative", "bad_mood")
    page.locator(".w-card[data-card=bad] .w-card-face").click()
    comes_to_be(page, "negative", "")
    page.keyboard.press("Escape")
    expect(page.locator("#w-cards")).to_be_hidden()


def settings_hold_at_once(page: Page) -> None:
    """A setting of the extension is kept, and told it."""
    go(page, "Extensions")
    one = row(page, "loaded")
    one.locator(".w-extension-more > summary").click()
    expect(one.locator(".w-extension-facts")).to_contain_text("sampler Glowing")
    one.locator("#extension_glow_greeting input").fill(EVIL[:40])
    expect(one.locator(".w-extension-settings")).to_contain_text("Saved.")
    go(page, "Glow <1>")
    page.reload()
    ready(page)
    go(page, "Glow <1>")
    expect(page.locator(".glow-said")).to_contain_text(EVIL[:40])
    assert page.evaluate("window.pwned") is None


def broken_by_hand(owner: Person, page: Page, plain: Pixels) -> None:
    """A hook that raises fails its job and is named; code that cannot be loaded is out of use and says why."""
    code = owner.site.studio.root / "extensions" / "glow" / "__init__.py"
    change(code, RAISING)
    act(page, "reload")
    row(page, "loaded")
    go(page, "txt2img")
    strength(page, "1")
    generate(page)
    stage(page, "failed")
    expect(page.locator("#txt2img .w-status.w-wrong")).to_contain_text("glow")
    strength(page, "0")
    assert np.array_equal(drawn(owner, page), plain)
    change(code, {"SHARPNESS = -0.5": "SHARPNESS = 1 / 0"})
    go(page, "Extensions")
    act(page, "reload")
    failed = row(page, "failed")
    expect(failed).to_contain_text("ZeroDivisionError")
    expect(failed).to_contain_text("files changed")
    failed.locator(".w-extension-more > summary").click()
    failed.locator(".w-trace > summary").click()
    expect(failed.locator(".w-trace pre")).to_contain_text("SHARPNESS = 1 / 0")
    expect(failed.locator(".w-findings")).to_contain_text("changed __init__.py")
    page.reload()
    ready(page)
    go(page, "txt2img")
    has_nothing(page)
    assert np.array_equal(drawn(owner, page), plain)
