"""Groups of jobs as rows: a form that became many cells, each of them a job once its turn comes, and at last one grid."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any

from webui.request import Request
from webui.service.database import Database
from webui.service.grids import Layout
from webui.service.jobs import Job

OPEN = ("running", "drawing")
SKIPPED, CANCELLED, LOST = "Skipped.", "Cancelled.", "Its job is not there any more."
MOST_KEPT = 100  # of a person; older ones that have ended are forgotten, for nothing shows them any more
KEPT_SECONDS = 90 * 86400.0  # groups that ended longer ago are forgotten; their pictures stay
MADE = """
SELECT cells.grouped, cells.place, groups.user, jobs.id AS job, jobs.state AS state, jobs.sentence AS sentence,
    (SELECT id FROM pictures WHERE pictures.job = cells.job ORDER BY pictures.place LIMIT 1) AS picture
FROM cells JOIN groups ON groups.id = cells.grouped LEFT JOIN jobs ON jobs.id = cells.job
WHERE cells.state = 'queued' AND (jobs.state IS NULL OR jobs.state NOT IN ('queued', 'running'))
"""
FORGOTTEN = """
DELETE FROM groups WHERE user = ? AND ended IS NOT NULL
    AND id NOT IN (SELECT id FROM groups WHERE user = ? ORDER BY created DESC, rowid DESC LIMIT ?)
    AND NOT EXISTS (SELECT 1 FROM cells WHERE cells.grouped = groups.id AND cells.state = 'queued')
"""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A row of the table `groups`, with how many of its cells have ended, and how many there are."""

    id: str
    user: int
    script: str
    kind: str
    layout: Layout
    state: str
    sentence: str
    grid: str | None
    created: float
    ended: float | None
    done: int
    of: int

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state in OPEN


@dataclass(frozen=True, kw_only=True)
class CellRow:
    """A row of the table `cells`; `state` is "running" while its job runs."""

    grouped: str
    place: int
    labels: tuple[str, ...]
    state: str
    job: str | None
    picture: str | None
    sentence: str


class GroupRows:
    """All groups. Each method is one transaction; who calls sees to it that they follow each other."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading.

    def get(self, group: str) -> Group | None:
        """A group, whosever it is."""
        found = self._groups("WHERE groups.id = ?", (group,))
        return found[0] if found else None

    def of_user(self, user: int, most: int) -> list[Group]:
        """A person's groups, the newest first."""
        return self._groups("WHERE user = ? ORDER BY created DESC, groups.rowid DESC LIMIT ?", (user, most))

    def open(self) -> list[Group]:
        """The groups that have not ended, the oldest first."""
        return self._groups("WHERE state IN ('running', 'drawing') ORDER BY created, groups.rowid", ())

    def cells(self, group: str) -> list[CellRow]:
        """A group's cells in their places."""
        query = (
            "SELECT cells.grouped, cells.place, labels, job, picture, cells.sentence, "
            "CASE WHEN jobs.state = 'running' THEN 'running' ELSE cells.state END AS state "
            "FROM cells LEFT JOIN jobs ON jobs.id = cells.job AND cells.state = 'queued' "
            "WHERE cells.grouped = ? ORDER BY cells.place"
        )
        return [
            CellRow(**{name: row[name] for name in row.keys()} | {"labels": tuple(json.loads(row["labels"]))})  # noqa: SIM118
            for row in self._database.all(query, (group,))
        ]

    def request(self, group: str, place: int) -> Request | None:
        """What a cell is made from."""
        row = self._database.one("SELECT request FROM cells WHERE grouped = ? AND place = ?", (group, place))
        return None if row is None else Request.from_dict(json.loads(row["request"]))

    def counts(self, user: int) -> tuple[int, int]:
        """How many of a person's groups have not ended, and how many cells those have that have not."""
        query = (
            "SELECT COUNT(DISTINCT groups.id), COUNT(cells.place) FROM groups LEFT JOIN cells ON cells.grouped = groups.id "
            "AND cells.state IN ('waiting', 'queued') WHERE user = ? AND groups.state IN ('running', 'drawing')"
        )
        row = self._database.one(query, (user,))
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    def queued(self, user: int) -> int:
        """How many of a person's cells are jobs now."""
        query = "SELECT COUNT(*) FROM cells JOIN groups ON groups.id = cells.grouped WHERE cells.state = 'queued' AND user = ?"
        row = self._database.one(query, (user,))
        return 0 if row is None else int(row[0])

    def following(self, group: str) -> tuple[int, Mapping[str, Any], int] | None:
        """The place of the cell that is to be queued next, its request, and how many pictures it makes."""
        query = "SELECT place, request, pictures FROM cells WHERE grouped = ? AND state = 'waiting' ORDER BY turn LIMIT 1"
        row = self._database.one(query, (group,))
        return None if row is None else (int(row["place"]), json.loads(row["request"]), int(row["pictures"]))

    def jobs_of(self, group: str) -> list[str]:
        """The jobs of a group's cells that were queued and are not known to have ended."""
        rows = self._database.all("SELECT job FROM cells WHERE grouped = ? AND state = 'queued' AND job IS NOT NULL", (group,))
        return [str(row["job"]) for row in rows]

    def cancelled_with_jobs(self) -> list[str]:
        """The groups that were cancelled, and have jobs all the same: the program was killed in between."""
        query = (
            "SELECT DISTINCT groups.id FROM groups JOIN cells ON cells.grouped = groups.id WHERE groups.state = 'cancelled' "
            "AND cells.state = 'queued'"
        )
        return [str(row["id"]) for row in self._database.all(query)]

    # Changing.

    def add(
        self, user: int, script: str, kind: str, layout: Layout, inputs: Mapping[str, str], requests: Sequence[Request],
        labels: Sequence[Sequence[str]], turns: Sequence[int], now: float,
    ) -> str:  # fmt: skip
        """Write a group and its cells; returns its id. `turns` are places in the order in which they are queued."""
        group = secrets.token_hex(8)
        turn_of = {place: turn for turn, place in enumerate(turns)}
        cells = [
            (group, place, turn_of[place], _json(labels[place]), _json(request.to_dict()), request.count)
            for place, request in enumerate(requests)
        ]
        with self._database.write() as connection:
            values = (group, user, script, kind, _json(layout.to_dict()), _json(inputs), now)
            connection.execute(
                "INSERT INTO groups (id, user, script, kind, layout, inputs, state, created) "
                "VALUES (?, ?, ?, ?, ?, ?, 'running', ?)", values,
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO cells (grouped, place, turn, labels, request, pictures, state) VALUES (?, ?, ?, ?, ?, ?, 'waiting')",
                cells,
            )
            connection.execute(FORGOTTEN, (user, user, MOST_KEPT))
        return group

    @staticmethod
    def submitted(group: str, place: int, connection: Connection, job: Job) -> None:
        """Write down that a cell is a job, in the transaction in which the job is written."""
        values = (job.id, group, place)
        connection.execute(
            "UPDATE cells SET state = 'queued', job = ?, picture = NULL, sentence = '' WHERE grouped = ? AND place = ?", values
        )

    def settle(self) -> set[str]:
        """Write down what became of the jobs that have ended; returns the groups whose cells they are."""
        rows = self._database.all(MADE)
        if rows:
            with self._database.write() as connection:
                connection.executemany(
                    "UPDATE cells SET state = ?, picture = ?, sentence = ? WHERE grouped = ? AND place = ?",
                    [(*_outcome(row), row["grouped"], row["place"]) for row in rows],
                )
        return {str(row["grouped"]) for row in rows}

    def full(self) -> list[Group]:
        """The groups that run and have no cell left that has not ended."""
        query = (
            "WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM cells WHERE cells.grouped = groups.id "
            "AND cells.state IN ('waiting', 'queued'))"
        )
        return self._groups(query, ())

    def set(self, group: str, *, state: str, sentence: str = "", ended: float | None = None, only: str = "") -> bool:
        """Change a group's state, but where it is not the `only` one; returns whether that was done."""
        query = "UPDATE groups SET state = ?, sentence = ?, ended = ? WHERE id = ? AND (? = '' OR state = ?)"
        with self._database.write() as connection:
            return bool(connection.execute(query, (state, sentence, ended, group, only, only)).rowcount)

    def cancel(self, group: str, now: float) -> None:
        """End a group and its cells that wait."""
        with self._database.write() as connection:
            connection.execute("UPDATE groups SET state = 'cancelled', ended = ? WHERE id = ?", (now, group))
            connection.execute(
                "UPDATE cells SET state = 'cancelled', sentence = ? WHERE grouped = ? AND state = 'waiting'", (CANCELLED, group)
            )

    def resume(self, group: str) -> int:
        """Let the cells without a picture wait again, and the group run; returns how many cells those are."""
        with self._database.write() as connection:
            made = connection.execute(
                "UPDATE cells SET state = 'waiting', job = NULL, sentence = '' WHERE grouped = ? AND picture IS NULL "
                "AND state != 'queued'", (group,),
            )  # fmt: skip
            connection.execute("UPDATE groups SET state = 'running', sentence = '', ended = NULL WHERE id = ?", (group,))
        return made.rowcount

    def missing(self, group: str) -> int:
        """How many cells have no picture."""
        row = self._database.one("SELECT COUNT(*) FROM cells WHERE grouped = ? AND picture IS NULL", (group,))
        return 0 if row is None else int(row[0])

    def forget_old(self, now: float) -> None:
        """Delete groups that ended long ago."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM groups WHERE ended < ?", (now - KEPT_SECONDS,))

    def _groups(self, where: str, values: tuple[str | int, ...]) -> list[Group]:
        query = (
            "SELECT id, user, script, kind, layout, state, sentence, grid, created, ended, "
            "(SELECT COUNT(*) FROM cells WHERE grouped = groups.id AND cells.state NOT IN ('waiting', 'queued')) AS done, "
            f"(SELECT COUNT(*) FROM cells WHERE grouped = groups.id) AS 'of' FROM groups {where}"
        )
        return [_group(row) for row in self._database.all(query, values)]


def _group(row: Row) -> Group:
    plain = {name: row[name] for name in row.keys()}  # noqa: SIM118  a Row iterates over its values
    return Group(**plain | {"layout": Layout.from_dict(json.loads(row["layout"]))})


def _outcome(row: Row) -> tuple[str, str | None, str]:
    """The state, picture and sentence of a cell whose job has ended."""
    if row["picture"] is not None:
        return "done", row["picture"], ""
    if row["state"] is None:
        return "failed", None, LOST
    if row["state"] == "failed":
        return "failed", None, row["sentence"]
    return "cancelled", None, SKIPPED if row["state"] == "done" else CANCELLED


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
