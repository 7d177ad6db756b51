"""The texts of a GIF: comment extensions (GIF89a, section 24)."""

from __future__ import annotations

from collections.abc import Iterator

from webui.metadata.bounds import LONGEST_TEXT, MOST_PARTS

SIGNATURES = (b"GIF87a", b"GIF89a")
EXTENSION, COMMENT, IMAGE = 0x21, 0xFE, 0x2C


def size(content: bytes) -> tuple[int, int]:
    """Width and height that the file says; 0 where it does not."""
    return int.from_bytes(content[6:8], "little"), int.from_bytes(content[8:10], "little")


def texts(content: bytes) -> Iterator[tuple[str, str]]:
    """The comments, up to the end or where the file is broken."""
    at = 13 + _table(content[10:11])
    for _ in range(MOST_PARTS):
        kind = content[at : at + 1]
        if at > len(content):
            return
        if kind == bytes([EXTENSION]):
            label = content[at + 1 : at + 2]
            data, at = _blocks(content, at + 2, keep=label == bytes([COMMENT]))
            if label == bytes([COMMENT]):
                yield "Comment", data.decode("utf-8", errors="replace")
        elif kind == bytes([IMAGE]):
            _, at = _blocks(content, at + 11 + _table(content[at + 9 : at + 10]), keep=False)
        else:
            return


def _table(flags: bytes) -> int:
    """The bytes of the colours that flags announce."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _blocks(content: bytes, at: int, *, keep: bool) -> tuple[bytes, int]:
    """What blocks with their lengths before them hold, and where they end."""
    found, size = list[bytes](), 0
    for _ in range(MOST_PARTS):
        if at >= len(content) or not (length := content[at]):
            return b"".join(found), at + 1
        if keep and size < 4 * LONGEST_TEXT:
            found.append(content[at + 1 : at + 1 + length])
            size += length
        at += 1 + length
    return b"".join(found), len(content)
