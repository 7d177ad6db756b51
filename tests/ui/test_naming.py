"""Who writes a pattern for names sees at once what a file would be called."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.ui.person import Person, choose, comes_to_be, until, wide, write
from tests.ui.test_pnginfo import PHONE
from webui.ui.naming import example, words


def name(pattern: str, format: str = "PNG") -> str:  # noqa: A002
    return example(pattern, format, "ann", lambda: 1_800_000_000.0)


def test_the_example_is_what_such_a_picture_would_be_called() -> None:
    assert name("[seed]") == "00042-1235.png"
    assert name("[date]/[user]-[width]x[height]-[steps]", "WebP").endswith("/00042-ann-512x768-20.webp")
    assert name("[none]", "AVIF") == "00042.avif"
    assert name("../../etc/[seed]", "JPEG") == "etc/00042-1235.jpg", "it leads out of the folder"


def test_whatever_is_typed_is_answered() -> None:
    odd = ("", "[", "[]", "[datetime<%", "[wonder]", "[datetime<%Q><nowhere>]", "a" * 5000, "\0", "[hasprompt<ball|no>]")
    for pattern in odd:
        assert name(pattern, "nonsense").endswith(".png")
    assert all(name(f"[{word}]").startswith("00042") for word in words())


def test_the_example_follows_what_is_typed(people: Callable[..., Person]) -> None:
    person = people(owner=True, **PHONE)
    page = person.open("Settings")
    shown = page.locator("#settings_filename_example")
    expect(shown).to_have_text("00042-1235.png")
    write(page, "filename_pattern", "[seed]-[sampler]", "settings")
    expect(shown).to_have_text("00042-1235-Euler a.png")
    choose(page, "save_format", "AVIF", "settings")
    expect(shown).to_have_text("00042-1235-Euler a.avif")
    page.locator(".w-naming summary").click()
    page.locator(".w-naming-word", has_text="[steps]").click()
    comes_to_be(page, "filename_pattern", "[seed]-[sampler][steps]", "settings")
    expect(shown).to_have_text("00042-1235-Euler a20.avif")
    assert wide(page) <= 0
    preferences = person.site.studio.preferences
    until(page, lambda: preferences.settings(person.user).filename_pattern == "[seed]-[sampler][steps]")
    assert preferences.settings(person.user).save_format == "AVIF"
