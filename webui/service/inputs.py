"""Pictures that people bring: kept by what is in them, so that a request names one for ever, each checked before it is kept.

A file's name is the SHA-256 of its bytes. Who has brought the same bytes may read them, and nobody else; the last one to let go
of them removes the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Row

from webui.errors import NotFound, StorageError, TooMany, UserError, quoted
from webui.metadata.heads import Head, read_head, scans
from webui.params import MOST_PIXELS
from webui.request import InputFacts
from webui.service.database import Database
from webui.service.decoding import Seen, examine
from webui.service.folders import DATA, own_folder
from webui.service.foreign_files import refusal
from webui.service.given import FOLDER, stored
from webui.service.references import is_needed, referred
from webui.service.users import User
from webui.settings import Settings

LARGEST = 64 * 2**20  # bytes of one file
LONGEST_SIDE = 16384  # pixels
MEGABYTE = 2**20
FRESH_SECONDS = 3600.0  # in which an upload may be on somebody's page, about to be used
MADE_KEPT_SECONDS = 86400.0
KEPT_SECONDS = 30 * 86400.0
MOST_SCANS = 50  # of a JPEG; programs make ten or so
DECODING = 2  # at the same time
TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "AVIF": "image/avif"}
COLUMNS = "digest, bytes, width, height, kind, transparent"


@dataclass(frozen=True, kw_only=True)
class Input:
    """A kept picture: its digest, what kind of file it is, its size when upright, and whether something shows through."""

    digest: str
    bytes: int
    width: int
    height: int
    kind: str
    transparent: bool

    @property
    def facts(self) -> InputFacts:
        """What a request takes from it."""
        return InputFacts(digest=self.digest, width=self.width, height=self.height, transparent=self.transparent)


class Inputs:
    """Everybody's pictures. Safe from any thread."""

    def __init__(self, database: Database, root: Path, clock: Callable[[], float]) -> None:
        self._database = database
        self._root = root
        self._folder = own_folder(root, DATA) / FOLDER
        self._clock = clock
        self._turn = threading.Lock()  # held while files and rows change together
        self._decoding = threading.BoundedSemaphore(DECODING)

    def add(self, user: User, content: bytes, *, megabytes: int = Settings.upload_megabytes) -> str:
        """Keep a picture, and return its digest; `megabytes` is how much a user's pictures may take in all.

        `UserError` where it is too large, of another kind, animated or broken, `TooMany` where there is no room for it.
        """
        head = checked_head(content)
        with self._decoding:
            seen = check_pixels(content, head)
        digest = hashlib.sha256(content).hexdigest()
        with self._turn:
            if self._is_own(user, digest):
                with self._database.write() as connection:  # what is used again is not old; earlier versions kept other sizes
                    connection.execute(
                        "UPDATE inputs SET width = ?, height = ?, transparent = ?, created = ?, made = 0 "
                        "WHERE digest = ? AND user = ?",
                        (seen.width, seen.height, seen.transparent, self._clock(), digest, user.id),
                    )
                return digest
            used = self.used(user)
            if used + len(content) > megabytes * MEGABYTE:
                used -= self._make_room(user, used + len(content) - megabytes * MEGABYTE)
            if used + len(content) > megabytes * MEGABYTE:
                taken = f"{used / MEGABYTE:,.0f} MB"
                raise TooMany(
                    f"Your uploads take {taken} and may take {megabytes:,}; remove some, or pictures made of them, or ask an "
                    "owner for more."
                )
            self._keep(user.id, digest, content, head.kind, seen)
        return digest

    def keep_made(self, user: int, content: bytes) -> str:
        """Keep a map that was made here among a user's pictures, and return its digest; it is nothing they have brought."""
        digest, head = hashlib.sha256(content).hexdigest(), checked_head(content)
        with self._turn:
            if self._database.one("SELECT 1 FROM inputs WHERE digest = ? AND user = ?", (digest, user)) is None:
                seen = Seen(width=head.width, height=head.height, transparent=False)
                self._keep(user, digest, content, head.kind, seen, made=True)
                return digest
            if not self._file(digest).is_file():
                self._write(self._file(digest), content)
            with self._database.write() as connection:  # what is made again is not old, and about to be referred to
                values = (self._clock(), digest, user)
                connection.execute("UPDATE inputs SET created = ? WHERE digest = ? AND user = ?", values)
        return digest

    def get(self, user: User, digest: str) -> Input:
        """What is known of a picture; `NotFound` where the user did not bring it."""
        query = f"SELECT {COLUMNS} FROM inputs WHERE digest = ? AND user = ?"
        row = self._database.one(query, (digest, user.id))
        if row is None:
            raise NotFound(f"There is no uploaded picture {quoted(digest)}; upload it again.")
        return _input(row)

    def all(self, user: User) -> list[Input]:
        """A user's pictures, the newest first."""
        query = f"SELECT {COLUMNS} FROM inputs WHERE user = ? ORDER BY created DESC, digest"
        return [_input(row) for row in self._database.all(query, (user.id,))]

    def open(self, user: User, digest: str) -> bytes:
        """A picture's bytes, exactly as they were brought; `StorageError` where the disk has lost or changed them."""
        found = self.get(user, digest)
        try:
            content = self._file(found.digest).read_bytes()
        except OSError as error:
            raise StorageError(f"The upload {digest[:10]} cannot be read ({error.strerror}); upload it again.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise StorageError(f"The upload {digest[:10]} is not what it was; upload it again.")
        return content

    def read(self, digest: str) -> bytes:
        """A picture's bytes, whoever's it is: for what a job was allowed to use; `UserError` where it is gone."""
        return stored(self._root)(digest)

    def used(self, user: User) -> int:
        """How many bytes a user's pictures take."""
        row = self._database.one("SELECT COALESCE(SUM(bytes), 0) FROM inputs WHERE user = ? AND made = 0", (user.id,))
        return 0 if row is None else int(row[0])

    def remove(self, user: User, digest: str) -> None:
        """Let go of a picture; `UserError` where a picture of the gallery or a job that has not ended is made of it."""
        self.get(user, digest)
        with self._turn:
            if is_needed(self._database, user.id, digest):
                raise UserError("Something is made of that upload: a picture, or a job that has not ended; remove this first.")
            self._forget([(user.id, digest)])
            self._unlink(digest)

    def sweep(self) -> int:
        """Remove what nobody needs any more, and files of nobody, such as of accounts that were removed; returns how many files.

        That is what no picture refers to, no tab as it was left, nor a job that has not ended long ago: maps after a day, uploads
        after a month.
        """
        with self._turn:
            now = self._clock()
            kept = referred(self._database, jobs_ended_after=now - KEPT_SECONDS)
            query = "SELECT digest, user FROM inputs WHERE created < CASE made WHEN 1 THEN ? ELSE ? END"
            old = self._database.all(query, (now - MADE_KEPT_SECONDS, now - KEPT_SECONDS))
            self._forget((row["user"], row["digest"]) for row in old if (row["user"], row["digest"]) not in kept)
            known = {str(row["digest"]) for row in self._database.all("SELECT DISTINCT digest FROM inputs")}
            left = [path for path in self._folder.glob("*/*") if path.name not in known]
            for path in left:
                with contextlib.suppress(OSError):
                    path.unlink()
        return len(left)

    def _keep(self, user: int, digest: str, content: bytes, kind: str, seen: Seen, *, made: bool = False) -> None:
        if not self._file(digest).is_file():
            self._write(self._file(digest), content)
        values = (digest, len(content), seen.width, seen.height, TYPES[kind], seen.transparent, user, self._clock(), made)
        with self._database.write() as connection:
            connection.execute(
                f"INSERT INTO inputs ({COLUMNS}, user, created, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values
            )

    def _make_room(self, user: User, wanted: int) -> int:
        """Let go of the oldest uploads that no picture, tab or job refers to, until there is room; returns the bytes."""
        query = "SELECT digest, bytes FROM inputs WHERE user = ? AND made = 0 AND created < ? ORDER BY created"
        rows = self._database.all(query, (user.id, self._clock() - FRESH_SECONDS))
        kept = referred(self._database, jobs_ended_after=None) if rows else set()
        going: list[Row] = []
        for row in rows:
            if sum(each["bytes"] for each in going) < wanted and (user.id, row["digest"]) not in kept:
                going.append(row)
        self._forget((user.id, row["digest"]) for row in going)
        for row in going:
            self._unlink(row["digest"])
        return sum(row["bytes"] for row in going)

    def _forget(self, whose: Iterable[tuple[int, str]]) -> None:
        with self._database.write() as connection:
            connection.executemany("DELETE FROM inputs WHERE user = ? AND digest = ?", list(whose))

    def _unlink(self, digest: str) -> None:
        """Remove a file that belongs to nobody."""
        if self._database.one("SELECT 1 FROM inputs WHERE digest = ?", (digest,)) is None:
            with contextlib.suppress(OSError):
                self._file(digest).unlink(missing_ok=True)

    def _is_own(self, user: User, digest: str) -> bool:
        """Whether the user has it, and it is really there: what the disk has lost can be brought again."""
        row = self._database.one("SELECT bytes FROM inputs WHERE digest = ? AND user = ?", (digest, user.id))
        if row is None:
            return False
        with contextlib.suppress(OSError):
            if hashlib.sha256(self._file(digest).read_bytes()).hexdigest() == digest:
                return True
        with self._database.write() as connection:
            connection.execute("DELETE FROM inputs WHERE digest = ? AND user = ?", (digest, user.id))
        with contextlib.suppress(OSError):
            self._file(digest).unlink(missing_ok=True)
        return False

    def _file(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        """Write a file whole or not at all."""
        part = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(target)
        except OSError as error:
            if part is not None:
                Path(part).unlink(missing_ok=True)
            why = f"{target.parent} ({error.strerror})"
            raise StorageError(f"The picture could not be kept in {why}; make room and try again.") from error


def _input(row: Row) -> Input:
    names = ("digest", "bytes", "width", "height", "kind")
    return Input(**{name: row[name] for name in names}, transparent=bool(row["transparent"]))


def checked_head(content: bytes) -> Head:
    """What the file says of its picture; `UserError` where it is too large or of another kind. Nothing is decoded."""
    if len(content) > LARGEST:
        raise UserError(f"The file has {len(content) / MEGABYTE:,.0f} MB; at most {LARGEST // MEGABYTE} are taken.")
    head = read_head(content)
    if head is None:
        raise UserError(refusal(content))
    width, height = head.width, head.height
    if width < 1 or height < 1:
        raise UserError("The picture has no pixels.")
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise UserError(
            f"The picture has {width:,}x{height:,} pixels; at most {MOST_PIXELS:,} in all and {LONGEST_SIDE:,} a side are taken: "
            "make it smaller first."
        )
    if head.kind == "JPEG" and scans(content, MOST_SCANS + 1) > MOST_SCANS:
        raise UserError(f"The picture is drawn in more than {MOST_SCANS} passes; save it again with another program.")
    return head


def check_pixels(content: bytes, head: Head) -> Seen:
    """Decode the picture once; `UserError` where that cannot be done, or where it is several."""
    seen = examine(content, (head.kind,))
    if {seen.width, seen.height} != {head.width, head.height}:
        raise UserError("The picture says two different sizes; save it again with another program.")
    return seen
