"""What one person asks for that would take everybody's time."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.service.shelf import ANNA, request, shelf
from webui.errors import UserError
from webui.metadata.heads import scans
from webui.service.inputs import MOST_SCANS, checked_head
from webui.service.pictures import LONGEST_SEARCH
from webui.service.styles import MOST_BROKEN, read_csv

SECONDS = 2.0  # of this process; the slow ways took seven and eight of them


def test_a_word_that_a_text_almost_has_is_searched_as_quickly_as_any(tmp_path: Path) -> None:
    full = shelf(tmp_path)
    row = full.pictures.row_values(
        user=ANNA.id, job=None, place=0, path=tmp_path / "x.png", size=1, width=8, height=8, request=request("a"),
        parameters="a" * 40_000,
    )  # fmt: skip
    with full.database.write() as connection:
        for number in range(200):
            full.pictures.insert(connection, {**row, "id": str(number), "path": str(number)})
    began = time.process_time()
    assert full.ids(ANNA, "a" * (LONGEST_SEARCH - 1) + "b") == []
    assert time.process_time() - began < SECONDS
    assert len(full.ids(ANNA, "A" * LONGEST_SEARCH)) == 60


def jpeg(**more: object) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "JPEG", quality=95, **more)
    return buffer.getvalue()


def test_a_jpeg_of_a_million_passes_is_refused_before_it_is_drawn() -> None:
    """Each further pass is some bytes more, and as much work as a whole picture."""
    good = jpeg(progressive=True)
    count, end = scans(good, 1000), good.rindex(b"\xff\xd9")
    last = good[good.rindex(b"\xff\xda") : end]
    assert 1 < count < MOST_SCANS and scans(jpeg(), 1000) == 1
    assert checked_head(good) and scans(good[:end] + last * 7 + good[end:], 1000) == count + 7
    with pytest.raises(UserError, match="50 passes"):
        checked_head(good[:end] + last * 10_000 + good[end:])


def test_only_passes_are_counted_as_such() -> None:
    """A small picture within the file, and what cameras put behind its end, may hold anything."""
    good, more = jpeg(progressive=True), b"\xff\xda" * 1000
    inside = b"\xff\xe1" + (len(more) + 2).to_bytes(2, "big") + more
    assert scans(good[:2] + inside + good[2:] + more, 5000) == scans(good, 5000)


@pytest.mark.parametrize("line", [b'"a"b\n', b'"""\n""x\n', b'a,"' + b"x" * 200 + b'"y\n'])
def test_a_file_of_nothing_but_broken_styles_is_given_up(line: bytes) -> None:
    began = time.process_time()
    styles, remarks = read_csv(b"name,prompt\n" + line * (400_000 // len(line)))
    assert time.process_time() - began < SECONDS
    assert not styles and sum("cannot be read" in each for each in remarks) == MOST_BROKEN


def test_a_file_with_some_broken_styles_is_read_to_its_end() -> None:
    styles, remarks = read_csv(b"name,prompt\n" + b'"a"b\n' * (MOST_BROKEN - 1) + b"last,one\n")
    assert set(styles) == {"last"} and len(remarks) == MOST_BROKEN - 1
