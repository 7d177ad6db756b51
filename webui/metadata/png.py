"""The texts of a PNG: chunks tEXt, zTXt, iTXt and eXIf, wherever in the file they are (PNG, 11.3.3 and 11.3.4.5)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from webui.metadata import exif
from webui.metadata.bounds import MOST_BYTES, MOST_PARTS, inflated

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
WANTED = re.compile(rb"tEXt|zTXt|iTXt|eXIf")
MOST_TRIES = 1000  # to find chunks in a file that is broken before them
LONGEST_KEYWORD = 79  # bytes, as the specification has it


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The keyword and text of each chunk; EXIF's go by their tags."""
    seen = set()
    whole = False
    for at, kind, data in _chunks(content):
        if kind == b"IEND":
            whole = True
        elif kind == b"eXIf" or kind in TEXTS:
            seen.add(at)
            yield from _said(kind, data)
    if not whole:
        for at, kind, data in _found(content):
            if at not in seen:
                yield from _said(kind, data)


def _chunks(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Where each chunk of interest is, its kind and data, up to the end or where the file is broken."""
    at = len(SIGNATURE)
    for _ in range(MOST_PARTS):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if len(kind) < 4 or at + 12 + length > len(content):
            return
        if kind == b"IEND" or WANTED.fullmatch(kind):
            yield at, kind, content[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def _found(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Chunks that are whole in a file that is not: their own checksums say that they are ones."""
    tries, size = 0, 0
    for match in WANTED.finditer(content, len(SIGNATURE)):
        at, length = match.start() - 4, int.from_bytes(content[match.start() - 4 : match.start()], "big")
        end = match.end() + length
        if tries >= MOST_TRIES or size > MOST_BYTES:
            return
        if end + 4 <= len(content):
            tries, size = tries + 1, size + length
            if zlib.crc32(content[match.start() : end]) == int.from_bytes(content[end : end + 4], "big"):
                yield at, match[0], content[match.end() : end]


def _said(kind: bytes, data: bytes) -> Iterator[tuple[str, str]]:
    if kind == b"eXIf":
        yield from exif.texts(data)
        return
    keyword, zero, rest = data.partition(b"\0")
    if not zero or not keyword or len(keyword) > LONGEST_KEYWORD:
        return
    name = keyword.decode("latin-1")
    if kind == b"tEXt":
        yield name, rest.decode("latin-1")
    elif kind == b"zTXt":
        yield name, inflated(rest[1:]).decode("latin-1")
    else:
        packed = rest[:1] == b"\1"
        words = rest[2:].split(b"\0", 2)
        if len(words) == 3:
            yield name, (inflated(words[2]) if packed else words[2]).decode("utf-8", errors="replace")

