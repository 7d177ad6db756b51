"""What the Extensions tab does with an extension from a folder: shown whole, installed as looked at, gone when removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webui.errors import NotFound, UserError
from webui.service.extension_desk import MOST_LOOKED_AT, Desk
from webui.service.extension_shelf import Shelf, open_shelf
from webui.service.installing import Installer

GLOW = Path(__file__).parents[1] / "data" / "extension_glow"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Shelf]]:
    root = tmp_path_factory.mktemp("desk")
    shelf = open_shelf(root)
    yield root, shelf
    shelf.close()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "glow"
    shutil.copytree(GLOW, place, ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.fixture
def desk(opened: tuple[Path, Shelf]) -> Iterator[Desk]:
    root, shelf = opened
    made = Desk(shelf, Installer(root, check=shelf.check, load=shelf.load, unload=shelf.unload))
    yield made
    if (root / "extensions" / "glow").exists():
        made.remove("glow", storage=True, by_hand=True, cancel=False)


def shown(desk: Desk, name: str = "glow") -> dict[str, Any]:
    """What the tab shows of an extension."""
    return next(each for each in desk.list() if each["name"] == name)


def installed(desk: Desk, source: Path) -> dict[str, Any]:
    """Look at it and install it."""
    assert desk.install(desk.examine(str(source))["token"]) == "glow"
    return shown(desk)


def test_those_of_the_program_are_in_use_and_say_what_they_add(desk: Desk) -> None:
    listed = {each["name"]: each for each in desk.list()}
    assert {each["state"] for each in listed.values()} == {"loaded"} and all(each["bundled"] for each in listed.values())
    assert "samplers" in listed["samplers"]["hooks"] and any(what.startswith("sampler ") for what in listed["samplers"]["adds"])
    assert listed["samplers"]["milliseconds"] > 0 and listed["samplers"]["source"] == "with the program"


def test_what_was_looked_at_is_installed_and_shown_whole(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    found = desk.examine(str(source))
    assert found["permissions"] == ["routes", "javascript"] and found["rights"] and "glow" not in [e["name"] for e in desk.list()]
    assert desk.install(found["token"]) == "glow"
    now = shown(desk)
    assert (now["state"], now["version"], now["installed"], now["bundled"]) == ("loaded", "1.0.0", True, False)
    assert {"sampler Glowing", "fold Glow", "panel picture details", "address greeting"} <= set(now["adds"])
    assert now["content"] == found["content"] and now["source"] == str(source) and now["changes"] == []
    assert [field["name"] for field in now["settings"]["fields"]] == ["greeting"]
    assert now["settings"]["values"] == {"greeting": "Hello"}
    with pytest.raises(NotFound):
        desk.install(found["token"])


def test_settings_are_checked_and_kept(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    installed(desk, source)
    desk.settings("glow", {"greeting": "Hi"})
    assert shown(desk)["settings"]["values"] == {"greeting": "Hi"}
    assert opened[1].now.homes["glow"].settings["greeting"] == "Hi"
    with pytest.raises(UserError, match="Greeting"):
        desk.settings("glow", {"greeting": "x" * 41})


def test_one_that_is_disabled_stays_so_until_it_is_enabled(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    installed(desk, source)
    desk.disable("glow")
    assert shown(desk)["state"] == "disabled" and "Glowing" not in opened[1].now.samplers
    desk.enable("glow")
    assert shown(desk)["state"] == "loaded" and "Glowing" in opened[1].now.samplers


def test_broken_code_is_shown_with_its_place_and_what_was_changed(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    installed(desk, source)
    code = opened[0] / "extensions" / "glow" / "__init__.py"
    code.write_text(code.read_text().replace("SHARPNESS = 0.5", "SHARPNESS = 1 / 0"))
    desk.reload("glow")
    now = shown(desk)
    assert now["state"] == "failed" and "ZeroDivisionError" in now["problem"] and "SHARPNESS = 1 / 0" in now["trace"]
    assert now["changes"] == ["changed __init__.py"]
    assert "Glowing" not in opened[1].now.samplers


def test_new_code_that_fails_is_refused_and_the_old_stays(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    installed(desk, source)
    code = source / "__init__.py"
    code.write_text(code.read_text().replace("SHARPNESS = 0.5", "SHARPNESS = 1 / 0"))
    found = desk.examine_update("glow")
    assert found["replaces"] == "1.0.0" and not found["same"]
    with pytest.raises(UserError, match="ZeroDivisionError"):
        desk.install(found["token"])
    assert shown(desk)["state"] == "loaded" and "Glowing" in opened[1].now.samplers


def test_what_is_removed_is_gone_with_what_it_kept(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    installed(desk, source)
    root, shelf = opened
    shelf.now.homes["glow"].folder.joinpath("note.txt").write_text("kept")
    desk.remove("glow", storage=True, by_hand=False, cancel=True)
    assert "glow" not in [each["name"] for each in desk.list()] and "Glowing" not in shelf.now.samplers
    assert not (root / "extensions" / "glow").exists() and not list(root.glob("data/extensions/glow*"))


def test_what_is_looked_at_and_left_is_sent_away(desk: Desk, source: Path, opened: tuple[Path, Shelf]) -> None:
    tokens = [desk.examine(str(source))["token"] for _ in range(MOST_LOOKED_AT + 1)]
    with pytest.raises(NotFound):
        desk.install(tokens[0])
    for token in tokens:
        desk.discard(token)
    staged = opened[0] / "extensions" / ".staged"
    assert not staged.exists() or not list(staged.iterdir())
