"""The texts in EXIF, read and written (JEITA CP-3451; TIFF 6.0, section 2): where pictures but PNG have their parameters.

A `UserComment` marked UNICODE holds UTF-16 in whatever order its writer thought right, so both are tried.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from webui.metadata.bounds import LONGEST_TEXT, MOST_BYTES, bounded

USER_COMMENT, EXIF_PLACE = 0x9286, 0x8769
TAGS = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist", 0x9C9C: "XPComment",
    0x927C: "MakerNote", USER_COMMENT: "UserComment",
}  # fmt: skip
TEXT_TYPES = (1, 2, 7)  # bytes, ASCII, undefined: of one byte each
LONGEST_VALUE = 4 * LONGEST_TEXT  # bytes
HEADER = re.compile(rb"II\x2a\0|MM\0\x2a")
MOST_ENTRIES = 1000  # of one directory
MOST_DIRECTORIES = 10  # of one file, which may say that each of its bytes begins one
MOST_TRIES = 50  # to find EXIF in a file that is broken before it
CODE = 8  # bytes before a comment that say how it is written


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The name of each tag that holds a text, and the text; nothing where it is no EXIF. `content` may begin with `Exif`."""
    content = content.removeprefix(b"Exif\0\0")
    if not HEADER.match(content):
        return
    order = "<" if content[:2] == b"II" else ">"
    (first,) = struct.unpack_from(f"{order}I", content, 4) if len(content) >= 8 else (0,)
    places, size = [first], 0
    for place in places:  # which grows meanwhile
        if not 8 <= place <= len(content) - 2:
            continue
        for tag, kind, length, at in _entries(content, order, place):
            (where,) = struct.unpack_from(f"{order}I", content, at)
            if tag == EXIF_PLACE and where not in places and len(places) < MOST_DIRECTORIES:
                places.append(where)
            elif tag in TAGS and kind in TEXT_TYPES:
                begin = at if length <= 4 else where
                value = content[begin : begin + min(length, LONGEST_VALUE)]
                size += len(value)
                if size > MOST_BYTES:  # of what is read, for much of it may come to no text
                    return
                if text := _text(tag, value, order):
                    yield TAGS[tag], text


def sought(content: bytes) -> Iterator[tuple[str, str]]:
    """The texts of the first EXIF with a comment somewhere in a file, for files that are broken before it."""
    for tries, match in enumerate(HEADER.finditer(content)):
        if tries >= MOST_TRIES:
            return
        found = list(bounded(texts(content[match.start() : match.start() + LONGEST_VALUE + 2**16])))
        if any(name == TAGS[USER_COMMENT] for name, _ in found):
            yield from found
            return


def written(text: str) -> bytes:
    """EXIF that holds nothing but the text, as the field writes it: big-endian, with a Unicode `UserComment`."""
    comment = b"UNICODE\0" + text.encode("utf-16-be", errors="replace")
    head = struct.pack(">2sHI", b"MM", 42, 8)
    pointer = struct.pack(">HHHIII", 1, EXIF_PLACE, 4, 1, 26, 0)
    entry = struct.pack(">HHHIII", 1, USER_COMMENT, 7, len(comment), 44, 0)
    return b"Exif\0\0" + head + pointer + entry + comment


def _entries(content: bytes, order: str, place: int) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type and count of each entry that is whole, and where its value or the place of that is written."""
    (count,) = struct.unpack_from(f"{order}H", content, place)
    for at in range(place + 2, place + 2 + 12 * min(count, MOST_ENTRIES), 12):
        if at + 12 > len(content):
            return
        tag, kind, length = struct.unpack_from(f"{order}HHI", content, at)
        yield tag, kind, length, at + 8


def _text(tag: int, value: bytes, order: str) -> str:
    if tag == 0x9C9C:  # Windows' own, always the same way round
        return value.decode("utf-16-le", errors="replace").strip("\0")
    code = value[:CODE]
    if tag != USER_COMMENT:
        return _plain(value)
    if code == b"UNICODE\0":
        return _utf16(value[CODE:], order)
    if code in (b"ASCII\0\0\0", b"\0" * CODE, b"JIS\0\0\0\0\0"):
        return _plain(value[CODE:], "iso2022_jp" if code.startswith(b"JIS") else "latin-1")
    return _plain(value)


def _plain(value: bytes, otherwise: str = "latin-1") -> str:
    value = value.rstrip(b"\0")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode(otherwise, errors="replace")


def _utf16(value: bytes, order: str) -> str:
    """The text in whichever order has more of the plainest signs; where neither has, in the file's."""
    if value[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return value.decode("utf-16", errors="replace").strip("\0")
    both = [value.decode(name, errors="replace").strip("\0") for name in ("utf-16-be", "utf-16-le")]
    if order == "<":
        both.reverse()
    return max(both, key=lambda text: sum(map(text.count, " ,:\neasi0123")))
