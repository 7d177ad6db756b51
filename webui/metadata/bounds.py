"""How much is read of what a file says: a few bytes may unfold to gigabytes, and any file may be somebody's trap."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

LONGEST_TEXT = 4 * 2**20  # characters of one text; workflows of other programs have a hundred thousand
MOST_TEXTS = 200  # in one file
MOST_BYTES = 32 * 2**20  # of all texts of a file
LONGEST_NAME = 200  # characters
MOST_PARTS = 200_000  # chunks, segments, blocks or boxes of a file


def inflated(content: bytes) -> bytes:
    """What zlib packed, up to four bytes for each character that is read; as much as can be unpacked of what is broken."""
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(content, 4 * LONGEST_TEXT)
    except zlib.error:
        return _piecewise(content)


def bounded(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """As many of the texts as one file may have, none longer than a text may be."""
    size = 0
    for count, (name, text) in enumerate(texts):
        if count >= MOST_TEXTS or size >= MOST_BYTES:
            return
        size += min(len(text), LONGEST_TEXT) + len(name)
        yield clean(name[:LONGEST_NAME]), clean(text)


def clean(text: str) -> str:
    """The text without what no other place could hold: halves of signs, NUL; cut off where it is too long."""
    text = text[:LONGEST_TEXT].replace("\0", " ")
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def _piecewise(content: bytes) -> bytes:
    """What comes before the first fault."""
    unpacker, found, size = zlib.decompressobj(), [], 0
    try:
        for at in range(0, len(content), 256):
            found.append(unpacker.decompress(content[at : at + 256], 4 * LONGEST_TEXT - size))
            size += len(found[-1])
            if size >= 4 * LONGEST_TEXT:
                break
    except zlib.error:
        pass
    return b"".join(found)
