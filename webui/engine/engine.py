"""The engine: many jobs' generations, one loop that answers their asks with few network calls.

`submit`, `events`, `interrupt`, `skip`, `cancel`, `forget` and `close` are safe from any thread. One thread runs the loop; each
turn (`step`) makes at most one call, and people's wishes are read at its beginning: after an interrupt at most one more call
begins.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import torch

from webui.engine import events
from webui.engine.batching import PATIENCE, ROW_COUNTS, Waiting, choose, divide
from webui.engine.calls import Outcome, carry_out
from webui.engine.driving import Driver, PreviewOf
from webui.engine.jobs import Generation, Job, Source, Wishes, first_eligible
from webui.engine.log import EventStream
from webui.engine.networks import Networks, out_of_memory
from webui.errors import JobError, NotANumber, OutOfMemory, UserError
from webui.pipeline.protocol import Ask, Call, Decode, Encode, EncodePicture, Gradient, Read, Rows
from webui.request import Request

LOGGER = logging.getLogger(__name__)
Start = Callable[[Request], Sequence[Source]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much the engine does at once.

    At most `running` pictures, `each` of one job; calls of at most `counts[-1]` rows; `in_flight` calls before the first is
    waited for (more than 1 only pays where the device works beside the host). Rows wait at most `patience` calls for others that
    need no swap. `keep` ended jobs whose last event was read stay readable; unread ones stay until they are forgotten.
    """

    running: int = 8
    each: int = 4
    counts: tuple[int, ...] = ROW_COUNTS
    in_flight: int = 1
    patience: int = PATIENCE
    previews_per_second: float = 8.0
    keep: int = 64


class Engine:
    """Runs jobs. `start(request)` gives one fresh generation per picture; `networks` answers their asks.

    With `thread=False` nothing runs by itself: call `step` until it returns False.
    """

    def __init__(
        self, start: Start, networks: Networks, *,
        preview: PreviewOf | None = None, limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic, thread: bool = True,
    ) -> None:
        self.limits = limits
        self.calls = 0  # network calls for rows begun so far
        self._start = start
        self._networks = networks
        self._clock = clock
        self._driver = Driver(clock=clock, preview=preview, previews_per_second=limits.previews_per_second)
        self._changed = threading.Condition()  # guards what follows, up to the empty line
        self._jobs: dict[str, Job] = {}
        self._open: dict[str, Job] = {}
        self._ended: deque[str] = deque()
        self._wished: dict[Job, Wishes] = {}
        self._closing = False

        self._running: list[Generation] = []
        self._tickets = 0
        self._in_flight: deque[Outcome] = deque()
        self._fits: dict[Hashable, int] = {}  # rows that fitted into memory after a larger call did not
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True) if thread else None
        if self._thread is not None:
            self._thread.start()

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
        """Drop one picture, or those being made now, and go on with the rest of the job."""
        with self._wishes(job) as wishes:
            if picture is None:
                wishes.skip_running = True
            else:
                wishes.skip.add(picture)

    def cancel(self, job: str) -> None:
        """Discard a job."""
        with self._wishes(job) as wishes:
            wishes.cancel = True

    def forget(self, job: str) -> None:
        """Let an ended job's events and pictures go, once they are safe elsewhere; a job that has not ended stays."""
        with self._changed:
            if job in self._jobs and job not in self._open:
                del self._jobs[job]

    def close(self) -> None:
        """End the loop after the call it is in; jobs that have not ended are cancelled."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._changed:
            left = list(self._open.values())
        for job in left:
            self._driver.end(job, events.Cancelled(job=job.id))
        self._sweep()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _job(self, job: str) -> Job:
        with self._changed:
            if job not in self._jobs:
                raise UserError(f"There is no job {job!r} (any more).")
            return self._jobs[job]

    @contextmanager
    def _wishes(self, job: str) -> Iterator[Wishes]:
        wanted = self._job(job)
        with self._changed:
            yield self._wished.setdefault(wanted, Wishes())
            self._changed.notify_all()

    # The loop: one thread.

    def _loop(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
            try:
                busy = self.step()
            except Exception as error:
                LOGGER.exception("The engine's loop failed.")
                busy = False
                for job in list(self._open.values()):
                    self._driver.fail(job, error)
            with self._changed:
                if not busy and not self._closing and not self._wished and not self._open:
                    self._changed.wait()

    def step(self) -> bool:
        """Do one piece of work: hear wishes, begin pictures, then make one call. False if there was nothing to do."""
        self._hear()
        self._admit()
        light = next((each for each in self._running if not isinstance(each.ask, Rows)), None)
        if light is not None:
            self._answer(light)
        elif self._running:
            self._predict()
        else:
            return False
        self._sweep()
        return True

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
        self._driver.skip_waiting(job, wishes.skip)
        if wishes.interrupt:
            job.interrupted = job.prepared = True
            job.sources.clear()
        for generation in list(job.running):
            if wishes.skip_running or generation.index in wishes.skip:
                self._driver.skip(generation)
            elif wishes.interrupt:
                self._driver.interrupt(generation)
        self._driver.end_if_done(job)

    def _admit(self) -> None:
        while len(self._running) < self.limits.running:
            with self._changed:
                job = first_eligible(self._open.values(), self.limits.each)
            if job is None:
                return
            if not job.prepared:
                self._prepare(job)
            if job.sources:
                index, source = job.sources.popleft()
                generation = Generation(job=job, index=index, source=source)
                job.running.append(generation)
                self._running.append(generation)
                self._driver.begin(generation)
                self._enqueue(generation)
            self._sweep()

    def _prepare(self, job: Job) -> None:
        job.prepared = True
        job.began = self._clock()
        try:
            job.sources.extend(enumerate(self._start(job.request)))
        except Exception as error:  # noqa: BLE001  the edge of a job
            self._driver.fail(job, error)
            return
        job.pictures = len(job.sources)
        job.log.add(events.Started(job=job.id, pictures=job.pictures))
        self._driver.end_if_done(job)

    def _enqueue(self, generation: Generation) -> None:
        if generation.over or not isinstance(generation.ask, Rows):
            return
        rows = generation.ask.rows
        if not rows:
            self._send(generation, ())
            return
        self._tickets += 1
        whole = Waiting(
            generation=generation, job=generation.job, rows=rows, positions=tuple(range(len(rows))),
            ticket=self._tickets, call=self.calls, alone=generation.job.request.reproducible,
        )
        generation.parts = list(divide(whole, self.limits.counts[-1]))

    def _send(self, generation: Generation, answer: object) -> None:
        self._driver.send(generation, answer)
        self._enqueue(generation)

    def _answer(self, generation: Generation) -> None:
        """Answer an ask that is for one picture alone; where memory does not suffice, once more with all of it."""
        ask = generation.ask
        assert ask is not None
        self._settle(0)
        if generation.over:
            return
        failure: Exception
        for attempt in (1, 2):
            try:
                with torch.no_grad():
                    answer = self._carry_out(ask)
            except Exception as error:  # noqa: BLE001  the edge of a job
                failure = error.with_traceback(None) if out_of_memory(error) else error
            else:
                self._send(generation, answer)
                return
            if not out_of_memory(failure):
                break
            self._networks.free()
            if attempt == 2:
                failure = OutOfMemory("There is not enough memory to read or decode a picture of this size; use a smaller one.")
        self._driver.fail(generation.job, failure)

    def _carry_out(self, ask: Ask) -> object:
        match ask:
            case Encode():
                return self._networks.encode(ask)
            case EncodePicture():
                return self._networks.encode_picture(ask)
            case Decode():
                return self._networks.decode(ask)
            case Call():
                return self._networks.call(ask)
            case Read():
                return ask.tensor.cpu()
            case Gradient():
                with torch.enable_grad():
                    x = ask.x.detach().requires_grad_()
                    return torch.autograd.grad(ask.function(x), x)[0]
        raise AssertionError(ask)

    def _predict(self) -> None:
        """Make the next call for rows and hand its predictions to the generations they complete."""
        waiting = [part for generation in self._running for part in generation.parts]
        counts = self.limits.counts
        chosen = choose(waiting, calls=self.calls, ready=self._networks.ready, most=counts[-1], patience=self.limits.patience)
        fits = self._fits.get(chosen[0].key)
        outcomes = carry_out(chosen, self._networks, counts=counts, began=self._count, most=fits)
        self._remember(chosen[0].key, outcomes)
        for outcome in outcomes:
            if outcome.error is not None:
                self._driver.fail(outcome.waiting.job, outcome.error)
        self._in_flight.extend(outcome for outcome in outcomes if outcome.predicted is not None)
        self._settle(self.limits.in_flight - 1)
        for outcome in outcomes:
            self._hand_over(outcome.waiting.generation, outcome)

    def _count(self) -> None:
        self.calls += 1

    def _hand_over(self, generation: Generation, outcome: Outcome) -> None:
        if generation.over or outcome.predicted is None:
            return
        generation.batched |= outcome.batched
        own = outcome.predicted.rows[outcome.first : outcome.first + len(outcome.waiting.rows)]
        complete = generation.answer(outcome.waiting, own)
        if complete is not None:
            self._send(generation, complete)

    def _remember(self, key: Hashable, outcomes: Sequence[Outcome]) -> None:
        """Do not try again what was too large for the memory; a job that does not fit at all leaves no such trace."""
        if any(isinstance(outcome.error, OutOfMemory) for outcome in outcomes):
            self._fits.pop(key, None)
        elif any(outcome.halved for outcome in outcomes):
            fitted = [len(outcome.predicted.rows) for outcome in outcomes if outcome.predicted is not None]
            if fitted:
                self._fits[key] = max(fitted)

    def _settle(self, most: int) -> None:
        """Wait until at most `most` calls are in flight; rows that are not finite fail their job."""
        while len({id(outcome.predicted) for outcome in self._in_flight}) > most:
            outcome = self._in_flight.popleft()
            assert outcome.predicted is not None
            finite = outcome.predicted.finite()
            if not all(finite[outcome.first : outcome.first + len(outcome.waiting.rows)]):
                self._driver.fail(outcome.waiting.job, not_a_number(outcome.waiting))

    def _sweep(self) -> None:
        """Take what has ended out of the queue."""
        self._running = [generation for generation in self._running if not generation.over]
        if not self._running:
            self._settle(0)
            self._fits.clear()
        if not self._driver.ended:
            return
        with self._changed:
            for job in self._driver.ended:
                self._open.pop(job.id, None)
                self._ended.append(job.id)
            self._driver.ended.clear()
            self._drop_read()

    def _drop_read(self) -> None:
        read = [name for name in self._ended if name not in self._jobs or self._jobs[name].log.read_to_end]
        for name in read[: max(len(read) - self.limits.keep, 0)]:
            self._jobs.pop(name, None)
            self._ended.remove(name)


def not_a_number(waiting: Waiting) -> NotANumber:
    """The error for rows whose predictions are not finite."""
    at = waiting.rows[0].at
    return NotANumber(
        f"The model {waiting.rows[0].network!r} returned values that are not numbers in step {at.step + 1}. "
        "Try a lower scale, fewer extra networks, or float32 instead of a shorter number type."
    )
