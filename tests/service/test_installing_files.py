"""What is brought from elsewhere stays in its folder and below its limits, or is refused with a sentence."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest

from tests.service.published_extensions import extension, manifest, write, zipped
from webui.errors import UserError, WebUIError
from webui.service import installing_files
from webui.service.installing_files import copy, extension_in, parts, unpack


def made(path: Path, **entries: str) -> Path:
    with ZipFile(path, "w") as file:
        for name, text in entries.items():
            file.writestr(name, text)
    return path


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_a_zip_and_a_folder_come_as_they_are(tmp_path: Path) -> None:
    place = write(extension(tmp_path / "source"), {"part/deep/a.txt": "x", "__pycache__/a.pyc": "", ".packages/b.py": ""})
    copy(place, tmp_path / "copied")
    unpack(zipped(tmp_path / "copied", tmp_path / "a.zip"), tmp_path / "unpacked")
    expected = {"extension.toml", "__init__.py", "part", "part/deep", "part/deep/a.txt"}
    assert everything(tmp_path / "copied") == everything(tmp_path / "unpacked") == expected
    assert (tmp_path / "unpacked" / "part/deep/a.txt").read_text() == "x"


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/evil", "a/../../evil", "..", "C:/evil", "C:evil", "..\\evil", "a\\b", "con", "a/NUL.txt", "a/b./c",
     "a /b", "a//b", "./a", "a\nb", ".packages/torch.py", "a" * 300, ""],
)  # fmt: skip
def test_paths_that_lead_out_or_are_none_everywhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="not installed"):
        parts(name)


@pytest.mark.parametrize("name", ["../evil.py", "/evil.py", "a/../../evil.py", "..\\evil.py"])
def test_nothing_of_a_zip_that_leads_out_is_written(tmp_path: Path, name: str) -> None:
    archive = made(tmp_path / "bad.zip", **{"extension.toml": manifest("mine"), name: "evil"})
    inside = tmp_path / "deep" / "inside"
    with pytest.raises(UserError, match="leads out of the extension's folder"):
        unpack(archive, inside)
    assert everything(tmp_path) == {"bad.zip"}


def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path) -> None:
    for kind, why in ((stat.S_IFLNK, "is a link"), (stat.S_IFIFO, "neither a file nor a folder")):
        entry = ZipInfo("link")
        entry.external_attr = (kind | 0o777) << 16
        with ZipFile(tmp_path / "bad.zip", "w") as file:
            file.writestr(entry, "/etc/passwd")
        with pytest.raises(UserError, match=why):
            unpack(tmp_path / "bad.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_a_folder_are_refused_and_named(tmp_path: Path) -> None:
    place = extension(tmp_path / "source")
    for target in (tmp_path, place / "__init__.py", tmp_path / "gone"):
        (place / "link").symlink_to(target)
        with pytest.raises(UserError, match="'link' in it is a link to"):
            copy(place, tmp_path / "out" / str(hash(target)))
        (place / "link").unlink()
    os.mkfifo(place / "pipe")
    with pytest.raises(UserError, match="'pipe' in it is neither"):
        copy(place, tmp_path / "out" / "pipe")


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="twice"):
        unpack(made(tmp_path / "bad.zip", **{"a.py": "1", "A.py": "2"}), tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "bomb.zip", "w", ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(20 * 2**20))
    with pytest.raises(UserError, match="as only zip bombs do"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_too_large_is_refused_even_where_its_list_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = made(tmp_path / "a.zip", a="x" * 400, b="y" * 400)
    monkeypatch.setattr(installing_files, "MOST_BYTES", 500)
    with pytest.raises(UserError, match="too large"):
        unpack(archive, tmp_path / "out")
    content = archive.read_bytes()
    lies = content.replace((400).to_bytes(4, "little"), (4).to_bytes(4, "little"))  # sizes before and after
    (tmp_path / "lies.zip").write_bytes(lies)
    with pytest.raises(UserError):
        unpack(tmp_path / "lies.zip", tmp_path / "lied")
    assert sum(path.stat().st_size for path in tmp_path.rglob("lied/*")) <= 500
    monkeypatch.setattr(installing_files, "MOST_FILES", 1)
    with pytest.raises(UserError, match="too large"):
        unpack(archive, tmp_path / "more")


def test_a_folder_may_not_be_too_large_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = extension(tmp_path / "source")
    monkeypatch.setattr(installing_files, "MOST_FILES", 1)
    with pytest.raises(UserError, match="too large"):
        copy(place, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK", b"\0" * 100])
def test_what_is_no_zip_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip cannot be read as a zip file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_zip_that_was_damaged_says_so(tmp_path: Path) -> None:
    archive = made(tmp_path / "a.zip", a="x" * 100)
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"xxxx", b"xxyx", 1))
    with pytest.raises(UserError, match="cannot be read"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", [ZIP_STORED, ZIP_DEFLATED, ZIP_BZIP2, ZIP_LZMA])
def test_whichever_byte_of_a_zip_was_damaged_it_is_unpacked_or_refused(tmp_path: Path, kind: int) -> None:
    archive = tmp_path / "a.zip"
    with ZipFile(archive, "w", kind) as file:
        file.writestr("a", "several words, several times, several words")
    content = archive.read_bytes()
    refused = 0
    for at in range(len(content)):
        archive.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            unpack(archive, tmp_path / str(at))
        except WebUIError:
            refused += 1
    assert refused > len(content) // 4


def test_an_extension_may_be_in_the_only_folder(tmp_path: Path) -> None:
    place = extension(tmp_path / "all" / "mine-main")
    assert extension_in(tmp_path / "all", "it") == place and extension_in(place, "it") == place
    (tmp_path / "all" / "other").mkdir()
    with pytest.raises(UserError, match=r"it is no extension: there is no file extension\.toml"):
        extension_in(tmp_path / "all", "it")
