"""What a tag asks for: how strongly, in which blocks, at which steps. Plain data, read when a job is submitted.

    <lora:name>                      all of it                  <lora:name:0.8>             0.8 of it
    <lora:name:0.8:0.5>              0.8 in the noise predictor, 0.5 in the text towers (also unet=0.8 and te=0.5)
    <lora:name:0@0,1@0.5>            none at the first step, all from the middle on, and in between what lies between
    <lora:name:1:start=5:stop=20>    from the fifth step to the twentieth (also step=5-20; numbers with a point are parts of all)
    <lora:name:1:lbw=OUTALL>         in some blocks only: a preset, or a number for each of 12, 17, 20 or 26 blocks
    <lora:name:1:hr=0.5>             0.5 in the second pass     <lora:name:1:dyn=8>         only the first 8 of its ranks

Places of a strength that changes are parts of all steps where none is above 1, else numbers of steps, from 1. The text is read
once for all steps, so such a strength counts for it with its largest value, and `te=` gives it one of its own. Of a change that
is not in proportion to its strength (DoRA, BOFT, rescaled OFT), one that changes takes that part of the change at strength 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from webui.extension import UserError, quoted

from .blocks import blocks_of, is_blocks

LARGEST = 100.0  # beyond it no strength means anything
MOST_POINTS = 100
NAMED = ("unet", "te", "dyn", "lbw", "start", "stop", "step", "hr")


@dataclass(frozen=True, kw_only=True)
class Strength:
    """A strength along the steps: `points` are values and their places, with straight lines between them.

    It is 0 outside `start` and `stop`. Places are parts of all steps where `parts`, else numbers of steps; so are start and stop.
    """

    points: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    parts: bool = True
    start: float | None = None
    start_part: bool = False
    stop: float | None = None
    stop_part: bool = False

    @property
    def constant(self) -> float | None:
        """The strength where it is the same at all steps, else None."""
        same = len({value for value, _ in self.points}) == 1 and self.start is None and self.stop is None
        return self.points[0][0] if same else None

    @property
    def largest(self) -> float:
        """The value that is furthest from 0."""
        return max((value for value, _ in self.points), key=abs)

    def at(self, step: float, part: float) -> float:
        """The strength at a step: its number, from 1, and the part of all steps that lies before it, 0 to 1."""
        if self.start is not None and (part if self.start_part else step) < self.start:
            return 0.0
        if self.stop is not None and (part if self.stop_part else step) > self.stop:
            return 0.0
        place = part if self.parts else step
        if place <= self.points[0][1]:
            return self.points[0][0]
        for (low, begin), (high, end) in pairwise(self.points):
            if place <= end:
                return low + (high - low) * (place - begin) / (end - begin)
        return self.points[-1][0]


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a tag says besides the name: strengths of the noise predictor, in the second pass too, and of the text towers.

    `blocks` are factors by block or the name of a preset; `ranks` is how many of a LoRA's ranks count.
    """

    unet: Strength
    te: float
    hires: float | None = None
    blocks: tuple[float, ...] | str = ()
    ranks: int | None = None

    def plain(self) -> dict[str, Any]:
        """As jobs keep it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Wish:
        """The inverse of `plain`, whatever JSON made of its tuples."""
        unet = dict(plain["unet"])
        points = tuple((float(value), float(place)) for value, place in unet.pop("points"))
        blocks = plain["blocks"] if isinstance(plain["blocks"], str) else tuple(plain["blocks"])
        return cls(**{**plain, "unet": Strength(points=points, **unet), "blocks": blocks})


def wished(arguments: Sequence[str], presets: Mapping[str, Sequence[float]], *, text_first: bool = False) -> Wish:
    """What stands in a tag behind the name; `UserError` where that means nothing.

    `presets` are a person's own lists of factors by name. With `text_first` the first of two numbers is that of the text towers.
    """
    told: dict[str, str] = {}
    plain: list[str] = []
    for each in (argument.strip() for argument in arguments):
        name, equals, value = (part.strip() for part in each.partition("="))
        if equals and name.lower() not in NAMED:
            raise UserError(f"A LoRA's tag has {quoted(each)}; what can be named is {', '.join(NAMED)}, as in te=0.5.")
        if equals:
            told[name.lower()] = value
        elif is_blocks(each, presets):
            told.setdefault("lbw", each)
        elif each:
            plain.append(each)
    if len(plain) > 3:
        raise UserError(f"A LoRA's tag has {len(plain)} numbers, {', '.join(plain)}; it takes two strengths and a rank.")
    order = ("te", "unet", "dyn") if text_first else ("unet", "te", "dyn")
    told = {**dict(zip(order, plain, strict=False)), **told}
    points = points_of(told.get("unet", told.get("te", "1") if text_first else "1"))
    if "@" in told.get("te", ""):
        del told["te"]  # the text is read once
    start, stop = window(told)
    unet = Strength(
        points=points, parts=max(place for _, place in points) <= 1, start=_place(start), start_part="." in start,
        stop=_place(stop), stop_part="." in stop,
    )  # fmt: skip
    return Wish(
        unet=unet, te=number(told["te"]) if "te" in told else unet.largest, hires=number(told["hr"]) if "hr" in told else None,
        blocks=blocks_of(told.get("lbw", ""), presets), ranks=_rank(told["dyn"]) if "dyn" in told else None,
    )  # fmt: skip


def number(text: str) -> float:
    """A strength; `UserError` where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UserError(f"The strength of a LoRA was {quoted(text)}; it must be a number of at most {LARGEST:g}, such as 0.8.")
    return value


def points_of(text: str) -> tuple[tuple[float, float], ...]:
    """`0.8`, or values and their places along the steps, `0@0,1@0.5`; in order, and each place once."""
    if "@" not in text:
        return ((number(text), 0.0),)
    pairs = [pair.partition("@") for pair in text.replace(";", ",").split(",") if pair.strip()]
    places: dict[float, float] = {}
    for value, _, place in pairs:
        where = _place(place or "1") or 0.0
        places[where] = number(value)
    if len(pairs) > MOST_POINTS:
        raise UserError(f"The strength of a LoRA has {len(pairs)} points; it can have {MOST_POINTS}.")
    return tuple((value, place) for place, value in sorted(places.items()))


def window(told: Mapping[str, str]) -> tuple[str, str]:
    """The first and the last step as they are written, "" for none."""
    first, dash, last = told.get("step", "").partition("-")
    return told.get("start", first).strip(), told.get("stop", last if dash else first).strip()


def _place(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 10_000:
        raise UserError(f"A step in a LoRA's tag was {quoted(text)}; it must be a number from 1, or a part of all, such as 0.5.")
    return value


def _rank(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 0 < int(text) <= 10_000:
        raise UserError(f"The rank in a LoRA's tag was {quoted(text)}; it must be a whole number from 1.")
    return int(text)
