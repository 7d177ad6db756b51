"""The texts of a WebP: EXIF in a chunk of its container (RFC 9649, section 2.7.1.5)."""

from __future__ import annotations

from collections.abc import Iterator

from webui.metadata import exif
from webui.metadata.bounds import MOST_PARTS, bounded


def is_webp(content: bytes) -> bool:
    """Whether the file begins like a WebP."""
    return content.startswith(b"RIFF") and content[8:12] == b"WEBP"


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The texts of its EXIF; in a file that is broken before it, it is looked for."""
    found = list(bounded(_of_chunks(content)))
    yield from found or exif.sought(content)


def _of_chunks(content: bytes) -> Iterator[tuple[str, str]]:
    at = 12
    for _ in range(MOST_PARTS):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if len(kind) < 4:
            return
        if kind == b"EXIF":
            yield from exif.texts(content[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
