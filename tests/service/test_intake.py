"""Pictures that the gallery does not know become the owner's, once, and a look at what has not changed reads nothing."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from tests.service.shelf import ANNA, OWNER, Shelf, pixels, request, shelf
from webui.metadata.writing import write
from webui.service import gallery, intake
from webui.service.intake import Intake

TEXT = "a red ball, (shiny:1.2)\nNegative prompt: blurry\nSteps: 20, Sampler: Euler, Seed: 18446744073709551615, Size: 8x8"
LATER = 4_000_000_000.0  # all that is on the disk is long settled


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    return shelf(tmp_path)


def looker(full: Shelf, now: float = LATER) -> Intake:
    return Intake(full.database, full.pictures, lambda: now)


def test_what_the_command_line_made_is_taken_in_once_with_its_text(full: Shelf) -> None:
    saved = gallery.save(full.pictures.outputs, pixels(8, 1), 5, TEXT)
    os.utime(saved.path, (1000, 1000))
    look = looker(full)
    assert look.look() == 1 and look.look() == 0 and looker(full).look() == 0
    (picture,) = full.pictures.search(OWNER)
    assert picture.path == saved.path and picture.parameters == TEXT and picture.prompt == "a red ball, (shiny:1.2)"
    assert (picture.width, picture.height, picture.seed) == (8, 8, "18446744073709551615")
    assert picture.created == 1000 and picture.bytes == saved.path.stat().st_size and picture.job is None
    assert full.ids(ANNA) == []


def test_older_pictures_come_before_newer_ones_and_folders_are_looked_through(full: Shelf) -> None:
    times = {"b.png": 300, "a.png": 100, "deep/er/c.png": 200}
    for name, changed in times.items():
        path = full.pictures.outputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write(pixels(8, changed), "PNG", TEXT))
        os.utime(path, (changed, changed))
    assert looker(full).look() == 3
    names = [picture.path.relative_to(full.pictures.outputs).as_posix() for picture in full.pictures.search(OWNER)]
    assert names == ["b.png", "deep/er/c.png", "a.png"]


def test_rows_that_are_there_stay_as_they_are(full: Shelf) -> None:
    hers = full.add(ANNA)
    before = full.pictures.get(ANNA, hers)
    assert looker(full).look() == 0 and full.pictures.get(ANNA, hers) == before


def test_a_file_that_is_being_written_is_left_to_whoever_writes_it(full: Shelf) -> None:
    saved = gallery.save(full.pictures.outputs, pixels(8, 1), 5, TEXT)
    with full.database.write() as connection:
        connection.execute("INSERT INTO saving (path, row) VALUES (?, '{}')", (str(saved.path),))
    assert looker(full).look() == 0 and full.ids(OWNER) == []
    with full.database.write() as connection:
        connection.execute("DELETE FROM saving")
    assert looker(full).look() == 1


def test_what_is_deleted_for_good_does_not_come_back(full: Shelf) -> None:
    name = full.add(OWNER)
    look = looker(full)
    look.look()
    full.pictures.trash(OWNER, [name])
    full.pictures.delete(OWNER, [name])
    assert look.look() == 0 and full.ids(OWNER) == []


def test_other_files_are_passed_over_and_read_once(full: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = full.pictures.outputs
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "holiday.png")  # says nothing of how it was made
    (folder / "text.png").write_text("<script>")
    (folder / "empty.png").write_bytes(b"")
    (folder / "novel.png").write_bytes(write(pixels(8, 1), "PNG", "x" * 100_001))
    (folder / ".00001.part").write_bytes(b"half")
    (folder / ".hidden.png").write_bytes(write(pixels(8, 1), "PNG", TEXT))
    (folder / "folder.png").mkdir()
    (folder / "outside").symlink_to(full.root)
    whole = full.root / "elsewhere.png"
    whole.write_bytes(write(pixels(8, 1), "PNG", TEXT))
    (folder / "link.png").symlink_to(whole)
    read: list[str] = []
    real = intake.read
    monkeypatch.setattr(intake, "read", lambda path, *more: read.append(path.name) or real(path, *more))
    look = looker(full)
    assert look.look() == 0 and sorted(read) == ["empty.png", "holiday.png", "novel.png", "text.png"]
    (folder / "new.png").write_bytes(write(pixels(8, 1), "PNG", TEXT))
    os.utime(folder, (5000, 5000))
    read.clear()
    assert look.look() == 1 and read == ["new.png"]


def test_a_look_at_what_has_not_changed_lists_no_folder(full: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    full.add(OWNER)
    (full.pictures.outputs / "below").mkdir()
    look = looker(full)
    look.look()

    def refuse(folder: Path) -> None:
        raise AssertionError(f"{folder} was listed")

    monkeypatch.setattr(intake.os, "scandir", refuse)
    assert look.look() == 0
    os.utime(full.pictures.outputs / "below", (5000, 5000))
    with pytest.raises(AssertionError, match="below was listed"):
        look.look()


def test_a_folder_that_changed_just_now_is_looked_at_again(full: Shelf) -> None:
    """A file may come within the same tick of the file system's clock."""
    folder = full.pictures.outputs
    folder.mkdir()
    changed = folder.stat().st_mtime_ns
    look, too_sure = looker(full, now=changed / 1e9 + 0.001), looker(full)
    assert look.look() == too_sure.look() == 0
    (folder / "new.png").write_bytes(write(pixels(8, 1), "PNG", TEXT))
    os.utime(folder, ns=(changed, changed))
    assert too_sure.look() == 0 and look.look() == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_keeps_no_other_picture_out(full: Shelf) -> None:
    folder = full.pictures.outputs
    folder.mkdir()
    content = write(pixels(8, 1), "PNG", TEXT)
    for name in ("a.png", os.fsdecode(b"not \xff unicode.png"), "z.png"):
        (folder / name).write_bytes(content)
    assert looker(full).look() == 2 and len(full.ids(OWNER)) == 2


def test_a_missing_folder_is_nothing(full: Shelf) -> None:
    assert looker(full).look() == 0


def test_whoever_saves_meanwhile_gets_their_row(full: Shelf) -> None:
    """A look while pictures are saved, with the order in which the worker does it, leaves each picture to its maker."""
    look, stop = looker(full), threading.Event()

    def looking() -> None:
        while not stop.is_set():
            look._folders.clear()
            look.look()

    thread = threading.Thread(target=looking)
    thread.start()
    try:
        for seed in range(20):
            def foretell(path: Path, size: int) -> None:
                with full.database.write() as connection:
                    connection.execute("INSERT INTO saving (path, row) VALUES (?, '{}')", (str(path),))

            saved = gallery.save(full.pictures.outputs, pixels(8, seed), seed, TEXT, foretell=foretell)
            row = full.pictures.row_values(
                user=ANNA.id, job=None, place=0, path=saved.path, size=1, width=8, height=8, parameters=TEXT,
                request=request("x", seed),
            )  # fmt: skip
            with full.database.write() as connection:
                connection.execute("DELETE FROM saving")
                full.pictures.insert(connection, row)
    finally:
        stop.set()
        thread.join()
    assert len(full.ids(ANNA)) == 20 and full.ids(OWNER) == []
