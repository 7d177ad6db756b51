"""Taking in pictures that the gallery does not know: what the command line made, and what somebody copied into the folder.

A look costs little where nothing changed: a folder whose time of change is the same is not read again. Files that this program is
writing are noted in the table `saving` before they have their name, and left alone.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from webui.infotext import parse
from webui.metadata import reading as metadata
from webui.service.database import Database
from webui.service.pictures import Pictures
from webui.service.users import OWNER_ID

LOGGER = logging.getLogger(__name__)
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif")
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")
LARGEST_FILE = 128 * 2**20  # bytes
AT_ONCE = 100  # pictures that one transaction takes in
SETTLED_SECONDS = 3.0  # a folder that changed just now may change again without a later time of change
DEEPEST = 8  # folders within folders
LONGEST_TEXT = 100_000  # characters of parameters: more than two prompts can have
LONGEST_SEED = 40


@dataclass(frozen=True, kw_only=True)
class Found:
    """A picture in the folder; `changed` is in seconds."""

    path: Path
    bytes: int
    changed: float
    width: int
    height: int
    parameters: str


class Intake:
    """Looks through the outputs folder for pictures without a row, which become the first owner's. One look at a time."""

    def __init__(self, database: Database, pictures: Pictures, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._pictures = pictures
        self._now = now  # as the file system has it
        self._turn = threading.Lock()
        self._folders: dict[Path, tuple[int, tuple[Path, ...]]] = {}  # when each changed last, and the folders in it
        self._others: dict[Path, tuple[int, int]] = {}  # files that are no pictures of ours, with size and time of change

    def look(self) -> int:
        """Take in what is new; returns how many pictures. A folder that cannot be read is passed over."""
        with self._turn:
            changed = list(self._changed(self._pictures.outputs, DEEPEST))
            if not changed:
                return 0
            known = {str(row["path"]) for row in self._database.all("SELECT path FROM pictures")}
            found = [picture for folder in changed for picture in self._new(folder, known)]
            found.sort(key=lambda picture: (picture.changed, picture.path))
            return sum(self._take_in(found[at : at + AT_ONCE]) for at in range(0, len(found), AT_ONCE))

    def _changed(self, folder: Path, deep: int) -> Iterator[Path]:
        """The folders that are not as they were at the last look."""
        try:
            changed = folder.stat().st_mtime_ns
            before, inner = self._folders.get(folder, (-1, ()))
            if changed != before:
                inner = tuple(sorted(self._inner(folder)))
                settled = changed / 1e9 < self._now() - SETTLED_SECONDS
                self._folders[folder] = changed if settled else -1, inner
                yield folder
        except OSError:
            return
        for each in inner if deep else ():
            yield from self._changed(each, deep - 1)

    @staticmethod
    def _inner(folder: Path) -> Iterator[Path]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield folder / entry.name

    def _new(self, folder: Path, known: Collection[str]) -> Iterator[Found]:
        try:
            with os.scandir(folder) as entries:
                files = [entry for entry in entries if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")]
        except OSError:
            return
        beginning = self._pictures.stored(folder / "_").removesuffix("_")
        for entry in files:
            if beginning + entry.name in known:
                continue
            path = folder / entry.name
            if not sayable(path):
                continue
            try:
                stat = entry.stat(follow_symlinks=False)
                stamp = stat.st_size, stat.st_mtime_ns
                if not entry.is_file(follow_symlinks=False) or self._others.get(path) == stamp:
                    continue
            except OSError:
                continue
            found = read(path, stat.st_size, stat.st_mtime)
            if found is None:
                self._others[path] = stamp
            else:
                yield found

    def _take_in(self, found: Collection[Found]) -> int:
        rows = []
        for picture in found:
            said = parse(picture.parameters)
            rows.append({
                "id": secrets.token_hex(8), "user": OWNER_ID, "place": 0, "path": self._pictures.stored(picture.path),
                "bytes": picture.bytes, "width": picture.width, "height": picture.height,
                "seed": said.values.get("Seed", "")[:LONGEST_SEED], "prompt": said.prompt, "parameters": picture.parameters,
                "request": "{}", "created": picture.changed, "whole": str(picture.path),
            })  # fmt: skip
        names = [name for name in rows[0] if name != "whole"]
        with self._database.write() as connection:
            taken = connection.executemany(
                f"INSERT INTO pictures ({', '.join(names)}) SELECT {', '.join(':' + name for name in names)} "
                "WHERE NOT EXISTS (SELECT 1 FROM saving WHERE path = :whole) ON CONFLICT (path) DO NOTHING", rows,
            )  # fmt: skip
        LOGGER.info("Took in %d pictures.", taken.rowcount)
        return taken.rowcount


def sayable(path: Path) -> bool:
    """Whether a path can be written down: systems let files have names that are no text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read(path: Path, size: int, changed: float) -> Found | None:
    """The picture in a file; None where it is none, or one that says nothing of how it was made."""
    if size > LARGEST_FILE:
        return None
    try:
        said = metadata.read(path.read_bytes(), pixels=False)
    except (OSError, MemoryError):
        return None
    if not said.text.strip() or len(said.text) > LONGEST_TEXT or not (said.width and said.height) or said.format not in FORMATS:
        return None
    return Found(path=path, bytes=size, changed=changed, width=said.width, height=said.height, parameters=said.text)
