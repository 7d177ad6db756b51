"""`launch.py extensions` from an empty folder: made, tested, installed, updated, switched off and removed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from tests.service.published_extensions import commit, extension, write
from webui.cli import main
from webui.service import installing
from webui.service.extension_lock import disabled, locked

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(installing.Installer.__init__, "__kwdefaults__", installing.Installer.__init__.__kwdefaults__ | {
        "check": lambda _: None})  # fmt: skip

    def carried_out(*arguments: object, answer: str | None = None) -> tuple[int, str, str]:
        class Input(StringIO):
            def isatty(self) -> bool:
                return answer is not None

        monkeypatch.setattr(sys, "stdin", Input(answer or ""))
        code = main(["extensions", *map(str, arguments)], tmp_path / "root")
        told = capsys.readouterr()
        return code, told.out, told.err

    return carried_out


def test_the_bundled_ones_are_listed(run: Run) -> None:
    code, out, _ = run()
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0 and "bundled" in lines["samplers"] and "Further samplers" in lines["samplers"]


def test_installed_updated_and_removed(run: Run, tmp_path: Path) -> None:
    place = extension(tmp_path / "mine", more='authors = ["Anna"]\npermissions = ["network"]\n')
    first = commit(place)
    code, out, err = run("install", place, answer="n\n")
    assert code == 1 and "Nothing was installed" in err and "runs with your rights" in err and "[y/N]" in err
    assert "Anna" in out and "network" in out and first in out
    assert not (tmp_path / "root" / "extensions" / "mine").exists()
    code, out, err = run("install", place, answer="y\n")
    assert code == 0 and "is installed" in err
    assert "installed" in run("list")[1].split("mine ")[1].splitlines()[0]
    code, out, _ = run("info", "mine")
    assert code == 0 and first in out and "Made for a test" in out
    assert run("update", "--yes")[2].startswith("mine 1.0 is up to date")
    second = commit(extension(place, version="2.0"))
    code, out, _ = run("update", "mine", "--yes")
    assert code == 0 and second in out and locked(tmp_path / "root" / "data")["mine"].version == "2.0"
    code, out, _ = run("update", "mine", "--commit", first, "--yes")
    assert code == 0 and locked(tmp_path / "root" / "data")["mine"].source.commit == first
    (tmp_path / "root" / "extensions" / "mine" / "__init__.py").write_text("")
    assert "changed __init__.py" in run("info", "mine")[1] and "files changed" in run()[1]
    assert run("remove", "mine")[0] == 0 and not (tmp_path / "root" / "extensions" / "mine").exists()


def test_where_nobody_can_be_asked_nothing_is_installed(run: Run, tmp_path: Path) -> None:
    code, _, err = run("install", extension(tmp_path / "mine"))
    assert code == 2 and "add --yes" in err
    folder = tmp_path / "root" / "extensions"
    assert [each for each in folder.rglob("*") if each.is_file()] == []


def test_enabled_and_disabled(run: Run, tmp_path: Path) -> None:
    assert run("disable", "wildcards")[0] == 0 and disabled(tmp_path / "root" / "data") == {"wildcards"}
    assert "bundled, disabled" in run()[1]
    assert run("enable", "wildcards")[0] == 0 and disabled(tmp_path / "root" / "data") == frozenset()


def test_made_and_removed_only_when_it_is_meant(run: Run, tmp_path: Path) -> None:
    code, out, err = run("new", "mine")
    folder = tmp_path / "root" / "extensions" / "mine"
    assert code == 0 and out.strip() == str(folder) and "extensions test mine" in err
    assert "def test_" in (folder / "test_mine.py").read_text() and "template" not in (folder / "extension.toml").read_text()
    assert run("new", "mine")[0] == 2 and run("new", "Not a name")[0] == 2 and run("new", "samplers")[0] == 2
    assert run("remove", "mine")[0] == 2 and folder.exists()
    assert run("remove", "mine", answer="n\n")[0] == 1 and folder.exists()
    assert run("remove", "mine", answer="y\n")[0] == 0 and not folder.exists()


def test_a_published_list_is_searched(run: Run, tmp_path: Path) -> None:
    place = extension(tmp_path / "mine")
    pin = commit(place)
    commit(extension(place, version="2.0"))
    entry = f'{{"name": "mine", "url": "mine", "description": "For \\u001b[31mpeople", "tags": ["prompt"], "commit": "{pin}"}}'
    write(tmp_path, {"index.json": f'[{entry}, {{"name": "two", "url": "two"}}, 3]'})
    code, out, err = run("list", "--index", tmp_path / "index.json")
    assert code == 0 and len(out.splitlines()) == 2 and "1 entries" in err and "\x1b" not in out
    assert run("list", "--search", "people")[1].split()[0] == "mine"
    assert run("install", "mine", "--yes")[0] == 0
    assert locked(tmp_path / "root" / "data")["mine"].source.commit == pin


def test_one_that_cannot_be_updated_keeps_no_other_from_it(run: Run, tmp_path: Path) -> None:
    gone, good = extension(tmp_path / "gone", "gone"), extension(tmp_path / "good", "good")
    for place in (gone, good):
        assert run("install", place, "--yes")[0] == 0
    gone.rename(tmp_path / "elsewhere")
    extension(good, "good", version="2.0")
    code, out, err = run("update", "--yes")
    assert code == 1 and "gone: The source was" in err and "2.0" in out
    assert run("update", "gone")[0] == 2


@pytest.mark.parametrize(
    "arguments", [["info"], ["list", "x"], ["nothing"], ["info", "nobody"], ["remove", "samplers"], ["update", "samplers"],
                  ["install", "nobody"], ["test", "nobody"], ["install", "x", "--what"]],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_sentence(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2 and not out and err.count("\n") == 1 and "Traceback" not in err


def test_testing_prints_a_line_for_each_check(run: Run, tmp_path: Path) -> None:
    place = write(extension(tmp_path / "mine"), {"__init__.py": "raise RuntimeError('at import')"})
    code, out, _ = run("test", place)
    assert code == 1 and out.startswith("loads:") and "FAILED" in out and "at import" in out
