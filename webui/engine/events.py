"""What the engine tells about a job: plain data, in order, ending with exactly one of `LAST`.

Arrays are uint8 [H, W, 3]. A `Picture` carries its pixels and its request, and the engine keeps it until the job is forgotten:
whoever saves it can fail (disk full) and try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to a job."""

    job: str


@dataclass(frozen=True, kw_only=True)
class Queued(Event):
    """The job waits; `ahead` counts the jobs before it that have not ended."""

    ahead: int


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The job has begun and will make `pictures` pictures."""

    pictures: int


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Picture number `picture` has done `step` of `steps` steps (None: unknown); `seconds_left` is for the whole job."""

    picture: int
    step: int
    steps: int | None
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview(Event):
    """What a picture looks like so far, small. Only the newest is kept, and only while someone watches."""

    picture: int
    step: int
    pixels: Pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture(Event):
    """A finished picture and the `request` that makes it alone.

    `batched`: network calls were shared with other pictures, or halved for lack of memory, so a replay may differ by rounding.
    `interrupted`: it was ended before its last step. `computed` says on what its noise predictor ran, such as "cpu float32" or
    "cuda float16 channels-last" (several joined with " + "): what beside the request decides on the last bits, as does the
    `environment`: texts by what they say, such as the version of torch. `maps` are what it was made to, by the name of the input
    each could be given as: `depth` uint16 [H, W], 65535 is near.
    """

    picture: int
    pixels: Pixels
    request: Any
    batched: bool
    interrupted: bool
    computed: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, NDArray[np.uint16]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Skipped(Event):
    """A picture was dropped, by a person or because it was interrupted before there was anything to keep."""

    picture: int


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """Something the user should know that does not end the job."""

    sentence: str


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """All is done; `pictures` were delivered."""

    pictures: int


@dataclass(frozen=True, kw_only=True)
class Interrupted(Event):
    """A person ended the job early; `pictures` were delivered."""

    pictures: int


@dataclass(frozen=True, kw_only=True)
class Cancelled(Event):
    """The job was discarded."""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """The job failed: why, in a sentence, and the id under which the log has the details.

    `by_request` is true where the request itself was at fault (`UserError`).
    """

    sentence: str
    error_id: str
    by_request: bool


LAST = (Finished, Interrupted, Cancelled, Failed)


def supersedes(new: Event, old: Event) -> bool:
    """Whether nobody needs `old` once there is `new`, such as an older progress or preview of the same picture."""
    if isinstance(new, LAST):
        return isinstance(old, Preview)
    if getattr(new, "picture", None) != getattr(old, "picture", None):
        return False
    if isinstance(old, Preview):
        return isinstance(new, Preview | Picture | Skipped)
    return isinstance(old, Progress) and isinstance(new, Progress)
