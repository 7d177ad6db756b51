"""Drawing: every brace and every name of a list is replaced, from the outside in, until nothing is left to draw."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .lists import Entry, Lists, summed
from .scanning import Document, scanned, weighted

COUNT = re.compile(r"\s*(\d{0,2})(-?)(\d{0,2})\$\$")
JOINED_BY = ", "
MOST_DRAWN = 1_000  # braces and names in one prompt; what is left over stays as it is


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of a document that is still to be read, `lists` being those it came from; a list that names itself stays a name."""

    document: Document
    start: int
    end: int
    lists: tuple[str, ...] = ()


class Drawing:
    """Draws from `lists` by numbers in [0, 1), one for each choice."""

    def __init__(self, lists: Lists, number: Callable[[], float]) -> None:
        self._lists = lists
        self._number = number
        self._left = MOST_DRAWN

    def text(self, text: str) -> str:
        """The text with everything drawn."""
        document = scanned(text)
        waiting: list[Stretch | str] = [Stretch(document=document, start=0, end=len(text))]
        written: list[str] = []
        while waiting:
            each = waiting.pop()
            if isinstance(each, str):
                written.append(each)
            else:
                waiting += reversed(self._next(each, written))
        return "".join(written)

    def _next(self, stretch: Stretch, written: list[str]) -> list[Stretch | str]:
        """Write what comes before the next thing that means something; what that comes to and the rest are still to be read."""
        document = stretch.document
        place = bisect_left(document.marks, stretch.start)
        if place == len(document.marks) or document.marks[place] >= stretch.end:
            written.append(document.text[stretch.start : stretch.end])
            return []
        at = document.marks[place]
        written.append(document.text[stretch.start : at])
        if at in document.escapes:
            after = at + (3 if document.text[at + 1] == "_" else 2)
            found: list[Stretch | str] = [document.text[at + 1 : after]]
        elif at in document.names:
            name, after = document.names[at]
            found = [self._line(name, stretch) or document.text[at:after]]
        else:
            close, separators = document.braces[at]
            after = close + 1
            found = self._options(stretch, at, close, separators) if self._spend() else [document.text[at:after]]
        return [*found, Stretch(document=document, start=after, end=stretch.end, lists=stretch.lists)]

    def _spend(self) -> bool:
        self._left -= 1
        return self._left >= 0

    def _line(self, name: str, stretch: Stretch) -> Stretch | None:
        """An entry of a list, to be read in its turn; None where there is none, or the list would name itself."""
        entries = self._entries(name, stretch)
        if not entries or not self._spend():
            return None
        return _entry(entries[self._place(self._lists.sums(name))][1], name, stretch)

    def _entries(self, name: str, stretch: Stretch) -> Sequence[Entry]:
        return () if name.casefold() in stretch.lists else self._lists.entries(name)

    def _options(self, stretch: Stretch, start: int, close: int, separators: Sequence[int]) -> list[Stretch | str]:
        """The options that are drawn from a pair of braces, joined."""
        text = stretch.document.text
        spans = [(one + 1, two) for one, two in pairwise((start, *separators, close))]
        first = text[slice(*spans[0])]
        count = COUNT.match(first)
        joined = JOINED_BY
        if count is not None:
            begin = count.end()
            if (second := first.find("$$", begin)) >= 0 and "{" not in first[begin:second]:
                joined, begin = first[begin:second], second + 2
            spans[0] = (spans[0][0] + begin, spans[0][1])
        name, entries = self._listed(stretch, *spans[0]) if count is not None and len(spans) == 1 else ("", ())
        options = entries or [weighted(text[begin:end]) for begin, end in spans]
        wanted = 1 if count is None else self._between(*count.groups(), most=len(options))
        found: list[Stretch | str] = []
        for place in self._drawn([weight for weight, _ in options], wanted):
            rest = options[place][1]
            if entries:
                option = _entry(rest, name, stretch)
            else:
                end = spans[place][1]
                option = replace(stretch, start=end - len(rest), end=end)
            found += [*([joined] if found else []), option if count is None else _stripped(option)]
        return found

    def _listed(self, stretch: Stretch, start: int, end: int) -> tuple[str, Sequence[Entry]]:
        """The list that is all there is to draw several from, as in {2$$__colours__}, and its entries."""
        document = stretch.document
        start += len(document.text[start:end]) - len(document.text[start:end].lstrip())
        name, after = document.names.get(start, ("", end))
        return (name, self._entries(name, stretch)) if name and not document.text[after:end].strip() else ("", ())

    def _between(self, low: str, dash: str, high: str, *, most: int) -> int:
        """How many are wanted: `2`, `1-2`, `-2` (from 1 on) or `2-` (up to all)."""
        least = min(int(low or 1), most)
        last = max(min(int(high or most), most), least) if dash else least
        return least + min(int(self._number() * (last - least + 1)), last - least)

    def _drawn(self, weights: Sequence[float], count: int) -> list[int]:
        """The places of `count` different options, each drawn by its weight among those that are left."""
        left = list(range(len(weights)))
        found: list[int] = []
        while left and len(found) < count:
            found.append(left.pop(self._place(summed([weights[place] for place in left]))))
        return found

    def _place(self, sums: Sequence[float]) -> int:
        """A place, drawn by weights that are summed up."""
        return min(bisect_right(sums, self._number() * sums[-1]), len(sums) - 1)


def _entry(text: str, name: str, stretch: Stretch) -> Stretch:
    return Stretch(document=scanned(text), start=0, end=len(text), lists=(*stretch.lists, name.casefold()))


def _stripped(stretch: Stretch) -> Stretch:
    """An option without space around it."""
    text = stretch.document.text[stretch.start : stretch.end]
    start = stretch.start + len(text) - len(text.lstrip())
    return replace(stretch, start=start, end=start + len(text.strip()))
