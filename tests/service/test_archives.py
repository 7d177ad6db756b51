"""A zip file of pictures holds their bytes as saved and their parameters, and takes little memory while it is sent."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

import pytest

from tests.service.shelf import ANNA, Shelf, request, shelf
from webui.service import archives
from webui.service.archives import archive, free_name


@pytest.fixture
def full(tmp_path: Path) -> Shelf:
    return shelf(tmp_path)


def test_bytes_and_parameters_come_back(full: Shelf) -> None:
    ids = [full.add(ANNA, "ein roter Ball, größer ボ", seed=1), full.add(ANNA, seed=2)]
    pictures = full.pictures.several(ANNA, ids)
    with ZipFile(io.BytesIO(b"".join(archive(pictures)))) as file:
        assert file.testzip() is None
        assert [entry.filename for entry in file.infolist()] == ["00000-1.png", "00000-1.txt", "00001-2.png", "00001-2.txt"]
        assert {entry.compress_type for entry in file.infolist()} == {ZIP_STORED}
        assert [file.read(picture.path.name) for picture in pictures] == [picture.path.read_bytes() for picture in pictures]
        assert file.read("00000-1.txt").decode() == pictures[0].parameters


def test_equal_names_stay_apart_and_what_is_missing_is_told(full: Shelf) -> None:
    places = [full.root / name / "x.png" for name in "abc"]
    for n, path in enumerate(places):
        path.parent.mkdir()
        path.write_bytes(b"%d" % n)
    ids = [full.note(ANNA, request(str(n)), str(n), path) for n, path in enumerate(places)]
    places[1].unlink()
    with ZipFile(io.BytesIO(b"".join(archive(full.pictures.several(ANNA, ids))))) as file:
        assert {name: file.read(name) for name in file.namelist() if name != "missing.txt"} == {
            "x.png": b"0", "x.txt": b"0", "x (3).png": b"2", "x (3).txt": b"2",
        }  # fmt: skip
        assert "x (2).png: No such file or directory" in file.read("missing.txt").decode()


@pytest.mark.parametrize("created", [-1e15, -1.0, 0.0, 1e9, 5e9, 1e300])
def test_any_time_can_be_written(full: Shelf, created: float) -> None:
    picture = replace(full.pictures.get(ANNA, full.add(ANNA)), created=created)
    with ZipFile(io.BytesIO(b"".join(archive([picture])))) as file:
        assert file.testzip() is None and 1980 <= file.infolist()[0].date_time[0] <= 2107


def test_names_do_not_meet_each_others_texts() -> None:
    taken: set[str] = set()
    assert [free_name(name, taken) for name in ("a.png", "A.PNG", "a.jpg", "a (2).png")] == [
        "a.png", "A (2).PNG", "a (3).jpg", "a (2) (2).png",
    ]  # fmt: skip


def test_memory_is_bounded_by_a_piece_and_not_by_the_pictures(full: Shelf) -> None:
    path = full.root / "large.png"
    size = 24 * 2**20
    with path.open("wb") as file:
        file.truncate(size)
    name = full.note(ANNA, request("large"), "large", path)
    sent = 0
    tracemalloc.start()
    for part in archive(full.pictures.several(ANNA, [name])):
        sent += len(part)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sent > size and most < 8 * archives.CHUNK


def test_a_listener_that_leaves_closes_the_files(full: Shelf) -> None:
    picture = full.pictures.get(ANNA, full.add(ANNA, side=64))
    parts = archive([picture])
    next(parts)
    parts.close()  # an open file would be a ResourceWarning, and warnings are errors
