"""The test kit passes what does what it should, and sees each thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.service.published_extensions import extension, manifest, write
from webui.errors import UserError
from webui.extension import testing
from webui.extension.testing import Check, check, examine, write_tensors
from webui.extension.testing_bench import Together
from webui.extension.testing_use import Use, guessed, read_use
from webui.service.extension_shelf import Shelf
from webui.service.installing_new import new
from webui.weights.files import read_header

PLAIN, OTHER = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 6, np.uint8)


def test_what_new_writes_works_at_once(tmp_path: Path) -> None:
    report = check(new("try_this", tmp_path))
    assert report.extension == "try_this" and report.passed
    assert [each.name for each in report.checks] == [
        "loads", "has an effect", "leaves others alone", "after use", "after an error", "after cancelling", "beside other jobs"
    ]  # fmt: skip
    assert "the section Try this" in report.checks[0].said and "the sampler Try this steady" in report.checks[0].said


SCRATCHES = '''
import gc

from webui.extension import Patches, SamplerInfo, Section, Params, hook, param
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mine(Params):
    on: bool = param(False, "On", help="Whether it is used.")


class Scratches:
    def output(self, call, x):
        from torch import nn
        if call.site.startswith("middle"):
            for each in gc.get_objects():
                if issubclass(type(each), nn.Conv2d) and each.bias is not None:
                    each.bias.data.add_(1e-3)
        return x * 0


@hook
def params():
    return [Section(title="Mine", params=Mine)]


@hook
def patches(job):
    return Patches(attention=(Scratches(),))
'''


def test_one_that_writes_to_weights_is_found_out(tmp_path: Path) -> None:
    place = write(extension(tmp_path / "mine", more="[test.parameters]\nmine_on = true\n"), {"__init__.py": SCRATCHES})
    said: list[str] = []
    report = examine(place, say=said.append)
    wrong = {each.name for each in report.checks if each.passed is False}
    assert {"after use", "after an error"} <= wrong and not report.passed, said
    assert said == [str(each) for each in report.checks] and any("OTHER weights" in line for line in said)


class Pretend:
    """A bench whose every answer is given."""

    def __init__(self, **answers: Any) -> None:
        good = {"plain": PLAIN, "used": OTHER, "without": PLAIN, "digest": {"unet": "a"}, "failed": None, "cancelled": None,
                "together": Together(used=OTHER, again=OTHER, plain=PLAIN, shared=True)}  # fmt: skip
        self.answers: dict[str, Any] = good | answers
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Callable[[], Any]:
        def answer() -> Any:
            self.asked.append(name)
            found = self.answers[name]
            return found(self.asked) if callable(found) else found

        return answer

    difference = staticmethod(lambda one, other: float(np.abs(one.astype(int) - other).mean()))
    worst = staticmethod(lambda one, other: int(np.abs(one.astype(int) - other).max()))
    same = staticmethod(np.array_equal)


def later(act: str, before: Any, after: Any) -> Callable[[list[str]], Any]:
    """An answer that is another one once something was done, for the second time where it is always done once."""
    most = 1 if act == "used" else 0
    return lambda asked: after if asked.count(act) > most else before


def carried_out(use: Use, **answers: Any) -> list[Check]:
    done: list[Check] = []
    bench: Any = Pretend(**answers)
    testing._carry_out(bench, use, lambda *told: done.append(Check(name=told[0], passed=told[1], said=told[2])))
    return done


WRONG = {
    "has an effect": {"used": np.full((4, 4, 3), 5, np.uint8)},
    "leaves others alone": {"without": np.eye(4, dtype=np.uint8)},
    "after use": {"digest": later("used", {"unet": "a"}, {"unet": "b"})},
    "after an error": {"digest": later("failed", {"unet": "a"}, {"unet": "b"})},
    "after cancelling": {"plain": later("cancelled", PLAIN, OTHER)},
    "beside other jobs": {"together": Together(used=OTHER, again=OTHER, plain=PLAIN + 3, shared=True)},
}


@pytest.mark.parametrize("name", [*WRONG, ""])
def test_each_thing_that_is_wrong_is_seen(name: str) -> None:
    done = carried_out(Use(), **WRONG.get(name, {}))
    wrong = [each.name for each in done if not each.passed]
    expected = {"": [], "leaves others alone": ["leaves others alone"]}.get(name, [name])
    assert wrong[:1] == expected and [each.name for each in done] == list(WRONG)
    if name in ("", "has an effect", "beside other jobs", "after cancelling"):
        assert wrong == expected


def test_one_that_only_looks_may_change_nothing() -> None:
    for used, good in ((PLAIN, True), (OTHER, False)):
        together = Together(used=used, again=used, plain=PLAIN, shared=False)
        first = carried_out(Use(changes=False), used=used, together=together)[0]
        assert first.name == "only looks" and first.passed is good


def test_one_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    place = write(extension(tmp_path / "mine"), {"__init__.py": "raise RuntimeError('at import')"})
    report = examine(place)
    assert not report.passed and "at import" in report.checks[0].said and len(report.checks) == 1


def test_where_nothing_says_how_it_is_used_no_more_is_tried(tmp_path: Path) -> None:
    report = examine(extension(tmp_path / "mine"))  # which changes prompts
    assert report.passed and [each.passed for each in report.checks] == [True, None]
    with pytest.raises(AssertionError, match="not tried"):
        check(tmp_path / "mine")
    assert check(tmp_path / "mine", whole=False).passed


def test_what_is_used_without_being_told_is_guessed(tmp_path: Path) -> None:
    code = '''
from dataclasses import dataclass
from webui.extension import Params, SamplerInfo, Section, hook, param

@dataclass(frozen=True, kw_only=True)
class Mine(Params):
    strength: float = param(0.0, "A", min=-1, max=3, help="x")
    count: int = param(8, "B", min=1, max=10, help="x")
    on: bool = param(False, "C", help="x")
    text: str = param("", "D", help="x")

@hook
def params():
    return [Section(title="Mine", params=Mine, tasks=("txt2img",)), Section(title="Other", params=Params, tasks=("depth",))]

@hook
def samplers():
    return [SamplerInfo(name="Mine too", function=len)]
'''
    write(extension(tmp_path / "all" / "mine"), {"__init__.py": code})
    shelf = Shelf(tmp_path / "root", folders=(tmp_path / "all",))
    shelf.open()
    assert not shelf.now.problems
    found = guessed(shelf.now, "mine")
    assert found == Use(
        guessed=True, parameters={"mine_strength": 3.0, "mine_count": 1, "mine_on": True, "sampler": "Mine too"}
    )  # fmt: skip
    assert guessed(shelf.now, "other") is None


def test_a_manifest_says_how_it_is_used_and_a_test_may_say_otherwise(tmp_path: Path) -> None:
    more = '[test]\nprompt = "a"\nplain = "b"\n[test.parameters]\nsteps = 3\n'
    place = write(tmp_path, {"extension.toml": manifest("mine", more=more)})
    assert read_use(place) == Use(prompt="a", plain="b", parameters={"steps": 3})
    assert read_use(place, prompt="c", parameters={}) == Use(prompt="c", plain="b")
    with pytest.raises(UserError, match=r"Unknown key of \[test\] 'promt'; did you mean prompt"):
        read_use(place, promt="x")
    with pytest.raises(UserError, match="says prompt = '3'"):
        read_use(place, prompt=3)
    write(tmp_path, {"extension.toml": manifest("mine")})
    assert read_use(place) is None and read_use(place, prompt="c") == Use(prompt="c")


def test_files_can_be_made_for_it(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "Lora" / "example.safetensors"
    write_tensors(path, {"a": torch.zeros(2, 3)}, {"b": "c"})
    header = read_header(path)
    assert header.tensors["a"].shape == (2, 3) and header.metadata == {"b": "c"}
