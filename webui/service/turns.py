"""Whose turn it is: people take turns, whoever was served longest ago first, and each one's jobs keep their own order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol, TypeVar


class Turn(Protocol):
    """What the order of jobs depends on; `turn` is 0 for a job that never began, `place` its order among its user's."""

    @property
    def user(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def place(self) -> float: ...
    @property
    def turn(self) -> int: ...
    @property
    def created(self) -> float: ...
    @property
    def suspect(self) -> bool: ...


J = TypeVar("J", bound=Turn)


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many jobs run at once: of one user only `each` while somebody else waits. A job begins at most `attempts` times."""

    running: int = 4
    each: int = 2
    attempts: int = 3


def in_order(jobs: Sequence[J], turns: Mapping[int, int]) -> Iterator[J]:
    """Those that run, those that ran before the program was ended, then one of each user in turn, the longest unserved first.

    `turns` has the turn at which each user was last served; who never was comes first, and among those who waits longest.
    """
    began = sorted((job for job in jobs if job.turn), key=lambda job: job.turn)
    yield from (job for job in began if job.state == "running")
    yield from (job for job in began if job.state == "queued")
    lanes: dict[int, list[J]] = defaultdict(list)
    for job in sorted((job for job in jobs if not job.turn), key=lambda job: (job.place, job.created)):
        lanes[job.user].append(job)
    oldest = {user: min(job.created for job in lane) for user, lane in lanes.items()}
    users = sorted(lanes, key=lambda user: (turns.get(user, 0), oldest[user], user))
    for each in zip_longest(*(lanes[user] for user in users)):
        yield from (job for job in each if job is not None)


def following(ordered: Sequence[J], slots: Slots) -> J | None:
    """Which of the jobs, in their order, may begin now.

    A suspect runs alone, so that if the program is killed again, it is known which job it was.
    """
    running = [job for job in ordered if job.state == "running"]
    queued = [job for job in ordered if job.state == "queued"]
    if len(running) >= slots.running or any(job.suspect for job in running):
        return None
    for job in queued:
        if job.suspect:
            return None if running else job
        someone_waits = any(other.user != job.user for other in queued)
        if not someone_waits or sum(other.user == job.user for other in running) < slots.each:
            return job
    return None
