"""Noise levels as people write them, and the schedule of any number of steps that goes through them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from webui.extension import UserError, quoted, ramp

LONGEST = 20_000  # characters
MOST = 1000  # levels
HIGHEST = 1e6
EXAMPLE = "such as 14.6, 7, 3, 1, 0.3, 0.03, 0"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Falling `sigmas` above 0, each at its place on the way, from 0 to 1; behind them comes 0."""

    places: tuple[float, ...]
    sigmas: tuple[float, ...]

    @property
    def text(self) -> str:
        """The curve as it is written with its places."""
        return ", ".join([*(f"{place:.4g}:{sigma:.6g}" for place, sigma in zip(self.places, self.sigmas, strict=True)), "0"])


def read(text: str) -> Curve:
    """The curve that a text means: levels, or places and levels, and a 0 at the end; `UserError` says why it means none."""
    entries = [each for each in re.split(r"[\s,;]+", text.strip(" \t\r\n[]()")) if each]
    if not 2 <= len(entries) <= MOST:
        refuse(f"The schedule has {len(entries)} noise levels; it needs 2 to {MOST:,}, {EXAMPLE}.")
    *written, last = entries
    if number(last, "noise level") != 0:
        refuse(f"The schedule ends at {quoted(last)}; it must end at 0, {EXAMPLE}.")
    pairs = [each.partition(":") for each in written]
    sigmas = tuple(number(sigma if sign else first, "noise level") for first, sign, sigma in pairs)
    check_levels(sigmas)
    placed = [sign == ":" for _, sign, _ in pairs]
    if not any(placed):
        return Curve(places=ramp(len(sigmas)), sigmas=sigmas)
    if not all(placed):
        refuse(f"The schedule has places before some noise levels and not before {quoted(written[placed.index(False)])}.")
    places = tuple(number(place, "place") for place, _, _ in pairs)
    check_places(places)
    return Curve(places=places, sigmas=sigmas)


def check_levels(sigmas: tuple[float, ...]) -> None:
    """Refuse levels that are not above 0, or do not fall."""
    for sigma in sigmas:
        if not 0 < sigma <= HIGHEST:
            refuse(f"The schedule has the noise level {sigma:g} before its end; each must be above 0 and at most {HIGHEST:,.0f}.")
    for before, after in pairwise(sigmas):
        if not after < before:
            refuse(f"The schedule goes from {before:g} to {after:g}; each noise level must be below the one before it.")


def check_places(places: tuple[float, ...]) -> None:
    """Refuse places that do not rise from 0 to 1."""
    for before, after in pairwise(places):
        if not before < after:
            refuse(f"The schedule goes from place {before:g} to {after:g}; each must be above the one before it.")
    if places[0] != 0 or (places[-1] != 1 and len(places) > 1):
        refuse(f"The schedule's places go from {places[0]:g} to {places[-1]:g}; the first must be 0 and the last 1.")


def number(text: str, what: str) -> float:
    """The finite number that a text says."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        refuse(f"The schedule's {what} {quoted(text)} is no number; write numbers and commas, {EXAMPLE}.")
    return value


def along(curve: Curve, n: int) -> tuple[float, ...]:
    """`n` levels evenly along the way, then 0; between two points the level's logarithm is a line, and points are met exactly."""
    if n > 1 and len(curve.sigmas) == 1:
        refuse(f"The schedule has one noise level above 0, which is one step; for {n} steps it needs another one.")
    found = tuple(level(curve, place) for place in ramp(n))
    if any(not after < before for before, after in pairwise(found)):
        refuse(f"Some of the schedule's noise levels are too close together for {n} steps; move them apart.")
    return (*found, 0.0)


def level(curve: Curve, place: float) -> float:
    """The noise level at a part of the way."""
    for index, (start, end) in enumerate(pairwise(curve.places)):
        if place <= end:
            part = (place - start) / (end - start)
            low, high = curve.sigmas[index + 1], curve.sigmas[index]
            return high if part <= 0 else low if part >= 1 else high * (low / high) ** part
    return curve.sigmas[-1]


def refuse(sentence: str) -> NoReturn:
    """Raise the error with this sentence."""
    raise UserError(sentence)
