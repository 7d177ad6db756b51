"""The page's own code and styles: nothing from elsewhere, and no way by which text becomes markup or code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from webui.ui.head import STATIC

FILES = sorted(STATIC.iterdir())
CODE = [path for path in FILES if path.suffix == ".js"]
STYLES = [path for path in FILES if path.suffix == ".css"]
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc")
EVALUATION = re.compile(r"\beval\(|new Function\(|setTimeout\(\s*['\"`]|javascript:")
ELSEWHERE = re.compile(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.[a-z]", re.IGNORECASE)
LONGEST = 400


def without_comments(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"(?m)^\s*//.*$|(?<=[;{},)])\s+//.*$", "", text)


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_text_never_becomes_markup_or_code(path: Path) -> None:
    text = without_comments(path)
    assert not MARKUP.search(text) and not EVALUATION.search(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = without_comments(path)
    assert not ELSEWHERE.search(text)
    assert path.suffix != ".css" or not re.search(r"@import|url\(", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short_and_say_first_what_they_are_for(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert text.startswith("// " if path.suffix == ".js" else "/* ")


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.name)
def test_imports_are_of_files_there_are(path: Path) -> None:
    for name in re.findall(r'from "\./([^"]+)"|^import "\./([^"]+)"', path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert (STATIC / (name[0] or name[1])).is_file()


def test_every_colour_is_one_of_the_palette_or_of_the_full_view() -> None:
    for path in STYLES:
        found = set(re.findall(r"#[0-9a-f]{3,8}\b", without_comments(path)))
        assert found <= ({"#0b0b0c", "#ededf0", "#b9b9c1"} if path.name == "dialogs.css" else set()), path.name


def test_every_variable_that_is_used_is_given() -> None:
    from webui.ui.theme import variables

    text = "".join(without_comments(path) for path in STYLES)
    given = set(re.findall(r"(--w-[a-z-]+):", variables() + text))
    assert set(re.findall(r"var\((--w-[a-z-]+)", text)) <= given


@pytest.mark.parametrize(
    ("rule", "planted"),
    [(MARKUP, "x.innerHTML = prompt"), (EVALUATION, "eval(x)"), (ELSEWHERE, 'src="https://cdn.example/x.js"')],
)
def test_the_rules_catch_something(rule: re.Pattern[str], planted: str) -> None:
    assert rule.search(planted)
