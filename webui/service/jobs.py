"""Jobs as rows: their states, their order, and what happened to them. No threads, no engine.

A job is queued, running, and at last done, failed, cancelled or interrupted. Every change and the event that tells of it are one
transaction, and the event is told after it: who looks up what was told finds it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from sqlite3 import Connection, Row
from typing import Any

from webui.service.broadcast import Broadcast, Event
from webui.service.database import Database

Clock = Callable[[], float]
OPEN = ("queued", "running")
ENDS = {"finished": "done", "failed": "failed", "cancelled": "cancelled", "interrupted": "interrupted"}  # event: state
GOES_ON = "The program was ended while this job ran; it begins again, and keeps the pictures that were finished."
CRASHED = "The program ended {times} times while this job ran, so it is not tried again; the log may say why. Retry it if you like."


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the table `jobs`; `request` is the resolved request as plain data."""

    id: str
    user: int
    kind: str
    request: Mapping[str, Any]
    state: str
    place: float
    pictures: int
    attempts: int
    turn: int
    created: float
    started: float | None
    ended: float | None
    sentence: str
    error: str

    @property
    def suspect(self) -> bool:
        """Whether the program was killed while it ran, perhaps by this job: it is tried again alone."""
        return self.attempts > (1 if self.state == "running" else 0)


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many jobs run at once: of one user only `each` while somebody else waits. A job begins at most `attempts` times."""

    running: int = 4
    each: int = 2
    attempts: int = 3


class Change:
    """A transaction on jobs, and the events to tell once it is kept."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.told: list[tuple[int, Event]] = []

    def event(self, job: Job, kind: str, **data: Any) -> None:
        """Keep an event of a job."""
        last = self.connection.execute("SELECT MAX(number) FROM events WHERE job = ?", (job.id,)).fetchone()[0]
        number = (last or 0) + 1
        row = (job.id, number, kind, json.dumps(data, ensure_ascii=False), self.now)
        self.connection.execute("INSERT INTO events (job, number, kind, data, at) VALUES (?, ?, ?, ?, ?)", row)
        self.told.append((job.user, {"job": job.id, "number": number, "kind": kind, **data}))

    def set(self, job: Job, **values: Any) -> None:
        """Change columns of a job."""
        names = ", ".join(f"{name} = ?" for name in values)
        self.connection.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*values.values(), job.id))


class Jobs:
    """All jobs. Safe from any thread: changes happen one after the other, and are told in their order."""

    def __init__(self, database: Database, clock: Clock, broadcast: Broadcast) -> None:
        self._database = database
        self._clock = clock
        self._broadcast = broadcast
        self._turn = threading.RLock()
        self._ordered: tuple[int, tuple[Job, ...]] = (-1, ())

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Change jobs in one transaction; its events are told when it is kept, before anybody changes them again."""
        with self._turn:
            with self._database.write() as connection:
                change = Change(connection, self._clock())
                yield change
            for user, event in change.told:
                self._broadcast.tell(user, event)

    # Reading.

    def get(self, job: str) -> Job | None:
        """A job, whatever its state."""
        row = self._database.one("SELECT * FROM jobs WHERE id = ?", (job,))
        return None if row is None else _job(row)

    def in_order(self) -> tuple[Job, ...]:
        """All jobs that have not ended: those that run, then the others in the order in which they will begin."""
        seen = self._database.changes
        if self._ordered[0] != seen:
            rows = self._database.all("SELECT * FROM jobs WHERE state IN ('queued', 'running') ORDER BY turn, place, created")
            users = {row["user"] for row in rows}
            turns = {user: self._last_turn(user) for user in users}
            self._ordered = seen, tuple(_in_order([_job(row) for row in rows], turns))
        return self._ordered[1]

    def waiting(self, user: int) -> int:
        """How many jobs of a user have not ended."""
        return sum(job.user == user for job in self.in_order())

    def events(self, job: str, after: int = 0) -> list[Event]:
        """The kept events of a job, later than number `after`."""
        query = "SELECT number, kind, data FROM events WHERE job = ? AND number > ? ORDER BY number"
        rows = self._database.all(query, (job, after))
        return [{"job": job, "number": row["number"], "kind": row["kind"], **json.loads(row["data"])} for row in rows]

    def last_event(self, job: str) -> int:
        """The number of the newest kept event of a job."""
        row = self._database.one("SELECT MAX(number) FROM events WHERE job = ?", (job,))
        return 0 if row is None else row[0] or 0

    def saved(self, job: str) -> set[int]:
        """Which pictures of a job there are, by their numbers in it."""
        return {row[0] for row in self._database.all("SELECT place FROM pictures WHERE job = ?", (job,))}

    def skipped(self, job: str) -> set[int]:
        """Which pictures of a job were skipped."""
        return {event["picture"] for event in self.events(job) if event["kind"] == "skipped"}

    # Changing.

    def add(self, user: int, kind: str, request: Mapping[str, Any], pictures: int) -> Job:
        """Queue a job behind the others of its user."""
        ahead = len(self.in_order())
        with self.change() as change:
            last = change.connection.execute("SELECT MAX(place) FROM jobs WHERE user = ? AND state = 'queued'", (user,)).fetchone()
            row = (secrets.token_hex(8), user, kind, json.dumps(request, ensure_ascii=False), (last[0] or 0.0) + 1, pictures, change.now)
            change.connection.execute(
                "INSERT INTO jobs (id, user, kind, request, state, place, pictures, created) VALUES (?, ?, ?, ?, 'queued', ?, ?, ?)", row
            )
            job = _job(change.connection.execute("SELECT * FROM jobs WHERE id = ?", (row[0],)).fetchone())
            change.event(job, "queued", ahead=ahead)
        return job

    def claim(self, slots: Slots) -> Job | None:
        """Begin the job whose turn it is, if there is room for it: from now on it runs."""
        with self.change() as change:
            job = _next(self.in_order(), slots)
            if job is None:
                return None
            turn = change.connection.execute("SELECT MAX(turn) FROM jobs").fetchone()[0] or 0
            change.set(job, state="running", attempts=job.attempts + 1, turn=turn + 1, started=change.now)
            change.event(job, "started", pictures=job.pictures)
        return self.get(job.id)

    def end(self, job: Job, kind: str, **data: Any) -> None:
        """End a job by its last event; one that has ended already stays as it is."""
        with self.change() as change:
            state = change.connection.execute("SELECT state FROM jobs WHERE id = ?", (job.id,)).fetchone()
            if state is None or state[0] not in OPEN:
                return
            values = {"sentence": data.get("sentence", ""), "error": data.get("error", "")}
            change.set(job, state=ENDS[kind], ended=change.now, **values)
            change.event(job, kind, **data)

    def note(self, job: Job, kind: str, **data: Any) -> None:
        """Keep an event that changes no state."""
        with self.change() as change:
            change.event(job, kind, **data)

    def put_back(self, job: Job) -> None:
        """Queue a running job again because the program ends in good order."""
        with self.change() as change:
            change.set(job, state="queued", attempts=max(job.attempts - 1, 0), sentence=GOES_ON)
            change.event(job, "requeued", sentence=GOES_ON)

    def recover(self, slots: Slots) -> None:
        """Queue again what ran when the program was killed; a job that was there each time is given up."""
        for row in self._database.all("SELECT * FROM jobs WHERE state = 'running'"):
            job = _job(row)
            if job.attempts >= slots.attempts:
                self.end(job, "failed", sentence=CRASHED.format(times=job.attempts), error="")
                continue
            with self.change() as change:
                change.set(job, state="queued", sentence=GOES_ON)
                change.event(job, "requeued", sentence=GOES_ON)

    def move(self, job: Job, before: Job | None) -> None:
        """Put a waiting job of a user before another of theirs, or behind all."""
        with self.change() as change:
            query = "SELECT id FROM jobs WHERE user = ? AND state = 'queued' AND id != ? ORDER BY place, created"
            others = [row[0] for row in change.connection.execute(query, (job.user, job.id))]
            at = len(others) if before is None or before.id not in others else others.index(before.id)
            order = [*others[:at], job.id, *others[at:]]
            change.connection.executemany("UPDATE jobs SET place = ? WHERE id = ?", [(n + 1.0, name) for n, name in enumerate(order)])

    def _last_turn(self, user: int) -> int:
        row = self._database.one("SELECT MAX(turn) FROM jobs WHERE user = ?", (user,))
        return 0 if row is None else row[0] or 0


def _job(row: Row) -> Job:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118  a Row iterates over its values
    return Job(**values | {"request": json.loads(row["request"])})


def _in_order(jobs: Sequence[Job], turns: Mapping[int, int]) -> Iterator[Job]:
    """Those that run, those that ran, then one of each user in turn, beginning with whom was served longest ago."""
    yield from (job for job in jobs if job.state == "running")
    queued = [job for job in jobs if job.state == "queued"]
    yield from (job for job in queued if job.turn)
    fresh = [job for job in queued if not job.turn]
    users = sorted({job.user for job in fresh}, key=lambda user: (turns[user], min(job.created for job in fresh if job.user == user)))
    lanes = [sorted((job for job in fresh if job.user == user), key=lambda job: (job.place, job.created)) for user in users]
    for each in zip_longest(*lanes):
        yield from (job for job in each if job is not None)


def _next(jobs: Collection[Job], slots: Slots) -> Job | None:
    """The job that may begin now."""
    running = [job for job in jobs if job.state == "running"]
    queued = [job for job in jobs if job.state == "queued"]
    if not queued or len(running) >= slots.running or any(job.suspect for job in running):
        return None
    if queued[0].suspect:
        return None if running else queued[0]
    for job in queued:
        others = any(other.user != job.user for other in queued)
        if not others or sum(other.user == job.user for other in running) < slots.each:
            return job
    return None
