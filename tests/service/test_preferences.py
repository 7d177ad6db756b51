"""What is remembered comes back, as far as it still makes sense; one bad value costs nobody the others."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.service.shelf import ANNA, BOB, OWNER, Shelf, shelf
from webui.errors import TooMany, UnknownName, UserError
from webui.params import LARGEST_SEED
from webui.service import preferences as module
from webui.service.preferences import Preferences
from webui.settings import Settings


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    return shelf(tmp_path)


@pytest.fixture
def kept(full: Shelf) -> Preferences:
    return Preferences(full.database)


def store(full: Shelf, user: int, area: str, text: str) -> None:
    with full.database.write() as connection:
        connection.execute("INSERT OR REPLACE INTO preferences (user, area, value) VALUES (?, ?, ?)", (user, area, text))


def test_values_are_kept_for_each_person_and_area(kept: Preferences) -> None:
    values = {"prompt": "ein Ball <b> ボ \u2028", "seed": LARGEST_SEED, "scale": 4.5, "model": None, "reproducible": True}
    kept.write(ANNA, "txt2img", values)
    assert kept.read(ANNA, "txt2img") == values
    assert kept.read(ANNA, "txt2img defaults") == kept.read(BOB, "txt2img") == {}
    kept.write(ANNA, "gallery", {"any": [1, {"thing": "x"}]})
    assert kept.read(ANNA, "gallery") == {"any": [1, {"thing": "x"}]}
    kept.write(ANNA, "txt2img", {"steps": 3})
    assert kept.read(ANNA, "txt2img") == {"steps": 3}
    kept.forget(ANNA, "txt2img")
    assert kept.read(ANNA, "txt2img") == {} != kept.read(ANNA, "gallery")


def test_bad_values_fall_away_one_by_one(full: Shelf, kept: Preferences) -> None:
    store(full, ANNA.id, "txt2img", json.dumps({
        "prompt": "a ball", "steps": 9999, "scale": "much", "width": 65, "height": 128, "count": None, "model": None, "old": 1,
        "reproducible": "true", "negative": 5,
    }))  # fmt: skip
    assert kept.read(ANNA, "txt2img") == {"prompt": "a ball", "height": 128, "model": None, "reproducible": True}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "[" * 100_000, '{"theme": NaN}', "\0"])
def test_what_is_broken_is_as_if_it_were_not_there(full: Shelf, kept: Preferences, text: str) -> None:
    for user in (OWNER, ANNA):
        for area in ("settings", "settings of everybody", "txt2img"):
            store(full, user.id, area, text)
    assert kept.settings(ANNA) == Settings() and kept.read(ANNA, "txt2img") == {}
    assert kept.change(ANNA, {"theme": "dark"}).theme == "dark"


@pytest.mark.parametrize(
    "values", [{"x": float("nan")}, {"x": float("inf")}, {"x": "\ud800"}, {"x": object()}, {"x": "y" * 300_000}, {"x": b"y"}]
)
def test_what_cannot_be_kept_is_refused_and_the_old_stays(kept: Preferences, values: dict[str, Any]) -> None:
    kept.write(ANNA, "gallery", {"x": 1})
    with pytest.raises(UserError):
        kept.write(ANNA, "gallery", values)
    assert kept.read(ANNA, "gallery") == {"x": 1}


def test_nesting_has_an_end(kept: Preferences) -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UserError):
        kept.write(ANNA, "gallery", {"x": deep})


@pytest.mark.parametrize("area", ["", "X", "../x", "a" * 61, "a\n", "ä", " a"])
def test_an_area_has_a_plain_name(kept: Preferences, area: str) -> None:
    with pytest.raises(UserError, match="use 1 to 60"):
        kept.write(ANNA, area, {})
    with pytest.raises(UserError, match="use 1 to 60"):
        kept.read(ANNA, area)


def test_there_are_not_any_number_of_areas(kept: Preferences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AREAS", 3)
    for name in "abc":
        kept.write(ANNA, name, {})
    with pytest.raises(TooMany):
        kept.write(ANNA, "d", {})
    kept.write(ANNA, "a", {"still": 1})
    kept.write(BOB, "d", {})


# --- settings


def test_settings_are_the_defaults_until_somebody_changes_them(kept: Preferences) -> None:
    assert kept.settings(ANNA) == Settings() == kept.for_everybody()
    assert kept.change(ANNA, {"theme": "dark", "trash_days": 5}) == Settings(theme="dark", trash_days=5)
    assert kept.change(ANNA, {"previews": False}) == kept.settings(ANNA) == Settings(theme="dark", trash_days=5, previews=False)
    assert kept.settings(BOB) == Settings()
    assert kept.change(ANNA, {"theme": None, "trash_days": None}) == Settings(previews=False)


def test_what_holds_for_everybody_is_changed_by_owners_only(kept: Preferences) -> None:
    with pytest.raises(UserError, match=r"Steps of a picture holds for everybody; only an owner may change it\."):
        kept.change(ANNA, {"theme": "dark", "most_steps": 10})
    assert kept.settings(ANNA) == Settings()
    kept.change(OWNER, {"theme": "light", "most_steps": 10})
    assert kept.settings(ANNA) == Settings(most_steps=10) == kept.for_everybody()
    assert kept.settings(OWNER) == Settings(most_steps=10, theme="light")


def test_nobody_gets_around_that_by_what_is_stored(full: Shelf, kept: Preferences) -> None:
    store(full, ANNA.id, "settings", '{"most_steps": 150, "theme": "dark"}')
    store(full, ANNA.id, "settings of everybody", '{"most_steps": 150}')
    kept.change(OWNER, {"most_steps": 7})
    assert kept.settings(ANNA) == Settings(most_steps=7, theme="dark")
    for area in ("settings", "settings of everybody"):
        for user in (ANNA, OWNER):
            with pytest.raises(UserError, match="change them as settings"):
                kept.write(user, area, {"most_steps": 150})
    assert kept.settings(ANNA).most_steps == 7


@pytest.mark.parametrize(
    "values", [{"theme": "blue"}, {"trash_days": -1}, {"previews_per_second": 0}, {"theme": 3}, {"previews": 1}]
)
def test_a_value_that_is_not_allowed_changes_nothing(kept: Preferences, values: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        kept.change(OWNER, {"most_steps": 10, **values})
    assert kept.settings(OWNER) == Settings()


@pytest.mark.parametrize("value", ["x", None])
def test_an_unknown_setting_is_named(kept: Preferences, value: object) -> None:
    with pytest.raises(UnknownName, match=r"Unknown parameter 'them'; did you mean theme\?"):
        kept.change(OWNER, {"them": value})


def test_stored_settings_fall_away_one_by_one(full: Shelf, kept: Preferences) -> None:
    store(full, ANNA.id, "settings", '{"theme": "blue", "tiles": "large", "old": 1, "trash_days": 1e999}')
    assert kept.settings(ANNA) == Settings(tiles="large")


def test_two_changes_at_once_are_both_kept(kept: Preferences, full: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, other = kept._stored, threading.Thread(target=lambda: kept.change(ANNA, {"tiles": "large"}))

    def meanwhile(user: int, area: str) -> dict[str, Any]:
        found = stored(user, area)
        if other.ident is None:
            other.start()
            other.join(0.2)
        return found

    monkeypatch.setattr(kept, "_stored", meanwhile)
    kept.change(ANNA, {"theme": "dark"})
    other.join()
    settings = kept.settings(ANNA)
    assert (settings.theme, settings.tiles) == ("dark", "large")
