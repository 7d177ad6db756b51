"""What is known of installed extensions is kept, and every change of their files is seen."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from webui.errors import StorageError
from webui.service import extension_lock
from webui.service.extension_lock import Locked, Source, changes, contents, digest, disabled, lock, locked, set_disabled

ROOT = Path(__file__).resolve().parents[2]


def installed(folder: Path) -> Locked:
    files = contents(folder)
    source = Source(kind="git", address="file:///somewhere", commit="a" * 40, ref="main")
    return Locked(version="1.0", source=source, content=digest(files), files=files, packages={"small": "1.2"}, installed=5.0)


def test_what_was_disabled_stays_so_until_it_is_enabled(tmp_path: Path) -> None:
    assert disabled(tmp_path) == frozenset()
    for name in ("b", "a", "b"):
        set_disabled(tmp_path, name, True)
    assert disabled(tmp_path) == {"a", "b"}
    set_disabled(tmp_path, "a", False)
    set_disabled(tmp_path, "never", False)
    assert disabled(tmp_path) == {"b"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"disabled": 3}', '{"disabled": [1, null]}'])
def test_a_damaged_file_disables_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / extension_lock.CHOICES).write_text(text)
    assert disabled(tmp_path) == frozenset()


def test_choices_keep_each_other(tmp_path: Path) -> None:
    set_disabled(tmp_path, "a", True)
    extension_lock.set_index_address(tmp_path, "https://127.0.0.1/index.json")
    set_disabled(tmp_path, "b", True)
    assert disabled(tmp_path) == {"a", "b"} and extension_lock.index_address(tmp_path) == "https://127.0.0.1/index.json"


def test_the_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("x = 1\n")
    entry = installed(folder)
    lock(tmp_path, "mine", entry)
    lock(tmp_path, "other", entry)
    assert locked(tmp_path) == {"mine": entry, "other": entry}
    lock(tmp_path, "mine", None)
    assert list(locked(tmp_path)) == ["other"]


def test_an_entry_that_makes_no_sense_costs_itself_only(tmp_path: Path) -> None:
    lock(tmp_path, "good", installed(tmp_path))
    path = tmp_path / extension_lock.LOCK
    path.write_text(path.read_text().replace("{", '{"bad": {"version": 1}, "worse": 3, ', 1))
    assert list(locked(tmp_path)) == ["good"]


def test_every_change_is_seen_and_what_python_makes_is_none(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name in ("a.py", "b.py", "part/c.py"):
        (tmp_path / name).write_text(name)
    entry = installed(tmp_path)
    assert set(entry.files) == {"a.py", "b.py", "part/c.py"} and not changes(tmp_path, entry)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"")
    assert not changes(tmp_path, entry)
    (tmp_path / "a.py").write_text("A.py")
    (tmp_path / "b.py").unlink()
    (tmp_path / "part" / "new.py").write_text("")
    assert changes(tmp_path, entry) == ["changed a.py", "missing b.py", "added part/new.py"]


def test_the_hash_of_all_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / extension_lock.PACKAGES).mkdir()
    (tmp_path / extension_lock.PACKAGES / "c").write_bytes(b"3")
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in (("a", b"1"), ("b", b"2")))
    assert digest(contents(tmp_path)) == hashlib.sha256(lines.encode()).hexdigest()


def test_where_nothing_can_be_written_a_sentence_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        set_disabled(tmp_path / "file", "a", True)


def test_what_git_keeps_is_what_comes_with_the_program() -> None:
    done = subprocess.run(["git", "ls-files", "extensions/*/extension.toml"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    assert {line.split("/")[1] for line in done.stdout.splitlines()} <= set(extension_lock.WITH_PROGRAM)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    kept = [line for line in ignored if line.startswith("!/extensions/")]
    assert "/extensions/*" in ignored and kept == [f"!/extensions/{name}/" for name in extension_lock.WITH_PROGRAM]
