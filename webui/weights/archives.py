"""Where PyTorch's archives keep the numbers of a pickled tensor, so that those wanted are read straight from the file.

An archive is a zip file whose entries `data/0`, `data/1`, ... hold the bytes of storages as they are, without compression. The
pickle beside them says which tensor is which part of which storage.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from typing import BinaryIO

LOCAL_HEADER = 30  # bytes of an entry before its name; the lengths of name and extra field are the last four
MOST_ENTRIES = 100_000


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The bytes that a tensor spans, and the steps of its axes in numbers; no steps: one number after the other."""

    begin: int
    end: int
    strides: tuple[int, ...] = ()


def storages(file: BinaryIO) -> dict[int, int]:
    """Where the uncompressed entries of an archive begin and end; none where the file is no archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if entry.compress_type == zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
        return {}
    found: dict[int, int] = {}
    for entry in [entry for entry in entries if "/data/" in entry.filename][:MOST_ENTRIES]:
        file.seek(entry.header_offset)
        start = file.read(LOCAL_HEADER)
        if len(start) == LOCAL_HEADER:
            begin = entry.header_offset + LOCAL_HEADER + sum(struct.unpack("<HH", start[26:]))
            found[begin] = begin + entry.file_size
    return found
