"""The kind and size of a picture from the first bytes of its file, before anything is decoded.

Decoders make room for a picture as soon as they have read how large it says it is; a file of a few bytes may say anything.
Sources: PNG (W3C), JPEG (ITU-T T.81, B.2.2), WebP container (RFC 9649), AVIF (ISO/IEC 14496-12 and 23008-12).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from webui.metadata import avif
from webui.metadata.bounds import MOST_PARTS

PNG = b"\x89PNG\r\n\x1a\n"
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # JPEG's markers that no length follows
FILLING = re.compile(rb"\xff*(?=\xff)")  # before a marker, which begins with one more
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")  # of JPEG's what is neither a byte of a scan nor between two parts of one
END, SCAN = 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # those that say the size


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a file says of its picture; `kind` is Pillow's name of the format."""

    kind: str
    width: int
    height: int


def read_head(content: bytes) -> Head | None:
    """What the file says; None where it is no PNG, JPEG, WebP or AVIF."""
    if content.startswith(PNG):
        return _png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    return _avif(content) if avif.is_avif(content) else None


def scans(content: bytes, enough: int) -> int:
    """In how many passes a JPEG is drawn, counted up to `enough`.

    A pass may be a few bytes that say nothing new, and is gone over all pixels for all the same: hours from a small file.
    """
    at, found = 2, 0
    while found < enough and (marker := MARKER.search(content, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind == END:
            break
        found += kind == SCAN
        if kind not in WITHOUT_LENGTH:
            at += max(_big(content[at : at + 2]), 2)
    return found


def _png(content: bytes) -> Head | None:
    if content[12:16] != b"IHDR" or len(content) < 26:
        return None
    return Head(kind="PNG", width=_big(content[16:20]), height=_big(content[20:24]))


def _jpeg(content: bytes) -> Head | None:
    at = 2
    for _ in range(MOST_PARTS):
        filled = FILLING.match(content, at)
        at = filled.end() if filled else at
        if at + 4 > len(content) or content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker in WITHOUT_LENGTH:
            at += 2
        elif marker in FRAMES:
            found = content[at + 5 : at + 9]
            return Head(kind="JPEG", height=_big(found[:2]), width=_big(found[2:])) if len(found) == 4 else None
        elif marker in (0xD9, 0xDA):  # the pixels, or the end, before any size
            return None
        else:
            at += 2 + max(_big(content[at + 2 : at + 4]), 2)
    return None


def _webp(content: bytes) -> Head | None:
    form, data = content[12:16], content[20:30]
    if len(data) < 10:
        return None
    if form == b"VP8X":
        width, height = _little(data[4:7]) + 1, _little(data[7:10]) + 1
    elif form == b"VP8L" and data[0] == 0x2F:
        packed = _little(data[1:5])
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif form == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = _little(data[6:8]) & 0x3FFF, _little(data[8:10]) & 0x3FFF
    else:
        return None
    return Head(kind="WEBP", width=width, height=height)


def _avif(content: bytes) -> Head | None:
    width, height = avif.size(content)
    return Head(kind="AVIF", width=width, height=height) if width and height else None


def _big(content: bytes) -> int:
    return int.from_bytes(content, "big")


def _little(content: bytes) -> int:
    return int.from_bytes(content, "little")
