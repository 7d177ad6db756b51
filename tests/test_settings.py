"""Every setting says what it is, takes what it says, and is read somewhere."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from webui.errors import UserError
from webui.params import parameters
from webui.settings import CHOICES, Settings, places

ROOT = Path(__file__).resolve().parents[1]
NAMES = [field.name for field in fields(Settings)]
FREE = {"filename_pattern"}  # texts of one's own
ABSENT = "celebrate"  # a setting that there might be


@cache
def attributes() -> list[tuple[str, str, str]]:
    """Every attribute that is read in Python: its name, of what, and where."""
    return [
        (node.attr, ast.unparse(node.value), f"{path.name}:{node.lineno}")
        for path in sorted((ROOT / "webui").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr in (*NAMES, ABSENT)
    ]


@cache
def scripts() -> str:
    """The page's own code."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "webui" / "ui" / "static").glob("*.js")))


def reads(name: str) -> list[str]:
    """The places that read a setting: an attribute in Python, a property of the settings in the page's code."""
    found = [where for attribute, of, where in attributes() if attribute == name and ("settings" in of or "everybody" in of)]
    return found + re.findall(rf"[sS]ettings\S*\.{name}\b", scripts())


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_is_read_somewhere(name: str) -> None:
    assert reads(name), f"nothing reads the setting {name}: it would change nothing"


def test_a_setting_that_nothing_reads_would_be_found() -> None:
    assert not reads(ABSENT)


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_explains_itself(name: str) -> None:
    parameter, place = parameters(Settings)[name], places()[name]
    assert parameter.label and parameter.help.endswith(".") and place.group
    assert parameter.kind in (bool, int, float, str) and not parameter.optional
    assert parameter.kind is not str or parameter.choices in CHOICES or name in FREE
    bounded = parameter.min is not None and parameter.max is not None
    assert parameter.kind is bool or name in FREE or parameter.choices or bounded


@pytest.mark.parametrize("name", [name for name, each in parameters(Settings).items() if each.choices])
def test_a_choice_is_one_of_those_there_are(name: str) -> None:
    for _, value in CHOICES[parameters(Settings)[name].choices or ""]:
        assert getattr(Settings(**{name: value}), name) == value
    with pytest.raises(UserError, match="it must be one of: "):
        Settings(**{name: "another"})
