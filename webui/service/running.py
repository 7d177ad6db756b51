"""A job that runs, as the worker knows it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from webui.request import Request, needs_model
from webui.service.further_networks import unhashed
from webui.service.jobs import Job
from webui.service.pace import Work, planned, work

Last = tuple[int | None, int | None, int | None]  # picture, step and steps as last heard
Complete = Callable[[Request, Callable[[int, int], None]], Request]
"""Finds out what a request leaves open; tells how much was read of how much."""


class NotWanted(Exception):
    """A job ended while its model's file was read."""


def as_it_is(request: Request, told: Callable[[int, int], None]) -> Request:
    """The request, where there is nothing to find out."""
    del told
    return request


@dataclass(kw_only=True, eq=False)
class Running:
    """A job that runs; `parts` has the number of its first picture for each key that the engine knows it by."""

    job: Job
    request: Request
    settled: set[int]
    parts: dict[str, int] = field(default_factory=dict)
    steps: dict[int, tuple[int, int | None]] = field(default_factory=dict)  # done and wanted, of pictures being made
    last: Last = (None, None, None)
    previews: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    unwanted: set[int] = field(default_factory=set)  # pictures that were to be skipped, perhaps before the engine had begun
    watched: bool = False
    interrupted: bool = False
    reading: str = ""  # what is told while its model's file is read, before the engine gets it
    reader: threading.Thread | None = None

    def left(self) -> Work:
        """What is still to be made."""
        wanted = (self.request.count - len(self.settled)) / self.request.count
        # A list, for whoever looks does so while the worker's thread changes it.
        done = sum(step for picture, (step, _) in list(self.steps.items()) if picture not in self.settled)
        return work(self.request, max(wanted * planned(self.request) - done, 0))


def new_here(request: Request) -> str:
    """What is read for the first time before a request can be carried out."""
    passes = (request, request.second()) if request.hires else (request,)
    names = dict.fromkeys(getattr(one, each) for one in passes for each in unhashed(one))
    models = dict.fromkeys(one.model for one in passes if needs_model(one) and not one.model_hash)
    return ", ".join([*models, *names]) or request.model


def gaps(count: int, settled: set[int]) -> Iterator[tuple[int, int]]:
    """The runs of numbers below `count` that are not in `settled`: first and how many."""
    first = 0
    for number in range(count + 1):
        if number == count or number in settled:
            if number > first:
                yield first, number - first
            first = number + 1
