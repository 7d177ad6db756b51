"""An engine that draws gradients instead of computing pictures, step by step; for tests of everything around an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from webui.engine import events
from webui.errors import UserError
from webui.request import Request
from webui.service.outbox import Outbox

BUILTIN = Path(__file__).parents[2] / "models" / "builtin" / "model.safetensors"


class PretendEngine:
    """An `EngineHandle`: each picture takes the request's steps, `step_seconds` each (0: as fast as it goes).

    Its pictures are gradients that follow from the seed. A prompt with "fail" fails the job.
    """

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.step_seconds = step_seconds
        self.warmed = 0
        self._changed = threading.Condition()
        self._outbox = Outbox()
        self._jobs: dict[str, _Pretended] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="pretend engine", daemon=True)
        self._thread.start()

    def warm(self) -> None:
        """Count how often it was asked for."""
        self.warmed += 1

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        """Begin a request."""
        with self._changed:
            self._outbox.open(key)
            try:
                self._jobs[key] = _Pretended(Request.from_dict(request))
            except UserError as error:
                self._end(key, events.Failed(job=key, sentence=str(error), error_id="", by_request=True))
                return
            self._tell(key, events.Queued(job=key, ahead=len(self._jobs) - 1))
            self._changed.notify_all()

    def next(self, timeout: float | None = None) -> tuple[str, events.Event] | None:
        """The next event."""
        return self._outbox.next(timeout)

    def watch(self, key: str, on: bool) -> None:
        """Make previews, or no more."""
        with self._changed:
            if key in self._jobs:
                self._jobs[key].watched = on

    def interrupt(self, key: str) -> None:
        """End a request with the picture as it is."""
        with self._changed:
            if key in self._jobs:
                self._jobs[key].interrupted = True
                self._changed.notify_all()

    def skip(self, key: str, picture: int | None = None) -> None:
        """Drop one picture."""
        with self._changed:
            if key in self._jobs:
                job = self._jobs[key]
                job.skip.add(job.picture if picture is None else picture)
                self._changed.notify_all()

    def cancel(self, key: str) -> None:
        """Drop a request."""
        with self._changed:
            if key in self._jobs:
                self._end(key, events.Cancelled(job=key))

    def close(self) -> None:
        """End."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._outbox.close()

    def _tell(self, key: str, event: events.Event) -> None:
        self._outbox.put(key, event)

    def _end(self, key: str, event: events.Event) -> None:
        self._jobs.pop(key, None)
        self._tell(key, event)

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                for key, job in list(self._jobs.items()):
                    self._step(key, job)
            time.sleep(self.step_seconds)

    def _step(self, key: str, job: _Pretended) -> None:
        """One step of a job's present picture."""
        request = job.request
        if "fail" in request.prompt:
            self._end(key, events.Failed(job=key, sentence="This was made to fail.", error_id="pretend", by_request=False))
            return
        if not job.begun:
            job.begun = True
            self._tell(key, events.Started(job=key, pictures=request.count))
        if job.picture in job.skip:
            self._tell(key, events.Skipped(job=key, picture=job.picture))
            self._on(key, job)
            return
        job.step += 1
        if job.interrupted or job.step >= request.steps:
            self._finish(key, job)
            return
        left = (request.count * request.steps - job.picture * request.steps - job.step) * self.step_seconds
        self._tell(key, events.Progress(job=key, picture=job.picture, step=job.step, steps=request.steps, seconds_left=left))
        if job.watched:
            self._tell(key, events.Preview(job=key, picture=job.picture, step=job.step, pixels=gradient(16, 16, request.seed)))

    def _finish(self, key: str, job: _Pretended) -> None:
        own = job.request.picture(job.picture)
        pixels = gradient(own.width, own.height, own.seed)
        self._tell(key, events.Picture(
            job=key, picture=job.picture, pixels=pixels, request=own, batched=False, interrupted=job.interrupted,
            maps={"depth": pixels[..., 0].astype(np.uint16) * 257} if own.task in ("depth", "map") else {},
        ))
        job.delivered += 1
        if job.interrupted:
            self._end(key, events.Interrupted(job=key, pictures=job.delivered))
        else:
            self._on(key, job)

    def _on(self, key: str, job: _Pretended) -> None:
        job.picture, job.step = job.picture + 1, 0
        if job.picture >= job.request.count:
            self._end(key, events.Finished(job=key, pictures=job.delivered))


class _Pretended:
    """A request in the making."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.begun = False
        self.interrupted = False
        self.watched = False
        self.skip: set[int] = set()
        self.picture = 0
        self.step = 0
        self.delivered = 0


def gradient(width: int, height: int, seed: int) -> events.Pixels:
    """A picture, uint8 [height, width, 3], that follows from the seed."""
    x = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    y = np.linspace(0, 255, height, dtype=np.float32)[:, None, None]
    tint = np.array([seed % 251, seed // 251 % 251, seed // 63001 % 251], np.float32)[None, None]
    return ((x + y + tint) / 3).astype(np.uint8)


def place_model(root: Path) -> Path:
    """Put a model that can be described but not drawn with where the built-in one is: its header, and zeros for weights."""
    with BUILTIN.open("rb") as file:
        start = file.read(8)
        start += file.read(int.from_bytes(start, "little"))
    path = root / "models" / "builtin" / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(BUILTIN.stat().st_size)
    return path
