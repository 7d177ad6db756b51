"""What extensions do without having said so is noted with their names and the line; what the program does for them is not."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.extensions_written import shelf_of, write
from webui.errors import ModelFileError
from webui.service.extension_shelf import Shelf
from webui.service.network_files import NetworkFiles

CODE = """
import os, socket, subprocess, sys
from pathlib import Path

HOME = []

@hook
def tabs(home):
    HOME.append(home)
    return []

def read(path):
    return Path(path).read_bytes()

def put(path):
    Path(path).write_text("x")

def delete(path):
    os.remove(path)

def connect(address):
    with socket.socket() as made:
        made.connect_ex(address)

def run(path):
    subprocess.run([sys.executable, "-c", ""], check=True)

def have_read(files, path):
    return files.header(path)

def own(_):
    folder = Path(__file__).parent
    (HOME[-1].folder / "sub").mkdir(exist_ok=True)
    (HOME[-1].folder / "sub" / "x").write_text("x")
    (folder / "extension.toml").read_text()
    import colorsys, webui.facts
    os.urandom(1)
"""


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    made: list[Shelf] = []

    def open_with(manifest: str = "") -> tuple[Shelf, Any]:
        shelf = shelf_of(tmp_path, write(tmp_path, "mine", CODE, manifest=manifest))
        made.append(shelf)
        return shelf, sys.modules[shelf.now.packages["mine"]]

    yield open_with
    for shelf in made:
        shelf.close()


def findings(shelf: Shelf) -> list[tuple[str, str]]:
    return [(each.permission, each.what) for each in shelf.record("mine").findings]


Open = Callable[..., tuple[Shelf, Any]]


def test_files_elsewhere_need_the_permission(opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    shelf, module = opened()
    module.read(secret)
    module.read(secret)
    module.put(secret)
    module.delete(secret)
    assert findings(shelf) == [("files", f"{verb} {secret}") for verb in ("read", "wrote to", "deleted")], "each is told once"
    assert all(each.where.startswith("__init__.py:") for each in shelf.record("mine").findings)
    assert f"The extension mine read {secret} (__init__.py:" in caplog.text and 'without the permission "files"' in caplog.text


def test_the_network_needs_the_permission(opened: Open) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = listening.getsockname()
        shelf, module = opened()
        module.connect(address)
    assert findings(shelf) == [("network", f"connected to 127.0.0.1:{address[1]}")]


def test_other_programs_are_told_of(opened: Open) -> None:
    shelf, module = opened()
    module.run(None)
    assert ("files", f"started the program {sys.executable}") in findings(shelf)


def test_what_is_declared_or_its_own_is_nobodys_business(opened: Open, tmp_path: Path) -> None:
    shelf, module = opened('permissions = ["files", "network"]\n')
    module.put(tmp_path / "x")
    module.connect(("127.0.0.1", 9))
    module.run(None)
    module.own(None)
    assert findings(shelf) == []
    shelf.close()
    shelf, module = opened()
    module.own(None)
    assert findings(shelf) == []


def test_what_the_program_or_others_do_is_not_the_extensions(opened: Open, tmp_path: Path) -> None:
    shelf, module = opened()
    (tmp_path / "y").write_text("x")
    shelf.now.homes["mine"].refresh()
    files = NetworkFiles(tmp_path, hash_of=str, known=str)
    with pytest.raises(ModelFileError):
        module.have_read(files, str(tmp_path / "y"))
    assert findings(shelf) == []
    shelf.unload("mine")
    module.read(tmp_path / "y")  # what was let go is watched no more
    assert findings(shelf) == []


def test_only_so_much_is_kept(opened: Open, tmp_path: Path) -> None:
    shelf, module = opened()
    for number in range(60):
        module.put(tmp_path / f"file {number}")
    assert len(findings(shelf)) == 50
