"""Pictures as one zip file, written while it is sent, so that it takes as little memory as one picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import IO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from webui.service.pictures import Picture

CHUNK = 2**18  # bytes
EARLIEST, LATEST = 315_619_200.0, 4_354_732_800.0  # seconds: 1980-01-02 and 2107-12-31; a zip file knows no other times
MISSING = "missing.txt"


class _Sent:
    """A file that can only be written, and whose content is taken away now and then."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, content: bytes, /) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What is left is still taken."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def archive(pictures: Sequence[Picture]) -> Iterator[bytes]:
    """The bytes of a zip file, piece by piece: each picture as saved, and its parameters as a text beside it."""
    sent = _Sent()
    taken: set[str] = set()
    missing = []
    with ZipFile(sent, "w", ZIP_STORED) as file:
        for picture in pictures:
            name = free_name(picture.path.name, taken)
            try:
                content = picture.path.open("rb")
            except OSError as error:
                missing.append(f"{name}: {error.strerror}\n")
                continue
            with content:
                yield from _copied(file, sent, _entry(name, picture), content)
            text = PurePath(name).with_suffix(".txt").name
            file.writestr(_entry(text, picture), picture.parameters.encode())
        if missing:
            file.writestr(ZipInfo(free_name(MISSING, taken)), "These pictures could not be read:\n" + "".join(missing))
    yield sent.take()


def free_name(name: str, taken: set[str]) -> str:
    """The name, or one like it that neither it nor its text shares with another; remembered in `taken`."""
    path = PurePath(name)
    count, chosen = 1, path
    while chosen.stem.casefold() in taken:
        count += 1
        chosen = PurePath(f"{path.stem} ({count}){path.suffix}")
    taken.add(chosen.stem.casefold())
    return chosen.name


def _copied(file: ZipFile, sent: _Sent, entry: ZipInfo, content: IO[bytes]) -> Iterator[bytes]:
    with file.open(entry, "w", force_zip64=True) as target:
        while part := content.read(CHUNK):
            target.write(part)
            yield sent.take()


def _entry(name: str, picture: Picture) -> ZipInfo:
    entry = ZipInfo(name, time.localtime(min(max(picture.created, EARLIEST), LATEST))[:6])
    entry.external_attr = 0o644 << 16
    return entry
