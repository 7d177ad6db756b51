"""Pictures are whole or absent, never overwritten, and not lost when a folder fails."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.errors import StorageError, UserError
from webui.metadata import writing
from webui.metadata.writing import write
from webui.service import gallery

PIXELS = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
TEXT = "a ball\nSteps: 20, Sampler: Euler, Seed: 7"


@pytest.mark.parametrize("text", [TEXT, "ein Ball, größer\n", "ボール 😀", "x" * 20_000])
def test_pixels_and_text_come_back(tmp_path: Path, text: str) -> None:
    saved = gallery.save(tmp_path, PIXELS, 7, text)
    assert saved.path == tmp_path / "00000-7.png" and saved.notice == ""
    with Image.open(saved.path) as picture:
        assert np.array_equal(np.asarray(picture), PIXELS)
    assert gallery.read_text(saved.path) == text


def test_the_text_chunk_is_latin_1_where_it_can_be() -> None:
    assert b"tEXtparameters\0" + "ü".encode("latin-1") in write(PIXELS, "PNG", "ü")
    assert b"iTXtparameters\0" in write(PIXELS, "PNG", "ボ")


def test_numbers_go_on_after_the_highest_and_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "00041-1.png").write_bytes(b"mine")
    (tmp_path / "99 holiday.png").write_bytes(b"mine")
    assert [gallery.save(tmp_path, PIXELS, 1, TEXT).path.name for _ in range(3)] == ["00042-1.png", "00043-1.png", "00044-1.png"]
    assert (tmp_path / "00041-1.png").read_bytes() == b"mine"


def test_a_part_left_by_a_killed_process_is_stepped_over(tmp_path: Path) -> None:
    (tmp_path / ".00000.part").write_bytes(b"half")
    assert gallery.save(tmp_path, PIXELS, 1, TEXT).path.name == "00001-1.png"


def test_a_number_published_between_look_and_claim_is_not_used_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, raced = gallery._highest, []

    def late(folder: Path, but: str = "") -> int:
        found = real(folder, but)
        if not raced:  # another process publishes right after our first look
            raced.append((tmp_path / "00000-5.png").write_bytes(b"theirs"))
        return found

    monkeypatch.setattr(gallery, "_highest", late)
    assert gallery.save(tmp_path, PIXELS, 5, TEXT).path.name == "00001-5.png"
    assert (tmp_path / "00000-5.png").read_bytes() == b"theirs"


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from webui.service import gallery\n"
        "for i in range(40): gallery.publish(Path(sys.argv[1]), '3', sys.argv[2].encode() * 1000)"
    )
    root = Path(gallery.__file__).parents[2]
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), mark], cwd=root) for mark in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 80 and len({file.name[:5] for file in files}) == 80
    contents = [file.read_bytes() for file in files]
    assert sorted(contents) == [b"a" * 1000] * 40 + [b"b" * 1000] * 40


def full_disk(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_no_file_and_the_picture_goes_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = tmp_path / "out", tmp_path / "other"
    real = os.fsync
    monkeypatch.setattr(gallery.os, "fsync", fail_first(full_disk, real))
    saved = gallery.save(folder, PIXELS, 7, TEXT, fallbacks=[other])
    assert saved.path.parent == other and gallery.read_text(saved.path) == TEXT
    assert "No space left" in saved.notice and str(saved.path) in saved.notice and str(folder) in saved.notice
    assert list(folder.iterdir()) == []


def fail_first(failing: Callable[[int], None], real: Callable[[int], None]) -> Callable[[int], None]:
    calls: list[int] = []

    def call(handle: int) -> None:
        calls.append(handle)
        (failing if len(calls) == 1 else real)(handle)

    return call


@pytest.fixture
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A home and a folder for temporary files of the test's own."""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return home, temporary


def blocked(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("not a folder")
    return tmp_path / "file"


def test_a_picture_without_its_folder_goes_home_into_a_folder_of_the_users_own(
    tmp_path: Path, own_places: tuple[Path, Path]
) -> None:
    home, temporary = own_places
    first, second = (gallery.save(blocked(tmp_path), PIXELS, 7, TEXT).path for _ in range(2))
    assert (first, second) == (home / "webui-pictures" / "00000-7.png", home / "webui-pictures" / "00001-7.png")
    assert gallery.is_private(first.parent) and stat.S_IMODE(first.parent.stat().st_mode) & 0o077 == 0
    assert list(temporary.iterdir()) == []


def test_without_a_home_it_goes_to_temporary_files(
    tmp_path: Path, own_places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert gallery.save(blocked(tmp_path), PIXELS, 7, TEXT).path.parent == own_places[1] / "webui-pictures"


def test_a_machine_without_temporary_files_loses_no_picture(
    tmp_path: Path, own_places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert gallery.save(tmp_path / "out", PIXELS, 7, TEXT).notice == ""
    assert gallery.save(blocked(tmp_path), PIXELS, 7, TEXT).path.parent.parent == own_places[0]
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "gone")
    with pytest.raises(StorageError, match="make room"):
        gallery.save(blocked(tmp_path), PIXELS, 7, TEXT)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
@pytest.mark.parametrize("laid", ["link", "open folder", "file", "another's"])
def test_a_folder_that_somebody_laid_ready_is_not_used(
    laid: str, tmp_path: Path, own_places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    trap, theirs = own_places[0] / "webui-pictures", tmp_path / "theirs"
    theirs.mkdir()
    if laid == "link":
        trap.symlink_to(theirs, target_is_directory=True)
    elif laid == "file":
        trap.write_text("")
    else:
        trap.mkdir()
        trap.chmod(0o777 if laid == "open folder" else 0o755)
    if laid == "another's":
        monkeypatch.setattr(os, "getuid", lambda: trap.stat().st_uid + 1 if Path(trap).exists() else 0)
    saved = gallery.save(blocked(tmp_path), PIXELS, 7, TEXT)
    assert saved.path.parent != trap and saved.path.parent.parent == own_places[0] and saved.path.is_file()
    assert list(theirs.iterdir()) == []


def test_the_text_of_a_picture_of_absurd_size_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = gallery.save(tmp_path, PIXELS, 7, TEXT)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    assert gallery.read_text(saved.path) == TEXT


def test_when_every_folder_fails_a_sentence_names_them(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StorageError, match=r"could not be written to .*file .*, nor to .*below"):
        gallery.save(blocked, PIXELS, 7, TEXT, fallbacks=[blocked / "below"])


@pytest.mark.parametrize("name", ["file/below", "nul\0"])
def test_a_folder_that_cannot_be_written_is_known_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written to"):
        gallery.check_folder(tmp_path / name)


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    gallery.check_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"text")
    with pytest.raises(UserError, match="not a picture"):
        gallery.read_text(tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "AVIF"])
@pytest.mark.parametrize("text", [TEXT, "größer\nボール 😀, \"x\"", "x" * 20_000])
def test_every_format_keeps_the_text_and_what_is_seen(tmp_path: Path, kind: str, text: str) -> None:
    smooth = np.full((32, 48, 3), 100, np.uint8)
    saved = gallery.save(tmp_path, smooth, 7, text, form=gallery.Form(format=kind))
    assert saved.path.suffix == writing.SUFFIXES[kind] and saved.remark == "" and gallery.read_text(saved.path) == text
    with Image.open(saved.path) as picture:
        assert picture.format == kind.upper() and int(np.abs(np.asarray(picture.convert("RGB")).astype(int) - smooth).max()) <= 3


@pytest.mark.parametrize(
    ("kind", "shape", "length", "words"),
    [("JPEG", (1, 65_600), 3, "65,535 pixels"), ("WebP", (16_384, 1), 3, "16,383 pixels"), ("JPEG", (8, 8), 40_000, "no room")],
)
def test_what_a_format_has_no_room_for_is_kept_as_png(
    tmp_path: Path, kind: str, shape: tuple[int, int], length: int, words: str
) -> None:
    saved = gallery.save(tmp_path, np.zeros((*shape, 3), np.uint8), 1, "x" * length, form=gallery.Form(format=kind))
    assert saved.path.suffix == ".png" and saved.notice == "" and words in saved.remark
    assert gallery.read_text(saved.path) == "x" * length


def test_names_may_have_folders_and_each_counts_for_itself(tmp_path: Path) -> None:
    names = [("a/b", "PNG"), ("a/c", "JPEG"), ("d", "WebP"), ("a/", "AVIF"), ("", "PNG"), ("", "PNG")]
    paths = [gallery.save(tmp_path, PIXELS, 1, TEXT, form=gallery.Form(name=name, format=kind)).path for name, kind in names]
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "a/00000-b.png", "a/00001-c.jpg", "00000-d.webp", "a/00002.avif", "00001.png", "00002.png"
    ]
    assert [gallery.part_of(path).name for path in paths[:4]] == [".00000.part", ".00001.part", ".00000.part", ".00002.part"]


def test_a_folder_with_the_name_of_a_picture_takes_no_numbers(tmp_path: Path) -> None:
    """Whoever chooses names of files could have everybody's pictures go on from 99999999999999999999."""
    form = gallery.Form(name="99999999999999999999-a.png/x")
    assert gallery.save(tmp_path, PIXELS, 1, "", form=form).path.parent != tmp_path
    assert gallery.save(tmp_path, PIXELS, 1, "").path.name == "00000-1.png"


@pytest.mark.parametrize("error", [KeyError("AVIF"), OSError("encoder error -2"), ValueError("no"), MemoryError()])
def test_a_picture_that_a_format_has_no_encoder_for_is_kept_as_png(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(pixels: Any, kind: str, *more: Any) -> bytes:
        if kind == "AVIF":
            raise error
        return write(pixels, kind, *more)

    monkeypatch.setattr(gallery, "write", failing)
    saved = gallery.save(tmp_path, PIXELS, 1, TEXT, form=gallery.Form(format="AVIF"))
    assert saved.path.name == "00000-1.png" and gallery.read_text(saved.path) == TEXT
    assert saved.remark.startswith("The picture was kept as PNG, for AVIF failed here (")
