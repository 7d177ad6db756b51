"""Extensions are loaded from folders; one that is broken costs itself only, and is told why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from webui.extension import PromptContext
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.service.extensions import BUNDLED, bundled, load

MANIFEST = 'name = "{name}"\nversion = "1.2"\napi = "{api}"\ndescription = "For a test."\n'
HEAD = "from webui.extension import SamplerInfo, hook\n"
ADDS = HEAD + "@hook\ndef samplers():\n    return [SamplerInfo(name='{name}', function=len)]\n"
SHOUTS = HEAD + "@hook\ndef transform_prompt(text, context):\n    return text + '{mark}' + str(context.seed)\n"


def write(folder: Path, name: str, code: str, manifest: str = MANIFEST, api: str = "1") -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "extension.toml").write_text(manifest.format(name=name, api=api), encoding="utf-8")
    (place / "__init__.py").write_text(code, encoding="utf-8")
    return place


def test_what_is_added_comes_beside_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, "adds", ADDS.format(name="Mine"))
    found = load((tmp_path,))
    assert list(found.samplers) == [*SAMPLERS, "Mine"] and dict(found.schedules) == dict(SCHEDULES)
    assert found.versions == {"adds": "1.2"} and not found.problems and found.owners == {"sampler Mine": "adds"}
    assert "Mine" not in SAMPLERS


def test_prompts_are_transformed_by_name_in_order(tmp_path: Path) -> None:
    for name, mark in (("b", "!"), ("a", "?"), ("c", "#")):
        write(tmp_path, name, SHOUTS.format(mark=mark))
    assert load((tmp_path,)).transform_prompt("x", PromptContext(seed=7)) == "x?7!7#7"


BROKEN = {
    "raises": (HEAD + "raise RuntimeError('no')", "no"),
    "misspelled": (HEAD + "@hook\ndef sampler():\n    return []\n", "sampler"),
    "taken": (ADDS.format(name="Euler"), "The sampler 'Euler' of taken is there already, by the program itself"),
    "twice": (ADDS.format(name="One").replace("]", ", 3]"), "returned '3'; it must return a list of SamplerInfo"),
    "unreadable": ("def (", "invalid syntax"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_is_broken_costs_itself_only(tmp_path: Path, name: str) -> None:
    code, why = BROKEN[name]
    write(tmp_path, name, code)
    write(tmp_path, "sound", ADDS.format(name="Mine"))
    found = load((tmp_path,))
    assert list(found.problems) == [name] and why in found.problems[name], found.problems
    assert list(found.samplers) == [*SAMPLERS, "Mine"] and list(found.versions) == ["sound"]
    assert found.transform_prompt("x", PromptContext(seed=1)) == "x"


def test_nothing_of_a_broken_one_goes_on_working(tmp_path: Path) -> None:
    write(tmp_path, "half", SHOUTS.format(mark="!") + ADDS.format(name="Euler").removeprefix(HEAD))
    found = load((tmp_path,))
    assert found.problems and found.transform_prompt("x", PromptContext(seed=1)) == "x"


def test_two_that_add_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path, name, ADDS.format(name="Mine"))
    found = load((tmp_path,))
    assert len(found.versions) == len(found.problems) == 1
    assert "The sampler 'Mine' of two is there already, by one" in found.problems["two"]


@pytest.mark.parametrize(
    ("manifest", "api", "why"),
    [
        ('name = "x"\n', "1", "version, api, description"),
        ("name = ", "1", "cannot be read"),
        (MANIFEST, "2", "made for api '2', and this program has '1'"),
        (MANIFEST.replace("{name}", "other"), "1", "calls itself 'other'"),
    ],
)
def test_a_manifest_that_says_too_little_or_wants_another_program(tmp_path: Path, manifest: str, api: str, why: str) -> None:
    write(tmp_path, "x", HEAD, manifest, api)
    found = load((tmp_path,))
    assert why in found.problems["x"] and not found.versions


def test_a_folder_without_a_manifest_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert not load((tmp_path, tmp_path / "gone")).problems


def test_what_comes_with_the_program_loads_whole_and_without_torch() -> None:
    assert not bundled().problems and set(bundled().versions) == {place.parent.name for place in BUNDLED.glob("*/extension.toml")}
    code = (
        "import sys; from webui.service.extensions import bundled; bundled(); "
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=BUNDLED.parent, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["False", "False"]
