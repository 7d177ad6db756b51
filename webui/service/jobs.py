"""Jobs as rows: their states, their order, and what happened to them. No threads, no engine.

A job is queued, running, and at last done, failed, cancelled or interrupted. Every change and the event that tells of it are one
transaction, and the event is told after it: who looks up what was told finds it.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from sqlite3 import Connection, Row
from typing import Any

from webui.errors import UserError
from webui.service.broadcast import Broadcast, Event
from webui.service.database import Database
from webui.service.turns import Slots, following, in_order

Clock = Callable[[], float]
ENDS = {"finished": "done", "failed": "failed", "cancelled": "cancelled", "interrupted": "interrupted"}  # event: state
SETTLES = ("picture", "skipped", "map")
KEPT_SECONDS = 90 * 86400.0  # jobs that ended longer ago are forgotten; their pictures stay
GOES_ON = "The program was ended while this job ran; it goes on, and keeps the pictures that were finished."
GIVEN_UP = (
    "The program was ended {times} times while this job ran, so it is not tried again by itself. Retry it if you like; if that "
    "ends the program too, try a smaller picture or another model."
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row of the table `jobs`; `request` is the resolved request as plain data, `grouped` the group it belongs to, if any."""

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
    grouped: str = ""

    @property
    def open(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("queued", "running")

    @property
    def again(self) -> bool:
        """Whether it has to begin, or began, once more because the program was ended."""
        return self.open and self.sentence == GOES_ON

    @property
    def suspect(self) -> bool:
        """Whether the program was killed while it ran, perhaps by this very job: it is tried again alone."""
        return self.attempts > (1 if self.state == "running" else 0)


class Change:
    """A transaction on jobs, and the events to tell once it is kept."""

    def __init__(self, connection: Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.told: list[tuple[int, Event]] = []
        self.changed: set[str] = set()

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
        self.changed.add(job.id)

    def add(self, job: Job) -> None:
        """Write a new job."""
        row = vars(job) | {"request": json.dumps(job.request, ensure_ascii=False)}
        marks = ", ".join("?" for _ in row)
        self.connection.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        self.changed.add(job.id)


Also = Callable[[Connection, Job], None]
"""Something else that is written when a job is."""


class Jobs:
    """All jobs. Safe from any thread: changes happen one after the other, and are told in their order.

    Those that have not ended are held in memory too, so that looking at the queue waits for no disk.
    """

    def __init__(self, database: Database, clock: Clock, broadcast: Broadcast) -> None:
        self._database = database
        self._clock = clock
        self._broadcast = broadcast
        self._turn = threading.RLock()  # held through every change; the database's own is taken inside it
        query = "SELECT user, MAX(turn) AS last FROM jobs GROUP BY user"
        self._turns: dict[int, int] = {row["user"]: row["last"] for row in database.all(query)}
        rows = database.all("SELECT * FROM jobs WHERE state IN ('queued', 'running')")
        self._open: dict[str, Job] = {row["id"]: _job(row) for row in rows}
        self._ordered: tuple[Job, ...] | None = None
        self.version = 0  # rises with every change of a job
        self._listeners: tuple[Callable[[], None], ...] = ()

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Change jobs in one transaction; its events are told when it is kept, before anybody changes them again."""
        with self._turn:
            with self._database.write() as connection:
                change = Change(connection, self._clock())
                yield change
            for name in change.changed:
                self._take_up(name)
            for user, event in change.told:
                self._broadcast.tell(user, event)
            for listener in self._listeners:
                listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, in the thread that made it; it must not block."""
        self._listeners = (*self._listeners, listener)

    def _take_up(self, name: str) -> None:
        row = self._database.one("SELECT * FROM jobs WHERE id = ?", (name,))
        self._open.pop(name, None)
        self._ordered = None
        self.version += 1
        if row is not None:
            job = _job(row)
            self._turns[job.user] = max(self._turns.get(job.user, 0), job.turn)
            if job.open:
                self._open[name] = job

    # Reading.

    def get(self, job: str) -> Job | None:
        """A job, whatever its state."""
        found = self._open.get(job)
        if found is None:
            row = self._database.one("SELECT * FROM jobs WHERE id = ?", (job,))
            found = None if row is None else _job(row)
        return found

    def in_order(self) -> tuple[Job, ...]:
        """All jobs that have not ended: those that run, then the others in the order in which they will begin."""
        ordered = self._ordered
        if ordered is None:
            with self._turn:
                ordered = self._ordered = tuple(in_order(list(self._open.values()), self._turns))
        return ordered

    def events(self, job: str, after: int = 0) -> list[Event]:
        """The kept events of a job, later than number `after`."""
        query = "SELECT number, kind, data FROM events WHERE job = ? AND number > ? ORDER BY number"
        rows = self._database.all(query, (job, after))
        return [{"job": job, "number": row["number"], "kind": row["kind"], **json.loads(row["data"])} for row in rows]

    def settled(self, job: str) -> dict[int, Event]:
        """The pictures of a job that need not be made any more, and the event that says why: it is there, or was skipped."""
        return {event["picture"]: event for event in self.events(job) if event["kind"] in SETTLES}

    def counts(self, jobs: Sequence[str]) -> dict[str, tuple[int, int]]:
        """How many pictures of each job there are, and the number of its newest event."""
        marks = ", ".join("?" for _ in jobs)
        query = f"SELECT job, SUM(kind = 'picture'), MAX(number) FROM events WHERE job IN ({marks}) GROUP BY job"
        return {row[0]: (row[1], row[2]) for row in self._database.all(query, tuple(jobs))}

    # Changing.

    def add(
        self, user: int, kind: str, request: Mapping[str, Any], pictures: int, *, grouped: str = "", also: Also | None = None
    ) -> Job:
        """Queue a job behind the others of its user; `also` is done in the same transaction."""
        with self.change() as change:
            place = max((job.place for job in self._open.values() if job.user == user), default=0.0) + 1
            job = Job(
                id=secrets.token_hex(8), user=user, kind=kind, request=request, state="queued", place=place, pictures=pictures,
                attempts=0, turn=0, created=change.now, started=None, ended=None, sentence="", error="", grouped=grouped,
            )  # fmt: skip
            change.add(job)
            if also is not None:
                also(change.connection, job)
            turns = [other.id for other in in_order([*self._open.values(), job], self._turns)]
            change.event(job, "queued", ahead=turns.index(job.id))
        return job

    def claim(self, slots: Slots) -> Job | None:
        """Begin the job whose turn it is, if there is room for it: from now on it runs."""
        with self._turn:
            job = following(self.in_order(), slots)
            if job is None:
                return None
            with self.change() as change:
                turn = max(self._turns.values(), default=0) + 1
                change.set(job, state="running", attempts=job.attempts + 1, turn=turn, started=change.now)
                change.event(job, "started", pictures=job.pictures)
            return self._open[job.id]

    def end(self, job: Job, kind: str, **data: Any) -> None:
        """End a job by its last event; one that has ended already stays as it is."""
        with self._turn:
            if job.id in self._open:
                with self.change() as change:
                    values = {"sentence": data.get("sentence", ""), "error": data.get("error", "")}
                    change.set(job, state=ENDS[kind], ended=change.now, **values)
                    change.event(job, kind, **data)

    def complete(self, job: Job, request: Mapping[str, Any]) -> None:
        """Give a job its request with what had been left open when it was submitted."""
        with self.change() as change:
            change.set(job, request=json.dumps(request, ensure_ascii=False))

    def put_back(self, job: Job) -> None:
        """Queue a running job again because the program ends in good order."""
        with self.change() as change:
            change.set(job, state="queued", attempts=max(self._open[job.id].attempts - 1, 0), sentence=GOES_ON)
            change.event(job, "requeued", sentence=GOES_ON)

    def recover(self, slots: Slots) -> None:
        """Queue again what ran when the program was killed; a job that was there each time is given up."""
        for job in [job for job in self.in_order() if job.state == "running"]:
            if job.attempts >= slots.attempts:
                self.end(job, "failed", sentence=GIVEN_UP.format(times=job.attempts), error="")
                continue
            with self.change() as change:
                change.set(job, state="queued", sentence=GOES_ON)
                change.event(job, "requeued", sentence=GOES_ON)

    def forget_old(self) -> None:
        """Delete jobs that ended long ago."""
        with self.change() as change:
            old = change.now - KEPT_SECONDS
            change.connection.execute("DELETE FROM jobs WHERE state NOT IN ('queued', 'running') AND ended < ?", (old,))

    def move(self, job: Job, before: Job | None) -> None:
        """Put a waiting job of a user before another of theirs, or behind all; `UserError` where that cannot be."""
        if before is not None and before.id == job.id:
            return
        with self._turn:
            for each in (job, *(() if before is None else (before,))):
                if each.user != job.user:
                    raise UserError("A job can be moved among those of the same person only.")
                present = self._open.get(each.id)
                if present is None or present.state != "queued" or present.turn:
                    raise UserError("Only jobs that have not begun can be moved, and nothing can be put before one that has.")
            own = [each for each in self._open.values() if each.user == job.user and each.state == "queued"]
            waiting = sorted((each for each in own if each.id != job.id), key=lambda each: each.place)
            at = next((n for n, each in enumerate(waiting) if before is not None and each.id == before.id), len(waiting))
            with self.change() as change:
                for place, each in enumerate([*waiting[:at], job, *waiting[at:]]):
                    change.set(each, place=place + 1.0)


def _job(row: Row) -> Job:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118  a Row iterates over its values
    return Job(**values | {"request": json.loads(row["request"])})
