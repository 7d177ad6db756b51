"""What a request's texts mean to a network, from the first step to the last."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from webui.pipeline.protocol import Conditioning, Moment


def nowhere(sigma: float) -> float:  # noqa: ARG001  (as any place has it)
    """The place of every noise level where nothing changes along the way."""
    return 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """A text along a schedule: `means[i]` holds until the call `until[i]`, and that one too; the last holds for good.

    Calls of the network count from 0, `evaluations` in each step, as A1111 counts and compares them: of `[a:b:5]` the calls 0 to
    5 see `a`. An adaptive sampler has no number of steps; there `place(sigma)` is the part of the way (0 to 1) that lies behind a
    noise level.
    """

    until: tuple[int, ...]
    means: tuple[Conditioning, ...]
    evaluations: int = 1
    place: Callable[[float], float] = nowhere

    def at(self, moment: Moment) -> Conditioning:
        """What the text means at a moment."""
        if moment.steps is None:
            return self.in_call(int(self.place(moment.sigma) * self.until[-1]))
        return self.in_call(moment.step * self.evaluations + moment.evaluation)

    def in_call(self, call: int) -> Conditioning:
        """What the text means in a call of the network."""
        return self.means[min(bisect_left(self.until, call), len(self.means) - 1)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One of the texts that AND joins: each pulls away from the negative prompt by its own weight."""

    course: Course
    weight: float = 1.0

    def at(self, moment: Moment) -> Conditioning:
        """What the part means at a moment."""
        return self.course.at(moment)


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """The prompt's parts, at least one, and the negative prompt."""

    parts: tuple[Part, ...]
    course: Course

    def negative(self, moment: Moment) -> Conditioning:
        """What the negative prompt means at a moment."""
        return self.course.at(moment)


def constant(meaning: Conditioning) -> Course:
    """A text that means the same in every call."""
    return Course(until=(0,), means=(meaning,))


def levelled(courses: Sequence[Course]) -> tuple[Course, ...]:
    """The same courses, equally long in every call: the shorter ones go on with their last token's vector, as A1111 has it."""
    if len({len(meaning.tokens) for course in courses for meaning in course.means}) == 1:
        return tuple(courses)
    until = tuple(sorted({call for course in courses for call in course.until}))
    lengths = [max(len(course.in_call(call).tokens) for course in courses) for call in until]

    def at_all(course: Course) -> tuple[Conditioning, ...]:
        return tuple(stretched(course.in_call(call), length) for call, length in zip(until, lengths, strict=True))

    return tuple(replace(course, until=until, means=at_all(course)) for course in courses)


def stretched(meaning: Conditioning, length: int) -> Conditioning:
    """A conditioning of `length` tokens, those beyond its own being copies of its last."""
    missing = length - len(meaning.tokens)
    if missing == 0:
        return meaning
    tokens = torch.cat([meaning.tokens, meaning.tokens[-1:].expand(missing, -1)])
    return replace(meaning, tokens=tokens, key=meaning.key and f"{meaning.key} to {length}")
