"""The engine: many jobs' generations, one loop that answers their asks with few network calls.

`submit`, `events`, `interrupt`, `skip`, `cancel`, `forget` and `close` are safe from any thread and wait for no network call. One
thread runs the loop; each turn (`step`) begins at most one call, and people's wishes are read at its beginning: after an
interrupt at most one more call begins. Only a generator that never comes back from its own code can hold the loop up.
"""

from __future__ import annotations

import logging
import operator
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from webui.engine import events
from webui.engine.driving import Driver, PreviewOf
from webui.engine.faults import ends_the_program
from webui.engine.jobs import Job, Source, Wishes, first_eligible
from webui.engine.limits import USUAL, Limits
from webui.engine.log import EventStream
from webui.engine.modes import modes_kept
from webui.engine.networks import Networks
from webui.engine.work import Work
from webui.errors import JobError, UserError
from webui.request import Request

__all__ = ["Engine", "Limits", "Start"]

LOGGER = logging.getLogger(__name__)
EXIT_SECONDS = 30.0  # that the end of the program waits for the call the engine is in
Start = Callable[[Request], Sequence[Source]]


class Engine:
    """Runs jobs. `start(request)` gives one fresh generation per picture; `networks` answers their asks.

    With `thread=False` nothing runs by itself: call `step` until it returns False.
    """

    def __init__(
        self, start: Start, networks: Networks, *,
        preview: PreviewOf | None = None, limits: Limits = USUAL,
        clock: Callable[[], float] = time.monotonic, thread: bool = True,
    ) -> None:
        self.limits = limits
        self._start = start
        self._clock = clock
        self._driver = Driver(clock=clock, preview=preview, previews_per_second=limits.previews_per_second)
        self._work = Work(networks, self._driver, limits)
        self._changed = threading.Condition()  # guards what follows
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, Job] = {}
        self._wished: dict[Job, Wishes] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True) if thread else None
        if self._thread is not None:
            self._thread.start()
            self._at_exit = weakref.finalize(self, end_in_order, weakref.ref(self))  # at the latest when the program ends

    @property
    def calls(self) -> int:
        """How many network calls for rows have begun."""
        return self._work.calls

    # The interface: from any thread.

    def submit(self, request: Request) -> str:
        """Queue a request and return the id of its job."""
        job = Job(id=uuid.uuid4().hex[:12], request=request)
        with self._changed:
            if self._closing:
                raise JobError("The engine is closed and takes no more jobs.")
            job.log.add(events.Queued(job=job.id, ahead=len(self._open)))
            self._jobs[job.id] = self._open[job.id] = job
            self._changed.notify_all()
        return job.id

    def events(self, job: str, *, previews: bool = False) -> EventStream:
        """A stream of the job's events from the beginning; `UserError` if there is no such job."""
        return EventStream(self._job(job).log, previews)

    def interrupt(self, job: str) -> None:
        """End a job with the pictures as they are now; those not begun are not made."""
        with self._wishes(job) as wishes:
            wishes.interrupt = True

    def skip(self, job: str, picture: int | None = None) -> None:
        """Drop one picture, begun or not, or those being made now, and go on with the rest of the job."""
        number = None if picture is None else operator.index(picture)
        with self._wishes(job) as wishes:
            if number is None:
                wishes.skip_running = True
            else:
                wishes.skip.add(number)

    def cancel(self, job: str) -> None:
        """Discard a job."""
        with self._wishes(job) as wishes:
            wishes.cancel = True

    def forget(self, job: str) -> None:
        """Let an ended job's events and pictures go, once they are safe elsewhere; a job that has not ended stays."""
        with self._changed:
            if job in self._jobs and self._jobs[job].ended:
                del self._jobs[job]

    def close(self) -> None:
        """Take no more jobs and end the loop after the call it is in, which cancels the jobs that have not ended.

        It does not wait for that; `join` does.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        if self._thread is None:
            self._end_left()

    def abandon(self) -> None:
        """Close it for good, and have nobody wait for it: its thread is held up in code that may never come back."""
        self.close()
        if self._thread is not None:
            self._at_exit.detach()

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the loop has ended after `close`; False if it has not within `timeout` seconds."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
        self.join()

    def _job(self, job: str) -> Job:
        with self._changed:
            if job not in self._jobs:
                raise UserError(f"There is no job {job!r} (any more).")
            return self._jobs[job]

    @contextmanager
    def _wishes(self, job: str) -> Iterator[Wishes]:
        wanted = self._job(job)
        with self._changed:
            yield Wishes() if wanted.ended else self._wished.setdefault(wanted, Wishes())
            self._changed.notify_all()

    # The loop: one thread.

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (self._closing or self._wished or self._open):
                    self._changed.wait()
                if self._closing:
                    break
            try:
                self.step()
            except BaseException as error:
                LOGGER.exception("The engine's loop failed.")
                self._fail_all(error)
        self._end_left()

    def step(self) -> bool:
        """Do one piece of work: hear wishes, then begin a picture, answer an ask or make a call. False if there was none."""
        self._hear()
        did = self._admit() or self._work.turn()
        self._sweep()
        return did

    def _hear(self) -> None:
        with self._changed:
            wished = list(self._wished.items())
            self._wished.clear()
        for job, wishes in wished:
            if not job.ended:
                self._grant(job, wishes)
        self._sweep()

    def _grant(self, job: Job, wishes: Wishes) -> None:
        if wishes.cancel:
            self._driver.end(job, events.Cancelled(job=job.id))
            return
        job.skip |= {number for number in wishes.skip if 0 <= number < job.request.count}
        self._driver.skip_waiting(job)
        if wishes.interrupt:
            job.interrupted = job.prepared = True
            job.sources.clear()
        for generation in list(job.running):
            if wishes.skip_running or generation.index in job.skip:
                self._driver.skip(generation)
            elif wishes.interrupt:
                self._driver.interrupt(generation)
        self._driver.end_if_done(job)

    def _admit(self) -> bool:
        """Begin one more job or picture where there is room."""
        if len(self._work.running) >= self.limits.running:
            return False
        with self._changed:
            job = first_eligible(self._open.values(), self.limits.each)
        if job is None:
            return False
        if job.prepared:
            self._work.begin(job, *job.sources.popleft())
        else:
            self._prepare(job)
        return True

    def _prepare(self, job: Job) -> None:
        job.prepared = True
        job.began = self._clock()
        try:
            with modes_kept():
                job.sources.extend(enumerate(self._start(job.request)))
        except BaseException as error:
            if ends_the_program(error):
                raise
            self._driver.fail(job, error)
            return
        job.log.add(events.Started(job=job.id, pictures=len(job.sources)))
        self._driver.skip_waiting(job)
        self._driver.end_if_done(job)

    def _sweep(self) -> None:
        """Take what has ended out of the queue."""
        self._work.sweep()
        if not self._driver.ended:
            return
        with self._changed:
            for job in self._driver.ended:
                self._open.pop(job.id, None)
            self._driver.ended.clear()
            self._drop_read()

    def _drop_read(self) -> None:
        read = [name for name, job in self._jobs.items() if job.log.read_to_end]
        for name in read[: max(len(read) - self.limits.keep, 0)]:
            del self._jobs[name]

    def _fail_all(self, error: BaseException) -> None:
        """The last resort where the loop itself fails: every open job is told, and the next one finds the engine empty."""
        with self._changed:
            left = list(self._open.values())
        for job in left:
            self._driver.fail(job, error)
        self._work.drop()
        self._sweep()

    def _end_left(self) -> None:
        with self._changed:
            left = list(self._open.values())
            self._wished.clear()
        for job in left:
            self._driver.end(job, events.Cancelled(job=job.id))
        self._sweep()


def end_in_order(engine: weakref.ref[Engine]) -> None:
    """Close an engine that the end of the program finds running: a thread killed within a network call aborts the process."""
    running = engine()
    if running is not None:
        running.close()
        running.join(EXIT_SECONDS)
