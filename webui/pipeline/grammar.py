"""The language of prompts: a scanner and a parser that takes any text, in one pass and without recursion.

What a text goes through, each stage keeping where in the person's own text its characters stand:

1. `# comment` to the end of its line is left out, then `<name:args>` tags are taken out and handed on.
2. `AND` splits what is left; a part may end in `:weight`. A negative prompt has neither tags nor parts.
3. `[from:to:when]` and `[a|b]` are choices by the step; the text at a step has one option of each.
4. Brackets in that text weight what is in them, `BREAK` begins a new window.

Whatever does not fit the grammar stands for itself. It is A1111's grammar, as its users know it, of which a choice needs brackets
that are whole: one bracket too many makes all that are open literal, and a loose `|` or lone backslash every choice of the part.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

ROUND, SQUARE = 1.1, 1 / 1.1  # what a pair of brackets multiplies the weight by
LARGEST_WEIGHT = 1e30  # beyond it float32 ends
COMMENT = re.compile(r"#[^\n]*+")
TAG = re.compile(r"<(\w++):(?!>)")
AND = re.compile(r"\bAND\b")
BREAK = re.compile(r"\bBREAK\b")
SIGNS = re.compile(r"\\.|[()\[\]:|\\]|[^()\[\]:|\\]++")
OPENING, SEPARATORS, CLOSING = frozenset("(["), frozenset(":|"), {")": "(", "]": "["}
ENDS = float("inf")  # in place of a factor: the token ends what its bracket began
PIECES = re.compile(r"\\[()\[\]\\]?|[()\[\]]|:\s*+[+-]?(?:\d++\.?+\d*+|\.\d++)\s*+\)|[^\\()\[\]:]++|:")
PART_WEIGHT = re.compile(r"[-+]?(?:\d+\.?|\d*\.\d+)")
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """Text made of slices of another: its piece `i` begins at `starts[i]`, and in the parent, or the source, at `origins[i]`."""

    text: str
    starts: Sequence[int] = (0,)
    origins: Sequence[int] = (0,)
    parent: Cut | None = None

    def take(self, ranges: Sequence[Span]) -> Cut:
        """The slices of this text, joined; the text itself where that is all of it."""
        if len(ranges) == 1 and ranges[0] == (0, len(self.text)):
            return self
        starts, length = [], 0
        for start, end in ranges:
            starts.append(length)
            length += end - start
        text = "".join([self.text[start:end] for start, end in ranges])
        return Cut(text=text, starts=starts, origins=[start for start, _ in ranges], parent=self)

    def without(self, removed: Iterable[Span]) -> Cut:
        """The text without some ranges, which are in order."""
        kept, done = [], 0
        for start, end in removed:
            if start > done:
                kept.append((done, start))
            done = end
        if done == 0:
            return self
        return self.take([*kept, (done, len(self.text))] if done < len(self.text) else kept)

    def place(self, index: int) -> int:
        """Where a character of this text stands in the source."""
        cut: Cut | None = self
        while cut is not None and cut.starts:
            piece = max(bisect_right(cut.starts, index) - 1, 0)
            index, cut = cut.origins[piece] + index - cut.starts[piece], cut.parent
        return index

    def span(self, start: int, end: int) -> Span:
        """Where a range of this text stands in the source, from its first character to its last."""
        return (self.place(start), self.place(end - 1) + 1) if end > start else (self.place(start), self.place(start))


class Tag(NamedTuple):
    """`<name:args>`, which an extension reads; `args` is all between the first colon and the end."""

    name: str
    args: str
    start: int
    end: int


class Choice(NamedTuple):
    """A range of a part of which one option is read: by the step it is switched at, `when`, or, where that is "", in turn."""

    start: int
    end: int
    options: tuple[Span, ...]
    when: str = ""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The steps that schedules count: `steps` of this pass, and those of the pass `before` where this one is hires fix's.

    A number with a point is a part of the steps, and 1 to 2 of hires fix's; one without is a step, counted from the first pass.
    `old`: numbers below 1 are parts, and hires fix goes by the first pass again, as before version 1.6 of A1111's UI.
    """

    steps: int
    before: int | None = None
    old: bool = False

    @property
    def last(self) -> int:
        """The number of the last step."""
        return self.before if self.old and self.before is not None else self.steps

    def switch(self, when: str) -> int:
        """The last step that reads what comes before the switch; 0 or less for none."""
        value = float(when)
        if self.old:
            value = value * self.last if value < 1 else value
        elif "." in when:
            value = (value if self.before is None else value - 1) * self.last
        else:
            value -= self.before or 0
        return self.last if value >= self.last else int(value) if value >= 1 else 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One of the texts that AND joins, with its weight. `literal` says where what makes its choices literal stands."""

    cut: Cut
    weight: float = 1.0
    choices: tuple[Choice, ...] = ()
    literal: Span | None = None

    def ends(self, timeline: Timeline) -> tuple[int, ...]:
        """The steps, from 1, after which the text may be another one, and the last."""
        if any(not choice.when for choice in self.choices):
            return tuple(range(1, timeline.last + 1))
        switches = {timeline.switch(choice.when) for choice in self.choices}
        return tuple(sorted({step for step in switches if step >= 1} | {timeline.last}))

    def at(self, step: int, timeline: Timeline) -> Cut:
        """The text that is read at a step, counted from 1."""
        if not self.choices:
            return self.cut
        ranges: list[Span] = []
        inside: list[Span] = []  # of the options being read: where each ends, and where its choice does
        position = 0

        def copy(until: int) -> None:
            nonlocal position
            while inside and inside[-1][0] <= until:
                end, after = inside.pop()
                ranges.append((position, end))
                position = after
            if until > position:
                ranges.append((position, until))
                position = until

        for choice in self.choices:
            if choice.start < position:  # in an option that is not read
                continue
            copy(choice.start)
            if position > choice.start:
                continue
            if choice.when:
                option = choice.options[step > timeline.switch(choice.when)]
            else:
                option = choice.options[(step - 1) % len(choice.options)]
            inside.append((option[1], choice.end))
            position = option[0]
        copy(len(self.cut.text))
        return self.cut.take([(start, end) for start, end in ranges if end > start])


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """A text as its grammar sees it: what it is read from step to step, and the tags that were taken out of it."""

    source: str
    parts: tuple[Part, ...]
    tags: tuple[Tag, ...] = ()


class Segment(NamedTuple):
    """Text of one weight: the slices `ranges` of a text joined; `breaks` where it is a BREAK."""

    text: str
    weight: float
    ranges: tuple[Span, ...]
    breaks: bool = False


def parse(source: str, *, negative: bool = False) -> Prompt:
    """Read any text; of a negative prompt only what is chosen by the step."""
    cut = Cut(text=source)
    if "#" in source:
        cut = cut.without([match.span() for match in COMMENT.finditer(source)])
    if negative:
        return Prompt(source=source, parts=(part_of(cut),))
    found = list(_tags(cut.text))
    tags = tuple(Tag(name, args, *cut.span(start, end)) for name, args, start, end in found)
    cut = cut.without([(start, end) for *_, start, end in found])
    return Prompt(source=source, parts=tuple(_parts(cut)), tags=tags)


def uncommented(text: str) -> str:
    """The text without its comments; what follows a style's or goes before another text must not vanish in one."""
    return Cut(text=text).without([match.span() for match in COMMENT.finditer(text)]).text


def _tags(text: str) -> Iterator[tuple[str, str, int, int]]:
    """Name, arguments, start and end of each tag."""
    done = 0
    while (match := TAG.search(text, done)) is not None:
        end = text.find(">", match.end())
        if end < 0:
            return
        yield match.group(1), text[match.end() : end], match.start(), end + 1
        done = end + 1


def _parts(cut: Cut) -> Iterator[Part]:
    """The parts of a prompt and their weights."""
    done = 0
    for match in AND.finditer(cut.text):
        yield _weighted(cut.take([(done, match.start())]))
        done = match.end()
    yield _weighted(cut.take([(done, len(cut.text))]))


def _weighted(cut: Cut) -> Part:
    """A part without the weight at its end."""
    text = cut.text.rstrip()
    colon = text.rfind(":")
    number = text[colon + 1 :].lstrip() if colon >= 0 else ""
    if not PART_WEIGHT.fullmatch(number):
        return part_of(cut.take([(0, len(text))]))
    return part_of(cut.take([(0, len(text[:colon].rstrip()))]), limited(float(number)))


def limited(weight: float) -> float:
    """A weight that float32 can hold."""
    return max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, weight))


def part_of(cut: Cut, weight: float = 1.0) -> Part:
    """A part with the choices that are in its text."""
    choices, literal = _choices(cut.text) if "[" in cut.text and "]" in cut.text else ((), None)
    return Part(cut=cut, weight=weight, choices=choices, literal=literal)


def _choices(text: str) -> tuple[tuple[Choice, ...], Span | None]:
    """All choices by where they begin; none, and what is to blame, where something makes them all literal."""
    found: list[Choice] = []
    open_brackets: list[tuple[str, int, int]] = []  # which, where, and how many separators stand before it
    separators: list[int] = []  # in brackets that are open, where they are
    bar = -1  # the first that is in no choice yet
    end = 0
    for sign in SIGNS.findall(text):
        at, end = end, end + len(sign)
        if sign in OPENING:
            open_brackets.append((sign, at, len(separators)))
        elif sign in SEPARATORS:
            bar = at if bar < 0 and sign == "|" else bar
            if open_brackets:
                separators.append(at)
            elif sign == "|":
                return (), (bar, bar + 1)
        elif sign in CLOSING:
            whole = False
            if open_brackets and open_brackets[-1][0] == CLOSING[sign]:
                kind, start, before = open_brackets.pop()
                inner = len(separators) - before
                whole = not inner or (kind == "(" and inner == 1 and text[separators[-1]] == ":")
                if inner:
                    if kind == "[" and (choice := _choice(text, start, at, separators[before:])) is not None:
                        found.append(choice)
                        bar = -1 if bar > start else bar
                        whole = True
                    del separators[before:]
            if not whole:
                if bar >= 0:
                    return (), (bar, bar + 1)
                open_brackets.clear()
                separators.clear()
        elif sign == "\\":
            return (), (at, at + 1)
    found.sort()
    return ((), (bar, bar + 1)) if bar >= 0 else (tuple(found), None)


def _choice(text: str, start: int, end: int, separators: Sequence[int]) -> Choice | None:
    """What a pair of square brackets says, None where it does not fit."""
    first, last = separators[0], separators[-1]
    if text[first] == "|":
        if any(text[at] != "|" for at in separators):
            return None
        edges = (start, *separators, end)
        return Choice(start, end + 1, tuple((one + 1, two) for one, two in pairwise(edges)))
    when = text[last + 1 : end].strip()
    if len(separators) > 2 or text[last] == "|" or not NUMBER.fullmatch(when):
        return None
    options = ((start + 1, start + 1), (start + 1, first)) if first == last else ((start + 1, first), (first + 1, last))
    return Choice(start, end + 1, options, when)


def attention(text: str) -> list[Segment]:
    """What the brackets of a text weight, as A1111 reads them: an unclosed one holds to the end, the two kinds may cross.

    No text is one empty segment.
    """
    segments: list[Segment] = []
    ranges: list[Span] = []
    held = 1.0
    for start, end, weight in _weights(text):
        if weight is None or (weight != held and ranges):
            segments.append(_segment(text, held, ranges))
            ranges = []
        if weight is None:
            segments.append(Segment("BREAK", -1.0, ((start, end),), True))
            continue
        held = weight
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return [*segments, _segment(text, held, ranges)] if ranges or not segments else segments


def _segment(text: str, weight: float, ranges: Sequence[Span]) -> Segment:
    return Segment("".join([text[start:end] for start, end in ranges]), weight, tuple(ranges))


def _weights(text: str) -> Iterator[tuple[int, int, float | None]]:
    """Each range of text with its weight, None for a BREAK. Factors multiply from the outermost bracket in."""
    tokens = PIECES.findall(text)
    rounds, squares, weight, at = [1.0], [1.0], 1.0, 0
    for token, factor in zip(tokens, _factors(tokens), strict=True):
        end = at + len(token)
        if factor is None:
            if len(token) > 4 and "BREAK" in token:
                yield from _breaks(text, at, end, weight)
            else:
                yield at + (token[0] == "\\"), end, weight
        else:
            stack = squares if token in "[]" else rounds
            if factor == ENDS:
                stack.pop()
            else:
                value = stack[-1] * factor
                stack.append(value if -LARGEST_WEIGHT < value < LARGEST_WEIGHT else limited(value))
            weight = rounds[-1] * squares[-1]
            if not -LARGEST_WEIGHT < weight < LARGEST_WEIGHT:
                weight = limited(weight)
        at = end


def _breaks(text: str, start: int, end: int, weight: float) -> Iterator[tuple[int, int, float | None]]:
    """Ranges of text around BREAK, which begins a new window only where nothing weights it."""
    for match in BREAK.finditer(text, start, end):
        yield start, start + len(text[start : match.start()].rstrip()), weight
        yield *match.span(), None if weight == 1 else -weight
        start = match.end()
        while start < end and text[start].isspace():
            start += 1
    yield start, end, weight


def _factors(tokens: Sequence[str]) -> list[float | None]:
    """What each token does to the weight: the factor of a bracket that opens, ENDS, or None where it is text."""
    factors: list[float | None] = [None] * len(tokens)
    rounds: list[int] = []
    squares: list[int] = []
    for index, token in enumerate(tokens):
        first = token[0]
        if first in "([":
            (rounds if first == "(" else squares).append(index)
            factors[index] = ROUND if first == "(" else SQUARE
        elif first in ")]:":
            stack = squares if first == "]" else rounds
            if stack and token != ":":
                opening = stack.pop()
                factors[index] = ENDS
                if first == ":":
                    factors[opening] = limited(float(token[1:-1]))
    return factors
