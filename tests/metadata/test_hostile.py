"""Files that are made to be read for hours cost no more than others: every table is followed so far and no farther."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from webui.metadata import avif, exif, heads
from webui.metadata.reading import read

ENTRIES = 400


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[int]:
    """How often a function of a module is called from now on, as the list's length."""
    calls: list[int] = []
    own = getattr(module, name)

    def counting(*given: Any) -> Any:
        calls.append(1)
        assert len(calls) < 50_000, f"{name} is called again and again"
        return own(*given)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_exif_whose_directories_all_lead_to_others_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place of such a file begins a directory of a thousand further ones: a megabyte was read for days, into all memory."""
    entries = b"".join(struct.pack(">HHII", exif.EXIF_PLACE, 4, 1, 12 * (at % 97 + 1)) for at in range(ENTRIES))
    content = b"MM\0\x2a" + struct.pack(">I", 12) + b"\0" * 4 + b"\x03\xe8" + entries
    read_directories = counted(monkeypatch, exif, "_entries")
    assert list(exif.texts(content)) == []
    assert 1 < len(read_directories) <= exif.MOST_DIRECTORIES


def test_exif_whose_values_are_all_of_the_file_is_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes to no text is counted too."""
    monkeypatch.setattr(exif, "MOST_BYTES", 10_000)
    entries = b"".join(struct.pack(">HHII", exif.USER_COMMENT, 7, 4000, 100) for _ in range(ENTRIES))
    content = b"MM\0\x2a" + struct.pack(">IH", 8, ENTRIES) + entries + b"\0" * 4200
    texts = counted(monkeypatch, exif, "_text")
    list(exif.texts(content))
    assert len(texts) == 2


@pytest.mark.parametrize("sizes", [b"\0\0", b"\x44\0"])
def test_an_avif_that_says_each_item_has_thousands_of_parts_is_read_quickly(
    sizes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six kilobytes of items with parts that take no room were gone over a million times; a file had thousands of such tables."""
    table = b"\0\0\0\0" + sizes + struct.pack(">H", 1000) + struct.pack(">HHH", 1, 0, 0xFFFF) * 1000
    content = box(b"ftyp", b"avif\0\0\0\0") + box(b"meta", b"\0\0\0\0" + box(b"iloc", table) * 50) * 3
    counted(monkeypatch, avif, "_number")
    assert read(content).others == {}


def test_a_jpeg_of_nothing_but_filling_or_markers_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MOST_PARTS", 10)
    frame = b"\xff\xc0\0\x0b\x08\0\x05\0\x07\1\1\1\0"
    assert heads.read_head(b"\xff\xd8" + b"\xff" * 5000 + frame) == heads.Head(kind="JPEG", width=7, height=5)
    assert heads.read_head(b"\xff\xd8" + b"\xff\x01" * 3 + frame) == heads.Head(kind="JPEG", width=7, height=5)
    assert heads.read_head(b"\xff\xd8\xff\x01" + b"\xff\xd0" * 50 + frame) is None
    assert heads.read_head(b"\xff\xd8" + b"\xff" * 5000) is None
