"""Which extension is at work, in which thread and since when: for time limits, and for the mark of who ended the program."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from webui.service.extension_mark import NOWHERE, Mark, said

LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # between two looks at who is at work for too long


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Seconds that a hook may take: while an extension is loaded or the page asks it, and in one go while pictures are made.

    `trial` is for the first import of new code in another process.
    """

    page: float = 10.0
    job: float = 30.0
    trial: float = 10.0


LIMITS = Limits()


@dataclass(kw_only=True, eq=False)
class Entry:
    """A hook at work: whose, since when, for which job (whatever that is named by), and `outer`, within which it was called."""

    owner: str
    hook: str
    since: float
    limit: float
    job: object
    outer: Entry | None
    thread: int = 0
    place: int = NOWHERE
    told: bool = False


Stuck = Callable[[Entry], None]


class _During(Generator[Any, Any, Any]):
    """A generator that says for which job its thread works while it runs."""

    def __init__(self, jobs: dict[int, object], job: object, source: Generator[Any, Any, Any]) -> None:
        self._jobs = jobs
        self._job = job
        self._source = source

    def send(self, value: Any) -> Any:
        """Resume it with an answer."""
        with self._working():
            return self._source.send(value)

    def throw(self, error: Any, *more: Any) -> Any:
        """Resume it with an error."""
        with self._working():
            return self._source.throw(error, *more)

    def close(self) -> None:
        """End it."""
        with self._working():
            self._source.close()

    @contextmanager
    def _working(self) -> Iterator[None]:
        thread = threading.get_ident()
        before = self._jobs.get(thread)
        self._jobs[thread] = self._job
        try:
            yield
        finally:
            self._jobs[thread] = before


class Watch:
    """Knows what is at work. `begin` and `end` are called in the thread that does the work, and cost about a microsecond."""

    def __init__(self, *, limits: Limits = LIMITS, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.clock = clock
        self.mark: Mark | None = None
        self.listeners: list[Stuck] = []  # told of hooks in jobs that are past their limit
        self._running: dict[int, Entry] = {}  # by thread
        self._jobs: dict[int, object] = {}
        self._ended = threading.Event()

    def begin(self, owner: str, hook: str, limit: float = math.inf, job: object = None) -> Entry:
        """A hook begins; past `limit` seconds its job is over. `job` is the thread's own, if not told."""
        thread = threading.get_ident()
        outer = self._running.get(thread)
        job = self._jobs.get(thread) if job is None else job
        entry = Entry(owner=owner, hook=hook, since=self.clock(), limit=limit, job=job, outer=outer, thread=thread)
        mark = self.mark
        if mark is not None:
            if outer is None:
                entry.place = mark.begin(said(owner, hook))
            else:
                entry.place = outer.place
                mark.write(entry.place, said(owner, hook))
        self._running[thread] = entry
        return entry

    def end(self, entry: Entry) -> None:
        """A hook is done; what it took is not counted as the time of the one that it was called in."""
        thread, outer = threading.get_ident(), entry.outer
        mark = self.mark
        if outer is None:
            self._running.pop(thread, None)
            if mark is not None:
                mark.end(entry.place)
        else:
            outer.since += self.clock() - entry.since
            self._running[thread] = outer
            if mark is not None:
                mark.write(outer.place, said(outer.owner, outer.hook))

    def job(self) -> object:
        """The job that this thread works for, None for none."""
        return self._jobs.get(threading.get_ident())

    def during(self, job: object, source: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator; while it runs, its thread works for `job`."""
        return _During(self._jobs, job, source)

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """While the program does something for a hook that may take long, such as reading a file, no time is counted."""
        entry = self._running.get(threading.get_ident())
        if entry is None:
            yield
            return
        before, entry.since = entry.since, math.inf
        began = self.clock()
        try:
            yield
        finally:
            entry.since = before + (self.clock() - began)

    def left(self, entry: Entry, limit: float) -> float:
        """The seconds until an entry has taken `limit`."""
        since = entry.since
        return limit if since == math.inf else since + limit - self.clock()

    def at_work(self) -> list[Entry]:
        """The hooks that are at work now."""
        return list(self._running.values())

    def look(self) -> list[Entry]:
        """The hooks that are past their limit since the last look; whoever listens is told of each."""
        now = self.clock()
        found = [each for each in self.at_work() if not each.told and now - each.since > each.limit]
        for entry in found:
            entry.told = True
            LOG.error("The extension %s has been in %s for more than %s seconds.", entry.owner, entry.hook, entry.limit)
            for listener in list(self.listeners):
                listener(entry)
        return found

    def start(self) -> None:
        """Look from now on, in a thread."""
        threading.Thread(target=self._loop, name="watches extensions", daemon=True).start()

    def close(self) -> None:
        """Look no more; what still runs leaves no mark."""
        self._ended.set()
        mark, self.mark = self.mark, None
        if mark is not None:
            mark.clear()

    def _loop(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                LOG.exception("The watch over extensions stumbled, and goes on.")
