"""The worker: hands jobs to the engine as there is room, saves what comes back, and tells of it. Its thread never dies.

A picture is told of only after its file is on disk and its row is committed.
"""

from __future__ import annotations

import io
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from webui import infotext
from webui.engine import events
from webui.errors import StorageError
from webui.request import Request, parameters_of
from webui.service.broadcast import Broadcast
from webui.service.engines import EngineHandle
from webui.service.gallery import save
from webui.service.jobs import Job, Jobs, Slots

LOGGER = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
JPEG_QUALITY = 80


@dataclass(kw_only=True, eq=False)
class Running:
    """A job in the engine."""

    job: Job
    steps: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    seconds_left: float | None = None
    previews: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    watched: bool = False


class Worker:
    """Keeps the engine busy with the jobs whose turn it is."""

    def __init__(
        self, jobs: Jobs, engine: EngineHandle, broadcast: Broadcast, outputs: Path, *, record: Callable[..., str], slots: Slots = Slots(),
    ) -> None:
        self._jobs = jobs
        self._engine = engine
        self._broadcast = broadcast
        self._outputs = outputs
        self._record = record
        self._slots = slots
        self._lock = threading.RLock()
        self._running: dict[str, Running] = {}
        self._sequence = 0
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="worker", daemon=True)

    def start(self) -> None:
        """Begin, with what ran when the program was last ended."""
        self._jobs.recover(self._slots)
        self._thread.start()
        self.fill()

    def fill(self) -> None:
        """Hand the engine what there is room for."""
        with self._lock:
            while not self._closing and (job := self._jobs.claim(self._slots)) is not None:
                self._running[job.id] = Running(job=job)
                self._engine.submit(job.id, job.request)

    def interrupt(self, job: str) -> None:
        """End a job with its pictures as they are now."""
        with self._lock:
            if job in self._running:
                self._engine.interrupt(job)
            else:
                self._end_waiting(job)

    def skip(self, job: str, picture: int | None) -> None:
        """Drop a picture of a job that runs."""
        with self._lock:
            if job in self._running:
                self._engine.skip(job, picture)

    def cancel(self, job: str) -> None:
        """Discard a job."""
        with self._lock:
            if job in self._running:
                self._engine.cancel(job)
            else:
                self._end_waiting(job)

    def preview(self, job: str, picture: int) -> tuple[bytes, int] | None:
        """The newest preview of a picture, and its number."""
        with self._lock:
            return self._running[job].previews.get(picture) if job in self._running else None

    def progress(self, job: str) -> dict[str, Any]:
        """How far the picture is that was last heard of."""
        with self._lock:
            steps = self._running[job].steps if job in self._running else {}
            picture = next(reversed(steps), None)
            step, total = (None, None) if picture is None else steps[picture]
            return {"picture": picture, "step": step, "steps": total}

    def close(self) -> None:
        """End in good order: what runs is queued again for the next start."""
        with self._lock:
            self._closing = True
            for running in self._running.values():
                self._jobs.put_back(running.job)
            self._running.clear()
        self._engine.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def _end_waiting(self, job: str) -> None:
        found = self._jobs.get(job)
        if found is not None:
            self._jobs.end(found, "cancelled")

    def _loop(self) -> None:
        while not self._closing:
            told = self._engine.next(LOOK_SECONDS)
            with self._lock:
                running = self._running.get(told[0]) if told is not None else None
            if told is None or running is None:
                continue
            try:
                self._take_in(running, told[1])
            except Exception:
                error = uuid.uuid4().hex[:8]
                LOGGER.exception("Job %s failed (error %s).", running.job.id, error)
                self._engine.cancel(running.job.id)
                self._end(running, "failed", sentence=f"The log has the details under {error}.", error=error)

    def _take_in(self, running: Running, event: events.Event) -> None:
        job = running.job
        match event:
            case events.Progress():
                running.steps.pop(event.picture, None)
                running.steps[event.picture] = event.step, event.steps
                self._tell(job, "progress", picture=event.picture, step=event.step, steps=event.steps, seconds_left=event.seconds_left)
                watched = self._broadcast.watched(job.user)
                if watched != running.watched:
                    running.watched = watched
                    self._engine.watch(job.id, watched)
            case events.Preview():
                self._sequence += 1
                running.previews[event.picture] = jpeg(event.pixels), self._sequence
                self._tell(job, "preview", picture=event.picture, step=event.step, sequence=self._sequence)
            case events.Picture():
                self._keep(running, event)
            case events.Skipped():
                self._jobs.note(job, "skipped", picture=event.picture)
            case events.Notice():
                self._jobs.note(job, "notice", sentence=event.sentence)
            case events.Finished():
                self._end(running, "finished", pictures=len(self._jobs.saved(job.id)))
            case events.Interrupted():
                self._end(running, "interrupted", pictures=len(self._jobs.saved(job.id)))
            case events.Cancelled():
                self._end(running, "cancelled")
            case events.Failed():
                self._end(running, "failed", sentence=event.sentence, error=event.error_id)

    def _keep(self, running: Running, event: events.Picture) -> None:
        job, request = running.job, event.request
        text = picture_text(request, batched=event.batched, interrupted=event.interrupted)
        try:
            saved = save(self._outputs, event.pixels, request.seed, text)
        except StorageError as error:
            self._engine.cancel(job.id)
            self._end(running, "failed", sentence=str(error), error="")
            return
        height, width = event.pixels.shape[:2]
        with self._jobs.change() as change:
            name = self._record(
                change.connection, user=job.user, job=job.id, place=event.picture, path=saved.path, width=width, height=height,
                request=request, parameters=text, interrupted=event.interrupted,
            )
            change.event(
                job, "picture", picture=event.picture, id=name, width=width, height=height, seed=request.seed,
                interrupted=event.interrupted,
            )
            if saved.notice:
                change.event(job, "notice", sentence=saved.notice)

    def _end(self, running: Running, kind: str, **data: Any) -> None:
        with self._lock:
            if self._running.pop(running.job.id, None) is not None:
                self._jobs.end(running.job, kind, **data)
        self.fill()

    def _tell(self, job: Job, kind: str, **data: Any) -> None:
        self._broadcast.tell(job.user, {"job": job.id, "number": 0, "kind": kind, **data})


def picture_text(request: Request, *, batched: bool, interrupted: bool) -> str:
    """The parameters' text of a picture, as it is written into its file."""
    remarks = {"Shared calls": batched, "Interrupted": interrupted}
    return infotext.write(parameters_of(request), {key: "True" for key, true in remarks.items() if true})


def jpeg(pixels: events.Pixels) -> bytes:
    """A JPEG of uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
