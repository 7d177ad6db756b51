"""How fast pictures come, measured while they are made: what a job's time left is worked out from.

The engine makes one network call at a time, so what it has done between two pieces of news is what that time went into.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webui.request import Request
from webui.service.extensions import bundled

REMEMBERED_SECONDS = 120.0  # of work; older measurements fade


@dataclass(frozen=True, kw_only=True)
class Work:
    """Something to be made: what it is measured under, and how many evaluations of one pixel by the network it takes."""

    model: str
    pixels: int
    amount: float


def work(request: Request, steps: float) -> Work:
    """The work of `steps` steps of a request's picture: guidance and second-order samplers take two evaluations each."""
    info = bundled().samplers.get(request.sampler)
    evaluations = 1 if info is None else info.evaluations
    rows = 1 if request.scale in (0, 1) else 2
    pixels = pixels_of(request)
    return Work(model=request.model, pixels=pixels, amount=steps * evaluations * rows * pixels)


def pixels_of(request: Request) -> int:
    """The pixels that a step works at, on average: the second pass of a picture that is drawn twice works at more."""
    first, more = request.width * request.height, steps_more(request)
    second = request.hires["width"] * request.hires["height"] if more else 0
    return round((request.steps * first + more * second) / (request.steps + more))


def steps_more(request: Request) -> int:
    """The steps of the second pass, 0 where there is none."""
    return int(request.hires["steps"]) if request.hires and request.hires["strength"] else 0


def planned(request: Request) -> int:
    """About how many steps a request's pictures take together: of a picture that is made anew in part, a part."""
    partly = "picture" in request.inputs and not request.all_steps
    steps = max(math.ceil(request.steps * request.strength), 1) if partly else request.steps
    return (steps + steps_more(request)) * request.loops * request.count


class Pace:
    """Seconds per work of each model, for each size where that was seen. For one thread at a time."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[float, float]] = {}  # seconds and amount, by model and pixels (0: all sizes)
        self._heard: float | None = None

    def idle(self) -> None:
        """Nothing is being made: the time until the next news went into waiting and loading."""
        self._heard = None

    def done(self, part: Work, now: float) -> None:
        """This much more was done, as is known `now` (seconds)."""
        heard, self._heard = self._heard, now
        if heard is None or part.amount <= 0:
            return
        for key in ((part.model, part.pixels), (part.model, 0)):
            seconds, amount = self._seen.get(key, (0.0, 0.0))
            fading = 0.5 if seconds > REMEMBERED_SECONDS else 1.0
            self._seen[key] = seconds * fading + max(now - heard, 0.0), amount * fading + part.amount

    def seconds(self, part: Work) -> float | None:
        """How long it takes with nothing beside it; None where nothing like it was made yet."""
        seconds, amount = self._seen.get((part.model, part.pixels)) or self._seen.get((part.model, 0)) or (0.0, 0.0)
        return part.amount * seconds / amount if amount and seconds else None


def seconds_left(running: Mapping[str, float | None], queued: Iterable[tuple[str, float | None]]) -> dict[str, float | None]:
    """When each job will have ended, from the seconds that each takes alone: those that run share, the others follow in order.

    None where it, or something before it, cannot be known.
    """
    known = [seconds for seconds in running.values() if seconds is not None]
    complete = len(known) == len(running)
    left: dict[str, float | None] = {}
    for name, own in running.items():
        left[name] = sum(min(own, other) for other in known) if own is not None and complete else None
    total = sum(known) if complete else None
    for name, own in queued:
        total = None if total is None or own is None else total + own
        left[name] = total
    return left
