"""What a file is that is no weight file at all, by how it begins: what people save in place of a model by mistake."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from webui.errors import ModelFileError, quoted
from webui.weights.files import Header
from webui.weights.headers import read_header

LOOKED_AT = 512  # bytes
LONGEST_START = 60  # characters of a text that are told
WEB_PAGE = re.compile(rb"\s*(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|\?xml)", re.IGNORECASE)
BEGINNINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS, in place of the file: run git lfs pull, or download the file itself",
    b"GGUF": "a GGUF file, which cannot be used here",
    b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"RIFF": "a picture or sound",
    b"7z\xbc\xaf": "an archive: unpack it", b"Rar!": "an archive: unpack it", b"\x1f\x8b": "an archive: unpack it",
}  # fmt: skip


def header_at(path: Path) -> Header:
    """Return what `read_header` does; where that is none, its `ModelFileError` also says what the file seems to be instead."""
    try:
        return read_header(path)
    except ModelFileError as error:
        if words := _looks_like(path):
            raise ModelFileError(f"{error} It looks like {words}.") from error
        raise


def _looks_like(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            start = file.read(LOOKED_AT)
        if start.startswith(b"PK"):
            return _archive(path)
    except OSError:
        return ""
    if WEB_PAGE.match(start):
        return "a web page: the download may have asked for a login; download the file in a browser"
    found = next((words for beginning, words in BEGINNINGS.items() if start.startswith(beginning)), "")
    return found or _text(start)


def _archive(path: Path) -> str:
    """PyTorch's own archives hold a file data.pkl; one that cannot be listed may be such a one, cut short."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return ""
    return "" if any(name.endswith("data.pkl") for name in names) else "an archive of other files: unpack it"


def _text(start: bytes) -> str:
    """A short answer of a server, such as "Entry not found", has no byte that is no text."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < LOOKED_AT - 3:  # else a letter was cut
            return ""
        text = start[: error.start].decode()
    plain = text.strip() and all(each.isprintable() or each.isspace() for each in text)
    return f"a text that begins with {quoted(' '.join(text.split()), LONGEST_START)}" if plain else ""
