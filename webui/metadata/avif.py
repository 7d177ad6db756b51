"""The texts and size of an AVIF: an item of the kind Exif, found by the tables of its boxes (ISO/IEC 14496-12, 8.11)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from webui.metadata import exif
from webui.metadata.bounds import LONGEST_TEXT, MOST_PARTS, bounded

BRANDS = (b"avif", b"avis", b"mif1", b"miaf")
MOST_ITEMS = 1000
MOST_TABLES = 4  # of a kind; files have one
MOST_EXIF = 5
IN_FILE, IN_IDAT = 0, 1  # how an item's place is meant


def is_avif(content: bytes) -> bool:
    """Whether the file begins like an AVIF."""
    return content[4:8] == b"ftyp" and content[8:12] in BRANDS


def size(content: bytes) -> tuple[int, int]:
    """Width and height of the largest picture in it; 0 where the file does not say."""
    sizes = [(0, 0)]
    for meta in _named(content, 0, len(content), b"meta"):
        for properties in _named(content, meta.begin + 4, meta.end, b"iprp"):
            for box in _named(content, properties.begin, properties.end, b"ipco"):
                for each in _named(content, box.begin, box.end, b"ispe"):
                    sizes.append((_number(content, each.begin + 4, 4), _number(content, each.begin + 8, 4)))
    return max(sizes, key=lambda sides: sides[0] * sides[1])


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The texts of its EXIF; in a file whose tables are broken it is looked for."""
    found = list(bounded(text for data in _exif_items(content) for text in exif.texts(data)))
    yield from found or exif.sought(content)


@dataclass(frozen=True)
class _Box:
    kind: bytes
    begin: int
    end: int


def _boxes(content: bytes, at: int, end: int) -> Iterator[_Box]:
    for _ in range(MOST_PARTS):
        if at + 8 > end:
            return
        length, head = _number(content, at, 4), 8
        if length == 1:
            length, head = _number(content, at + 8, 8), 16
        length = end - at if length == 0 else length
        if length < head:
            return
        yield _Box(content[at + 4 : at + 8], at + head, min(at + length, end))
        at += length


def _named(content: bytes, at: int, end: int, kind: bytes) -> Iterator[_Box]:
    return (box for box in _boxes(content, at, end) if box.kind == kind)


def _exif_items(content: bytes) -> Iterator[bytes]:
    """What each item of the kind Exif holds, from its TIFF header on."""
    for meta in islice(_named(content, 0, len(content), b"meta"), MOST_TABLES):
        inside = list(_boxes(content, meta.begin + 4, meta.end))
        wanted = set(islice((item for box in inside if box.kind == b"iinf" for item in _items(content, box)), MOST_EXIF))
        stored = next((box.begin for box in inside if box.kind == b"idat"), 0)
        for box in islice((box for box in inside if box.kind == b"iloc"), MOST_TABLES):
            for data in islice(_located(content, box, stored, wanted), MOST_EXIF):
                if len(data) > 4:
                    yield data[4 + int.from_bytes(data[:4], "big") :]


def _items(content: bytes, table: _Box) -> Iterator[int]:
    """The numbers of the items of the kind Exif."""
    version = _number(content, table.begin, 1)
    for count, box in enumerate(_named(content, table.begin + (6 if version == 0 else 8), table.end, b"infe")):
        if count >= MOST_ITEMS:
            return
        wide = 4 if _number(content, box.begin, 1) >= 3 else 2
        at = box.begin + 4
        if content[at + wide + 2 : at + wide + 6] == b"Exif":
            yield _number(content, at, wide)


def _located(content: bytes, box: _Box, stored: int, wanted: Collection[int]) -> Iterator[bytes]:
    """The content of each item that is wanted; of those in several parts, all parts."""
    version = _number(content, box.begin, 1)
    offset_size, length_size = divmod(_number(content, box.begin + 4, 1), 16)
    base_size, index_size = divmod(_number(content, box.begin + 5, 1), 16)
    index_size = index_size if version in (1, 2) else 0
    wide = 4 if version == 2 else 2
    count, at = _number(content, box.begin + 6, wide), box.begin + 6 + wide
    for _ in range(min(count, MOST_ITEMS)):
        if at >= box.end:
            return
        item, at = _number(content, at, wide), at + wide
        method = IN_FILE
        if version in (1, 2):
            method, at = _number(content, at, 2) & 15, at + 2
        base, at = _number(content, at + 2, base_size), at + 2 + base_size
        parts, at = _number(content, at, 2), at + 2
        first, part_size = at, index_size + offset_size + length_size
        at += parts * part_size
        if item not in wanted:
            continue
        found, size = list[bytes](), 0
        end = min(at, box.end, first + MOST_ITEMS * part_size)
        for part in range(first, end, part_size) if part_size else (first,) * min(parts, 1):
            begin = part + index_size
            offset, length = _number(content, begin, offset_size), _number(content, begin + offset_size, length_size)
            begin = base + offset + (stored if method == IN_IDAT else 0)
            found.append(content[begin : begin + min(length or len(content), 4 * LONGEST_TEXT)])
            size += len(found[-1])
            if size >= 4 * LONGEST_TEXT:
                break
        yield b"".join(found)


def _number(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "big")
