"""The texts of a JPEG: EXIF in APP1, comments in COM (ITU-T T.81, B.1.1.3 and B.2.4.5)."""

from __future__ import annotations

from collections.abc import Iterator

from webui.metadata import exif
from webui.metadata.bounds import MOST_PARTS, bounded

SIGNATURE = b"\xff\xd8\xff"
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
APP1, COM, SCAN, END = 0xE1, 0xFE, 0xDA, 0xD9
MOST_EXIF = 65_533 - 2  # bytes that one segment has room for


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The texts before the pixels; those of a file that is broken before them are looked for."""
    found = list(bounded(_before_pixels(content)))
    yield from found
    if not any(name != "Comment" for name, _ in found):
        yield from exif.sought(content)


def _before_pixels(content: bytes) -> Iterator[tuple[str, str]]:
    at = 2
    for _ in range(MOST_PARTS):
        marker = content[at + 1 : at + 2]
        if content[at : at + 1] != b"\xff" or not marker or marker[0] in (SCAN, END):
            return
        if marker == b"\xff":  # filling
            at += 1
            continue
        if marker[0] in WITHOUT_LENGTH:
            at += 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        data = content[at + 4 : at + 2 + length]
        if marker[0] == APP1 and data.startswith(b"Exif\0"):
            yield from exif.texts(data)
        elif marker[0] == COM:
            yield "Comment", data.decode("utf-8", errors="replace")
        at += 2 + max(length, 2)
