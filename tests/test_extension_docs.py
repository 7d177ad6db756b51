"""docs/extensions.md says what there is: every hook with its signature, somebody bundled who uses it, and a test that does."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import webui.extension
from webui.extension import Hooks, Patches
from webui.extension.kinds import PLACES
from webui.service.extension_manifest import PERMISSIONS

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "extensions.md").read_text(encoding="utf-8")
HOOKS = {name: each for name, each in vars(Hooks).items() if inspect.isfunction(each)}
SECTION = re.compile(r"^#### `(\w+)(\([^`]*)`\n\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {name: (signature, text) for name, signature, text in SECTION.findall(DOCUMENT)}
QUOTED = re.compile(r"`(\w+)`")


def hooks_of(extension: str) -> Iterator[str]:
    """The functions that an extension marks as hooks, read from its source."""
    for path in sorted((ROOT / "extensions" / extension).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            marks = node.decorator_list if isinstance(node, ast.FunctionDef) else []
            if isinstance(node, ast.FunctionDef) and any(isinstance(each, ast.Name) and each.id == "hook" for each in marks):
                yield node.name


def test_every_hook_is_documented_and_nothing_else() -> None:
    assert list(SECTIONS) and set(SECTIONS) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_its_signature_a_bundled_user_and_a_test(name: str) -> None:
    signature, text = SECTIONS[name]
    given = inspect.signature(HOOKS[name])
    written = given.replace(parameters=list(given.parameters.values())[1:])
    assert signature == str(written).replace("'", ""), str(written).replace("'", "")
    assert inspect.getdoc(HOOKS[name])
    used, tested = re.search(r"Used by (.*?)\. Tested in (.*?)\.$", text, re.MULTILINE | re.DOTALL).groups()  # type: ignore[union-attr]
    users = QUOTED.findall(used)
    assert users and all(name in set(hooks_of(user)) for user in users), {user: sorted(hooks_of(user)) for user in users}
    test = ROOT / tested.strip("`")
    assert test.is_file() and re.search(rf"\b({name}|{'|'.join(users)})\b", test.read_text(encoding="utf-8"))


def test_every_seam_of_patches_every_permission_and_place_is_named() -> None:
    assert [seam for seam in Patches.__dataclass_fields__ if f"\n| `{seam}` |" not in DOCUMENT] == []
    assert [each for each in PERMISSIONS if f"`{each}`" not in DOCUMENT] == []
    assert [place for place in PLACES if f'"{place}"' not in DOCUMENT] == []


def test_all_that_the_page_names_of_python_is_exported() -> None:
    named = re.findall(r"from webui\.extension import ([\w, ]+)", DOCUMENT)
    assert named and all(hasattr(webui.extension, each.strip()) for line in named for each in line.split(","))
    assert [name for name in webui.extension.__all__ if not hasattr(webui.extension, name)] == []
