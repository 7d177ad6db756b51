"""An engine that pretends and waits where a test tells it to: so a test looks at a job for as long as it needs."""

from __future__ import annotations

from typing import Any

from tests.service.pretend import PretendEngine, gradient
from webui.engine import events


class HeldEngine(PretendEngine):
    """While `hold` is a number, every picture waits at that step, and is previewed there for whoever watches.

    Interrupting, skipping and cancelling work while it waits. None lets everything go on.
    """

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.hold: int | None = None
        self._previewed: dict[str, tuple[int, int]] = {}  # the picture and step of each job that was shown while it waited
        super().__init__(step_seconds)

    def _step(self, key: str, job: Any) -> None:
        if self.hold is None or not job.begun or job.step < self.hold or job.interrupted or job.picture in job.skip:
            super()._step(key, job)
            return
        at = (job.picture, job.step)
        if job.watched and job.step > 0 and self._previewed.get(key) != at:
            self._previewed[key] = at
            pixels = gradient(16, 16, job.request.seed)
            self._tell(key, events.Preview(job=key, picture=job.picture, step=job.step, pixels=pixels))
