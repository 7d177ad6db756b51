"""The state of a job and of the generations that make its pictures; only the engine's loop changes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from webui.engine.batching import Waiting
from webui.engine.log import Log
from webui.pipeline.protocol import Ask, Moment, Rows
from webui.request import Request

Source = Generator[Ask, Any, Any]


@dataclass(kw_only=True, eq=False)
class Wishes:
    """What people asked of a job since the loop last looked; `skip_running` means the pictures being made, `skip` numbers."""

    interrupt: bool = False
    cancel: bool = False
    skip_running: bool = False
    skip: set[int] = field(default_factory=set)


@dataclass(kw_only=True, eq=False)
class Job:
    """One submitted request: its generators that have not begun, its running generations, and what came of it.

    `skip` holds the numbers of pictures nobody wants any more, known perhaps before there are any; `told` the sentences that its
    pictures said.
    """

    id: str
    request: Request
    log: Log = field(default_factory=Log)
    skip: set[int] = field(default_factory=set)
    prepared: bool = False
    sources: deque[tuple[int, Source]] = field(default_factory=deque)
    running: list[Generation] = field(default_factory=list)
    steps: int = 0
    delivered: int = 0
    began: float = 0.0
    last_preview: float = float("-inf")
    preview_failed: bool = False
    interrupted: bool = False
    told: set[str] = field(default_factory=set)

    @property
    def ended(self) -> bool:
        """Whether its last event has been told."""
        return self.log.ended


@dataclass(kw_only=True, eq=False)
class Generation:
    """One picture in the making: the generator, the ask it waits at, and what is known of its progress.

    `asked` rises with each ask of any generation, `call` counts the calls for rows before it; `answered` counts the asks for one
    picture alone since the last call for rows; `computed` holds the devices and number types that have computed its rows, in
    order.
    """

    job: Job
    index: int
    source: Source
    ask: Ask | None = None
    parts: list[Waiting] = field(default_factory=list)
    answers: dict[int, Tensor] = field(default_factory=dict)
    at: Moment | None = None
    denoised: Tensor | None = None
    batched: bool = False
    interrupted: bool = False
    thrown: int = 0
    asked: int = 0
    call: int = 0
    answered: int = 0
    computed: dict[str, None] = field(default_factory=dict)
    over: bool = False

    @property
    def light(self) -> bool:
        """Whether it waits for something else than a call for rows."""
        return not isinstance(self.ask, Rows) or not self.ask.rows

    def answer(self, part: Waiting, rows: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        """Note the answers to some rows; once all are there, those of the whole ask, in order."""
        self.answers.update(zip(part.positions, rows, strict=True))
        self.parts = [other for other in self.parts if not set(other.positions) <= set(self.answers)]
        if self.parts:
            return None
        complete = tuple(self.answers[position] for position in sorted(self.answers))
        self.answers = {}
        return complete


def seconds_left(job: Job, now: float) -> float | None:
    """An estimate for the whole job from the steps done so far, or None where a sampler does not know its number of steps."""
    moments = [generation.at for generation in job.running if generation.at is not None]
    if job.steps == 0 or any(at.steps is None for at in moments):
        return None
    steps = max((at.steps for at in moments if at.steps is not None), default=0)
    left = sum(max(steps - at.step - 1, 0) for at in moments)
    left += (len(job.running) - len(moments) + len(job.sources)) * steps
    return (now - job.began) / job.steps * left


def first_eligible(jobs: Iterable[Job], most_each: int) -> Job | None:
    """The first job in the queue that has a picture to begin and runs fewer than `most_each`."""
    return next((job for job in jobs if len(job.running) < most_each and (job.sources or not job.prepared)), None)
