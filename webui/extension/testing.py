"""The test kit: uses an extension with the model that comes with the program, and says what came of it.

    from webui.extension.testing import check

    def test_it():
        check("extensions/mine", prompt="a red ball", parameters={"mine_strength": 0.8})

`launch.py extensions test mine` does the same and prints a line for each check: that it loads; that it has an effect when it is
used (pictures differ by more than 5/255 in the mean); that a picture that does not use it is the same to the bit as without it,
and stays so, as does every weight, after it was used, after a job that used it failed and after one was cancelled; and that
pictures come out right while other jobs use the network. How it is used stands in its `extension.toml`, or is given to `check`:

    [test]
    prompt = "a red ball <mine:example:1>"  # what uses it; tags of its own are left out for the picture without it
    plain = "a red ball"                    # the prompt without it, where that is more than leaving out tags
    task = "txt2img"                        # or img2img, inpaint, depth: then a picture and a mask are given, made by the kit
    make = "examples:make"                  # make(models, shapes) of its module `examples` writes the files that it needs
    changes = true                          # false for one that only looks: then pictures are to be the same to the bit

    [test.parameters]                       # those of the task; its own begin with its name; "example" is a picture of the kit's
    mine_strength = 0.8
    sampler = "Mine"

`make` is given a folder `models` that is the kit's own, to write to such as `models / "Lora" / "example.safetensors"`
(`write_tensors` writes such a file), and the shapes of the built-in model's weights by their names in published files. Without
`[test]` every parameter of the extension that has bounds is set as far from its default as it goes, and its first sampler is
used.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import WebUIError
from webui.extension.testing_use import Use, guessed, read_use

if TYPE_CHECKING:
    from webui.extension.testing_bench import Bench
    from webui.service.extensions import Extensions

LEAST_EFFECT = 5.0  # of 255, in the mean
MOST_ROUNDING = 2  # of 255, in any pixel: calls that are shared round otherwise
MOST_NAMED = 3  # of a kind, before they are counted
PASSED, WRONG, LEFT_OUT = "passed", "FAILED", "not tried"
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at: whether it is as it should be (None: it could not be tried), and what was seen."""

    name: str
    passed: bool | None
    said: str

    def __str__(self) -> str:
        word = LEFT_OUT if self.passed is None else PASSED if self.passed else WRONG
        return f"{self.name + ':':<24} {word:<9}  {self.said}"


@dataclass(frozen=True, kw_only=True)
class Report:
    """All checks of an extension, in order."""

    extension: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return all(each.passed is not False for each in self.checks)

    def __str__(self) -> str:
        return "\n".join([self.extension, *map(str, self.checks)])


def check(folder: str | Path, *, whole: bool = True, **use: Any) -> Report:
    """Use the extension in a folder; `AssertionError` tells what is wrong, and with `whole` also what could not be tried.

    `use` are the keys of its `[test]` table that are to be different.
    """
    report = examine(folder, **use)
    if not report.passed or (whole and any(each.passed is None for each in report.checks)):
        raise AssertionError(f"The extension does not do what it should.\n{report}")
    return report


def examine(folder: str | Path, *, say: Say = lambda _: None, **use: Any) -> Report:
    """Use the extension in a folder and report on it; `say` is told each check when it is done."""
    from webui.extension.testing_bench import Bench, loaded
    from webui.service.extension_manifest import read_manifest

    place = Path(folder).resolve()
    manifest = read_manifest(place)
    done: list[Check] = []

    def note(name: str, passed: bool | None, said: str) -> None:
        done.append(Check(name=name, passed=passed, said=said))
        say(str(done[-1]))

    with tempfile.TemporaryDirectory(prefix="webui-kit-", ignore_cleanup_errors=True) as own:
        try:
            alone, beside = loaded(place, manifest, Path(own))
        except WebUIError as error:
            note("loads", False, str(error))
            return Report(extension=manifest.name, checks=tuple(done))
        note("loads", True, f"version {manifest.version}; it has {_has(alone, manifest.name)}")
        wanted: Use | None = None
        try:
            wanted = read_use(place, **use) or guessed(alone, manifest.name)
            if wanted is None:
                note("has an effect", None, "it has nothing to use in one picture, or [test] in its manifest does not say how")
                return Report(extension=manifest.name, checks=tuple(done))
            with Bench(Path(own), alone, beside, manifest.name, wanted) as bench:
                _carry_out(bench, wanted, note)
        except WebUIError as error:
            note("can be used", None if wanted is not None and wanted.guessed else False, str(error))
    return Report(extension=manifest.name, checks=tuple(done))


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write torch tensors as a safetensors file; folders are made."""
    from webui.weights.files import save

    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, dict(tensors), metadata)


def _carry_out(bench: Bench, use: Use, note: Callable[[str, bool | None, str], None]) -> None:
    """The checks, one after another: each needs those before it."""
    plain, before = bench.plain(), bench.digest()
    used = bench.used()
    if use.changes:
        difference = bench.difference(used, plain)
        guess = ", with guessed settings" if use.guessed else ""
        said = f"pictures differ by {difference:.1f} of 255 in the mean; more than {LEAST_EFFECT:g} is wanted{guess}"
        note("has an effect", True if difference > LEAST_EFFECT else None if use.guessed else False, said)
    else:
        same = bench.same(used, plain)
        note("only looks", same, f"a picture made with it is {'the same to the bit' if same else 'ANOTHER'}")
    same = bench.same(plain, bench.without())
    note("leaves others alone", same, f"a picture not made with it is {'the same to the bit' if same else 'ANOTHER'} without it")
    for name, act in (("after use", bench.used), ("after an error", bench.failed), ("after cancelling", bench.cancelled)):
        act()
        now, same = bench.digest(), bench.same(plain, bench.plain())
        whole = before.items() <= now.items()  # it may have brought networks of its own
        weights = f"{len(before)} networks have {'the same' if whole else 'OTHER'} weights"
        note(name, whole and same, f"{weights}, and the picture without it is {'the same to the bit' if same else 'ANOTHER'}")
    together = bench.together()
    worst = max(bench.worst(together.used, used), bench.worst(together.again, used), bench.worst(together.plain, plain))
    sharing = "shared calls of the network" if together.shared else "took turns, for none could share a call"
    note("beside other jobs", worst <= MOST_ROUNDING, f"three jobs at once {sharing}; pictures differ by at most {worst} of 255")


def _has(extensions: Extensions, name: str) -> str:
    """What an extension adds and does, in words."""
    hooks = [each.name for each in extensions.job_hooks if each.name == name]
    kinds: dict[str, list[str]] = {}
    for key, owner in extensions.owners.items():
        if owner == name:
            kinds.setdefault(key.partition(" ")[0], []).append(key)
    sections = [section.title for section in extensions.sections.get(name, ())]
    named = [f"the section {title}" for title in sections]
    for kind, own in kinds.items():
        named += [f"{len(own)} {kind}s"] if len(own) > MOST_NAMED else [f"the {each}" for each in own]
    return ", ".join(["a part in jobs"] * bool(hooks) + named) or "no parameters, samplers, tags or scripts"
