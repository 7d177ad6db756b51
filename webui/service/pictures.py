"""All pictures as the page lists them: found by their words, starred, put into the trash and back, deleted for good.

A row says what a picture is and whose; the file is what it looks like. Files are found by the id of a row, never by a name that
somebody sends. A picture of somebody else does not exist, for owners neither unless they ask for `everyone`'s.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any

from webui.errors import NotAllowed, NotFound, StorageError, UserError, quoted
from webui.infotext import parse
from webui.request import Request
from webui.service.database import Database, Value
from webui.service.picture_texts import seed_said
from webui.service.thumbnails import Thumbnails
from webui.service.users import User

PAGE = 60  # pictures listed at once, unless told
LONGEST_PAGE = 500
MOST_AT_ONCE = 1000  # pictures that one call names
LONGEST_SEARCH = 500  # characters
MOST_WORDS = 20
COLUMNS = (
    "number, id, user, job, place, path, bytes, width, height, seed, prompt, parameters, interrupted, starred, trashed, created, "
    "maps, json_extract(request, '$.inputs') AS inputs, json_extract(request, '$.task') AS task"
)
Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A row of the table `pictures`; `number` rises with time, `trashed` is when it was put into the trash.

    `task` is what made it, "" where nobody knows; `inputs` and `maps` are digests of what it was made of, and of what was made on
    the way, by name.
    """

    number: int
    id: str
    user: int
    job: str | None
    place: int
    path: Path
    bytes: int
    width: int
    height: int
    seed: str
    prompt: str
    parameters: str
    interrupted: bool
    starred: bool
    trashed: float | None
    created: float
    maps: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    task: str = ""

    @property
    def gone(self) -> bool:
        """Whether somebody took the file away."""
        return not self.path.is_file()


class Pictures:
    """The pictures of everybody. Safe from any thread.

    Paths are kept below the program's folder, which is the one that the database's folder is in, so that it may be moved; what is
    elsewhere is kept by its whole path. `thumbnails` is a folder for small pictures.
    """

    def __init__(self, database: Database, outputs: Path, clock: Clock = time.time, *, thumbnails: Path | None = None) -> None:
        self.outputs = outputs.absolute()
        self.thumbnails = Thumbnails(thumbnails)
        self._database = database
        self._clock = clock
        self._root = database.path.absolute().parent.parent

    # --- looking

    def search(
        self, user: User, text: str = "", *, starred: bool = False, trashed: bool = False, job: str = "",
        before: int | None = None, limit: int = PAGE, everyone: bool = False,
    ) -> list[Picture]:  # fmt: skip
        """The newest pictures, older than number `before`, that have every word of `text` in their prompts or parameters."""
        where, values = _matching(text)
        where.append("trashed IS NOT NULL" if trashed else "trashed IS NULL")
        if starred:
            where.append("starred = 1")
        if job:
            where.append("job = ?")
            values.append(job)
        if before is not None:
            where.append("number < ?")
            values.append(before)
        if not self._all_of(user, everyone):
            where.append("+user = ?" if job else "user = ?")  # a job's pictures are found by the job
            values.append(user.id)
        numbers = f"SELECT number FROM pictures WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?"  # sorted without texts
        query = f"SELECT {COLUMNS} FROM pictures WHERE number IN ({numbers}) ORDER BY number DESC"
        return [self._picture(row) for row in self._database.all(query, (*values, max(1, min(limit, LONGEST_PAGE + 1))))]

    def get(self, user: User, id: str, *, everyone: bool = False) -> Picture:  # noqa: A002
        """The picture with that id."""
        return self._named(user, [id], everyone)[0]

    def several(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> list[Picture]:
        """The pictures with those ids, in that order."""
        return self._named(user, ids, everyone)

    def request(self, user: User, id: str) -> dict[str, Any]:  # noqa: A002
        """What the picture with that id was asked for with, as plain data."""
        row = self._database.one("SELECT request FROM pictures WHERE id = ? AND user = ?", (id, user.id))
        if row is None:
            raise NotFound(f"There is no picture {quoted(id)}.")
        found: dict[str, Any] = json.loads(row["request"])
        return found

    def of_job(self, user: User, job: str, *, everyone: bool = False) -> list[Picture]:
        """A job's pictures in their order, without those in the trash."""
        found = self.search(user, job=job, limit=LONGEST_PAGE, everyone=everyone)
        if not found:
            raise NotFound(f"There are no pictures of a job {quoted(job)}.")
        return sorted(found, key=lambda picture: picture.place)

    def thumbnail(self, user: User, id: str, *, everyone: bool = False) -> bytes | None:  # noqa: A002
        """A picture in small, as WebP; None where there is no file, or none that can be read."""
        picture = self.get(user, id, everyone=everyone)
        return self.thumbnails.of(picture.id, picture.path)

    # --- marking

    def star(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> None:
        """Mark pictures as liked."""
        self._mark(user, ids, "starred = ?", 1, everyone)

    def unstar(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> None:
        """Take that mark back."""
        self._mark(user, ids, "starred = ?", 0, everyone)

    def trash(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> None:
        """Put pictures into the trash; their files stay where they are."""
        self._mark(user, ids, "trashed = COALESCE(trashed, ?)", self._clock(), everyone)

    def restore(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> None:
        """Take pictures out of the trash."""
        self._mark(user, ids, "trashed = ?", None, everyone)

    def delete(self, user: User, ids: Sequence[str], *, everyone: bool = False) -> None:
        """Delete pictures for good, file and row: those in the trash, and those whose file is gone."""
        pictures = self._named(user, ids, everyone)
        for picture in pictures:
            if picture.trashed is None and not picture.gone:
                raise UserError(f"The picture {quoted(picture.id)} is not in the trash; put it there before you delete it.")
        self._delete(pictures)

    def empty_trash(self, user: int, older_than: float) -> int:
        """Delete for good what a user put into the trash before a time; returns how many."""
        query = f"SELECT {COLUMNS} FROM pictures WHERE user = ? AND trashed < ?"
        pictures = [self._picture(row) for row in self._database.all(query, (user, older_than))]
        self._delete(pictures)
        return len(pictures)

    # --- adding

    def row_values(
        self, *, user: int, job: str | None, place: int, path: Path, size: int, width: int, height: int, request: Request,
        parameters: str, interrupted: bool = False, created: float | None = None, maps: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """The row of a picture as plain data, ready for JSON: what `insert` takes, now or after a crash."""
        return {
            "id": secrets.token_hex(8), "user": user, "job": job, "place": place, "path": self.stored(path), "bytes": size,
            "width": width, "height": height, "seed": str(seed_said(request, parameters)),
            "prompt": request.prompt if request.task != "extras" else parse(parameters).prompt, "parameters": parameters,
            "maps": json.dumps(maps or {}), "request": json.dumps(request.to_dict(), ensure_ascii=False),
            "interrupted": int(interrupted),
            "created": self._clock() if created is None else created,
        }  # fmt: skip

    def insert(self, connection: Connection, row: Mapping[str, Any]) -> str:
        """Add a row inside a transaction; returns the picture's id. A row that a scan made of the same file gives way."""
        names = list(row)
        marks = ", ".join("?" for _ in names)
        instead = ", ".join(f"{name} = excluded.{name}" for name in names if name != "path")
        connection.execute(
            f"INSERT INTO pictures ({', '.join(names)}) VALUES ({marks}) ON CONFLICT (path) DO UPDATE SET {instead}",
            tuple(row.values()),
        )
        return str(row["id"])

    def whole(self, stored: str) -> Path:
        """The file that a row names."""
        return self._root / stored

    def stored(self, path: Path) -> str:
        """How a file is named in its row."""
        whole = path.absolute()
        return whole.relative_to(self._root).as_posix() if whole.is_relative_to(self._root) else str(whole)

    # --- inside

    def _all_of(self, user: User, everyone: bool) -> bool:
        if everyone and not user.owner:
            raise NotAllowed("Only an owner may see the pictures of everybody.")
        return everyone

    def _named(self, user: User, ids: Sequence[str], everyone: bool) -> list[Picture]:
        if len(ids) > MOST_AT_ONCE:
            raise UserError(f"Those are {len(ids):,} pictures; name at most {MOST_AT_ONCE:,} at once.")
        values: list[Value] = list(dict.fromkeys(ids))
        query = f"SELECT {COLUMNS} FROM pictures WHERE id IN ({', '.join('?' for _ in values)})"
        if not self._all_of(user, everyone):
            query += " AND user = ?"
            values.append(user.id)
        found = {row["id"]: self._picture(row) for row in self._database.all(query, values)}
        for each in ids:
            if each not in found:
                raise NotFound(f"There is no picture {quoted(each)}.")
        return [found[each] for each in dict.fromkeys(ids)]

    def _mark(self, user: User, ids: Sequence[str], change: str, value: Value, everyone: bool) -> None:
        with self._database.write() as connection:
            named = [(value, picture.id) for picture in self._named(user, ids, everyone)]
            connection.executemany(f"UPDATE pictures SET {change} WHERE id = ?", named)

    def _delete(self, pictures: Iterable[Picture]) -> None:
        """Files first: a row without a file can be deleted again, a file without a row would come back as a new picture."""
        done, failures = [], []
        for picture in pictures:
            try:
                picture.path.unlink(missing_ok=True)
            except OSError as error:
                failures.append(f"{picture.path} ({error.strerror})")
            else:
                done.append(picture.id)
        with self._database.write() as connection:
            connection.executemany("DELETE FROM pictures WHERE id = ?", [(each,) for each in done])
        for each in done:
            self.thumbnails.forget(each)
        if failures:
            raise StorageError(f"{len(failures)} pictures could not be deleted: {', '.join(failures[:5])}.")

    def _picture(self, row: Row) -> Picture:
        plain = {name: row[name] for name in row.keys()}  # noqa: SIM118  a Row iterates over its values
        flags = {name: bool(plain[name]) for name in ("interrupted", "starred")}
        texts = {name: json.loads(plain[name] or "{}") for name in ("maps", "inputs")}
        return Picture(**plain | flags | texts | {"path": self._root / plain["path"], "task": plain["task"] or ""})


def _matching(text: str) -> tuple[list[str], list[Value]]:
    """Conditions that every word occurs, and their values. A picture's parameters begin with its prompts.

    Not by LIKE, which takes seconds for a long word that a long text almost has, again and again, while everybody else waits.
    """
    if len(text) > LONGEST_SEARCH:
        raise UserError(f"The search was {len(text):,} characters long; it must have at most {LONGEST_SEARCH}.")
    conditions: list[str] = []
    values: list[Value] = []
    for word in text.replace("\0", " ").split()[:MOST_WORDS]:
        forms = _forms(word)
        conditions.append("(" + " OR ".join("instr(lower(parameters), lower(?))" for _ in forms) + ")")
        values += forms
    return conditions, values


def _forms(word: str) -> list[str]:
    """The word as it may be written: SQLite itself takes only A to Z for a to z."""
    return [word] if word.isascii() else list(dict.fromkeys([word, word.lower(), word.upper(), word.capitalize()]))
