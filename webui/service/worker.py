"""The worker: hands jobs to the engine as there is room, keeps what comes back, and tells of it. Its thread never dies.

Whoever submits or cancels does so in their own thread, for nothing here waits for the engine; one more thread hears its events.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image

from webui.engine import events
from webui.errors import StorageError, UserError
from webui.request import Request
from webui.service.broadcast import Broadcast
from webui.service.engines import EngineHandle
from webui.service.jobs import Job, Jobs
from webui.service.keeping import Keeper
from webui.service.logs import fault
from webui.service.pace import Pace, Work, planned, seconds_left, work
from webui.service.requests import is_complete
from webui.service.running import Complete, Last, NotWanted, Running, as_it_is, gaps, new_here
from webui.service.turns import Slots

LOGGER = logging.getLogger(__name__)
LOOK_SECONDS = 0.5  # between looks at what nobody tells of: who watches, places in the queue, a disk that was full
MOST_PLACES = 20  # waiting jobs of one user whose places are told of
JPEG_QUALITY = 85
READING_SECONDS = 0.5  # between two words of how far a model's file was read


class Worker:
    """Keeps the engine busy with the jobs whose turn it is.

    `timer` counts seconds. `complete` finds out what a request leaves open, which may take minutes, and tells how far it is.
    """

    def __init__(
        self, jobs: Jobs, engine: EngineHandle, broadcast: Broadcast, keeper: Keeper, *, slots: Slots, timer: Callable[[], float],
        complete: Complete = as_it_is,
    ) -> None:  # fmt: skip
        self._jobs = jobs
        self._engine = engine
        self._broadcast = broadcast
        self._keeper = keeper
        self._slots = slots
        self._timer = timer
        self._complete = complete
        self._lock = threading.RLock()  # held while jobs enter or leave the engine; the jobs' own is taken inside it
        self._running: dict[str, Running] = {}
        self._parts: dict[str, Running] = {}  # by the engine's keys
        self._unwritten: list[tuple[Job, str, dict[str, Any]]] = []  # ends that the disk had no room for
        self._pace = Pace()
        self._waiting: dict[str, Work] = {}
        self._sequence = 0
        self._looked = self._told = -1  # versions of the jobs that were looked at, and whose order was told of
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        """Begin, with what ran when the program was last ended."""
        self._keeper.recover()
        self._jobs.recover(self._slots)
        self._jobs.forget_old()
        self._thread.start()
        self.fill()

    def close(self) -> None:
        """End in good order: what runs is queued again for the next start."""
        with self._lock:
            self._closing.set()
            for running in self._running.values():
                try:
                    self._jobs.put_back(running.job)
                except StorageError:  # it is found running at the next start, as after a crash
                    LOGGER.warning("Job %s could not be put back.", running.job.id, exc_info=True)
            readers = [running.reader for running in self._running.values() if running.reader is not None]
            self._running.clear()
            self._parts.clear()
        for reader in readers:  # they see that nobody wants to know any more
            reader.join()
        self._engine.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    # What people want; from any thread.

    def fill(self) -> None:
        """Hand the engine what there is room for; where the disk fails, the thread tries again."""
        with self._lock:
            try:
                self._looked = self._jobs.version
                while not self._closing.is_set() and (job := self._jobs.claim(self._slots)) is not None:
                    self._begin(job)
            except StorageError:
                self._looked = -1
                LOGGER.exception("The next job could not be begun.")

    def interrupt(self, job: Job) -> None:
        """End a job with its pictures as they are now; one that waits ends with those it has."""
        with self._lock:
            running = self._running.get(job.id)
            if running is not None and not running.reading:
                for key in list(running.parts):
                    self._engine.interrupt(key)
                return
            pictures = self._pictures(job)
            data = {"pictures": pictures} if pictures else {}
            kind = "interrupted" if pictures else "cancelled"
            if running is None:
                self._jobs.end(job, kind, **data)
            else:
                self._end(running, kind, **data)

    def skip(self, job: Job, picture: int | None) -> None:
        """Drop a picture of a job, or those being made now."""
        with self._lock:
            running = self._running.get(job.id)
            if running is None or running.reading:
                present = self._jobs.get(job.id)
                if present is not None and present.open and picture is not None and picture not in self._jobs.settled(job.id):
                    self._note(job, "skipped", picture=picture)
                return
            for key, first in sorted(running.parts.items(), key=lambda part: part[1], reverse=True):
                if picture is None:
                    self._engine.skip(key)
                elif first <= picture:
                    if picture not in running.settled:
                        running.unwanted.add(picture)
                        self._engine.skip(key, picture - first)
                    return

    def cancel(self, job: Job) -> None:
        """Discard a job; what the engine still tells of it is ignored."""
        with self._lock:
            running = self._running.get(job.id)
            if running is None:
                self._jobs.end(job, "cancelled")
            else:
                self._end(running, "cancelled")
                return
        self._places()

    # What people see; from any thread, and waiting for none.

    def preview(self, job: str, picture: int) -> tuple[bytes, int] | None:
        """The newest preview of a picture that is being made, and its number."""
        running = self._running.get(job)
        return None if running is None else running.previews.get(picture)

    def last(self, job: str) -> Last:
        """The picture that was last heard of, and its steps."""
        running = self._running.get(job)
        return (None, None, None) if running is None else running.last

    def reading(self, job: str) -> str:
        """A sentence while a job's model is read for the first time, else ""."""
        running = self._running.get(job)
        return "" if running is None else running.reading

    def seconds_left(self) -> dict[str, float | None]:
        """When each job that has not ended will have, as far as that can be known."""
        running = self._seconds()
        queued = [(job.id, self._pace.seconds(self._work(job))) for job in self._jobs.in_order() if job.id not in running]
        return seconds_left(running, queued)

    def _seconds(self) -> dict[str, float | None]:
        return {name: self._pace.seconds(each.left()) for name, each in self._running.copy().items()}

    def _work(self, job: Job) -> Work:
        found = self._waiting.get(job.id)
        if found is None:
            if len(self._waiting) > 2 * len(self._jobs.in_order()) + 100:
                self._waiting = {}
            try:
                request = Request.from_dict(job.request)
            except UserError:  # another version's; it fails when its turn comes, and until then keeps nobody from looking
                return Work(model="", pixels=0, amount=0.0)
            found = self._waiting[job.id] = work(request, planned(request))
        return found

    # Into the engine and out of it.

    def _begin(self, job: Job) -> None:
        try:
            running = self._running[job.id] = Running(job=job, request=Request.from_dict(job.request), settled=set())
            if is_complete(running.request):
                self._hand_over(running)
            else:
                running.reading = f"Reading {new_here(running.request)}, which is new here …"
                running.reader = threading.Thread(target=self._read, args=(running,), name=f"reads for {job.id}", daemon=True)
                running.reader.start()
        except Exception as error:  # noqa: BLE001  the edge of a job
            self._fail(job, error)

    def _hand_over(self, running: Running) -> None:
        job, request = running.job, running.request
        running.settled = set(self._jobs.settled(job.id))
        for first, count in gaps(request.count, running.settled):
            key = f"{job.id}/{first}"
            running.parts[key] = first
            self._parts[key] = running
            part = request if count == request.count else replace(request.picture(first), count=count)
            self._engine.submit(key, part.to_dict())
        self._watch(running)
        if not running.parts:
            self._end(running, "finished", pictures=self._pictures(job))

    def _read(self, running: Running) -> None:
        """Find out what a job's request leaves open, and hand it over; in a thread of its own, for a large file takes long."""
        told = self._timer()

        def tell(done: int, size: int) -> None:
            nonlocal told
            if self._running.get(running.job.id) is not running:
                raise NotWanted
            if self._timer() >= told + READING_SECONDS:
                told = self._timer()
                running.reading = f"Reading {new_here(running.request)}, which is new here: {100 * done // max(size, 1)} %"
                self._tell(running.job, "reading", sentence=running.reading)

        try:
            self._tell(running.job, "reading", sentence=running.reading)
            request = self._complete(running.request, tell)
            with self._lock:
                if self._running.get(running.job.id) is running:
                    self._jobs.complete(running.job, request.to_dict())
                    running.request, running.reading = request, ""
                    self._tell(running.job, "reading", sentence="")
                    self._hand_over(running)
        except NotWanted:
            pass
        except Exception as error:  # noqa: BLE001  the edge of a job
            with self._lock:
                if self._running.get(running.job.id) is running:
                    self._fail(running.job, error)

    def _end(self, running: Running, kind: str, **data: Any) -> None:
        """Take a job out of the engine, and end it."""
        with self._lock:
            if self._running.pop(running.job.id, None) is None:
                return
            if not self._running:
                self._pace.idle()
            for key in running.parts:
                self._parts.pop(key, None)
                self._engine.cancel(key)
            self._write_end(running.job, kind, data)
        self.fill()
        self._places()

    def _fail(self, job: Job, error: Exception) -> None:
        told = fault(error, "This job")
        running = self._running.get(job.id)
        if running is None:
            self._write_end(job, "failed", {"sentence": told.sentence, "error": told.error})
        else:
            self._end(running, "failed", sentence=told.sentence, error=told.error)

    def _write_end(self, job: Job, kind: str, data: dict[str, Any]) -> None:
        try:
            self._jobs.end(job, kind, **data)
        except StorageError as error:
            LOGGER.exception("The end of job %s could not be written.", job.id)
            self._unwritten.append((job, kind, data))
            self._tell(job, "notice", sentence=f"How this job ended could not be written down yet: {error}")

    # The thread.

    def _loop(self) -> None:
        while not self._closing.is_set():
            try:
                self._hear()
                self._look()
            except Exception:
                LOGGER.exception("The worker stumbled, and goes on.")
                self._closing.wait(LOOK_SECONDS)

    def _hear(self) -> None:
        """Act on the engine's next event; an error is the failure of the event's job, or of all if there was no event."""
        running = None
        try:
            told = self._engine.next(LOOK_SECONDS)
            running = None if told is None else self._parts.get(told[0])
            if told is not None and running is not None:
                self._act(running, *told)
        except Exception as error:
            concerned = [running] if running is not None else list(self._running.values())
            for each in concerned:
                self._fail(each.job, error)
            if running is None:
                raise

    def _act(self, running: Running, key: str, event: events.Event) -> None:
        job, first = running.job, running.parts.get(key, 0)
        match event:
            case events.Started():
                for picture in running.unwanted & set(range(first, first + event.pictures)):
                    self._engine.skip(key, picture - first)
            case events.Progress():
                self._progress(running, first + event.picture, event.step, event.steps)
            case events.Preview():
                self._preview(running, first + event.picture, event)
            case events.Picture():
                self._keeper.keep(job, first + event.picture, event)
                self._settle(running, first + event.picture)
            case events.Skipped():
                self._note(job, "skipped", picture=first + event.picture)
                self._settle(running, first + event.picture)
            case events.Notice():
                self._note(job, "notice", sentence=event.sentence)
            case events.Failed():
                self._end(running, "failed", sentence=event.sentence, error=event.error_id)
            case events.Cancelled():
                self._end(running, "cancelled")
            case events.Finished() | events.Interrupted():
                running.interrupted |= isinstance(event, events.Interrupted)
                with self._lock:
                    running.parts.pop(key, None)
                    self._parts.pop(key, None)
                if not running.parts:
                    self._end(running, "interrupted" if running.interrupted else "finished", pictures=self._pictures(job))

    def _progress(self, running: Running, picture: int, step: int, steps: int | None) -> None:
        before = running.steps.get(picture, (0, None))[0]
        running.steps[picture] = step, steps
        running.last = picture, step, steps
        self._pace.done(work(running.request, step - before), self._timer())
        left = seconds_left(self._seconds(), ()).get(running.job.id)
        self._tell(running.job, "progress", picture=picture, step=step, steps=steps, seconds_left=left)
        self._watch(running)

    def _preview(self, running: Running, picture: int, event: events.Preview) -> None:
        self._sequence += 1
        running.previews[picture] = jpeg(event.pixels), self._sequence
        self._tell(running.job, "preview", picture=picture, step=event.step, sequence=self._sequence)

    def _settle(self, running: Running, picture: int) -> None:
        running.settled.add(picture)
        running.steps.pop(picture, None)
        running.previews.pop(picture, None)

    def _look(self) -> None:
        """Do what nobody calls for."""
        for running in list(self._running.values()):
            self._watch(running)
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, []
            for job, kind, data in unwritten:
                self._write_end(job, kind, data)
        if self._looked != self._jobs.version:
            self.fill()
        self._places()

    def _watch(self, running: Running) -> None:
        """Have previews made while somebody watches, and only then."""
        watched = self._broadcast.watched(running.job.user)
        if watched != running.watched and not running.reading:
            running.watched = watched
            for key in list(running.parts):
                self._engine.watch(key, watched)

    def _places(self) -> None:
        """Tell those who watch how many jobs are before theirs."""
        with self._lock:
            if self._told == self._jobs.version:
                return
            self._told = self._jobs.version
            watchers = dict.fromkeys(self._broadcast.watchers(), MOST_PLACES)
            left = self.seconds_left() if watchers else {}
            for ahead, job in enumerate(self._jobs.in_order()):
                if job.state == "queued" and watchers.get(job.user):
                    watchers[job.user] -= 1
                    self._tell(job, "queued", ahead=ahead, seconds_left=left.get(job.id))

    def _pictures(self, job: Job) -> int:
        return self._jobs.counts([job.id]).get(job.id, (0, 0))[0]

    def _note(self, job: Job, kind: str, **data: Any) -> None:
        with self._jobs.change() as change:
            present = self._jobs.get(job.id)
            if present is not None and present.open:
                change.event(job, kind, **data)

    def _tell(self, job: Job, kind: str, **data: Any) -> None:
        self._broadcast.tell(job.user, {"job": job.id, "number": 0, "kind": kind, **data})


def jpeg(pixels: events.Pixels) -> bytes:
    """A JPEG of uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
