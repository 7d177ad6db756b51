"""Which places of a text's conditioning belong to which of its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int]
APOSTROPHES = ("'", "\u2019")


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word as it is written, and the places of its tokens."""

    text: str
    places: tuple[int, ...]


def words_of(text: str, places: Sequence[Span | None]) -> list[Word]:
    """The words of a text in their order, by the range of it that stands at each place; marks and signs belong to none.

    Tokens without anything between them are one word ("unbeliev" + "able"), as are the vectors that stand in for one name.
    """
    found: list[tuple[int, int, list[int]]] = []
    for place, span in enumerate(places):
        if span is None:
            continue
        start, end = span
        follows = bool(found) and start <= found[-1][1]
        if not any(map(str.isalnum, text[start:end])) and not (follows and text[start:end] in APOSTROPHES):
            continue
        if follows:
            first, last, own = found[-1]
            found[-1] = first, max(last, end), [*own, place]
        else:
            found.append((start, end, [place]))
    return [Word(text=text[start:end], places=tuple(own)) for start, end, own in found]
