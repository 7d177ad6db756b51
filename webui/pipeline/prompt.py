"""From a prompt's text to the windows of token ids that a text tower reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from webui.drawing import IGNORED, NO_EMPHASIS, ORIGINAL_EMPHASIS
from webui.nets.spec import TextSpec
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.grammar import Cut, Segment, Span, attention
from webui.pipeline.patches import TokenVectors
from webui.pipeline.protocol import TokenChunk

COMMA_REACH = 20  # tokens: what follows a comma this near the end of a full window moves to the next one with it
VECTOR_ID = 0  # the id where a vector stands in for a token

Matcher = Callable[[Sequence[int], int], tuple[TokenVectors, int] | None]
"""Which token vectors the ids name from a place on, and by how many ids."""


class Piece(NamedTuple):
    """One place of a window: a token's id, its weight, the range of text it stands for, and the vector in its stead, if any."""

    id: int
    weight: float
    span: Span
    vector: tuple[str, int] | None = None


class Cutting(NamedTuple):
    """A text in windows, without start, end and padding, and how many tokens it counts, full windows as full."""

    windows: tuple[tuple[Piece, ...], ...]
    tokens: int


def matcher(tokenizer: Tokenizer, known: Sequence[TokenVectors]) -> Matcher:
    """A search for the names of token vectors among ids; the longest name wins, whatever stands around it."""
    names: dict[int, list[tuple[list[int], TokenVectors]]] = {}
    for each in known:
        ids = tokenizer.encode(each.name)
        if ids:
            names.setdefault(ids[0], []).append((ids, each))
    for own in names.values():
        own.sort(key=lambda pair: -len(pair[0]))

    def match(ids: Sequence[int], at: int) -> tuple[TokenVectors, int] | None:
        for own, vectors in names.get(ids[at], ()):
            if ids[at : at + len(own)] == own:
                return vectors, len(own)
        return None

    return match


def segments_of(text: str, emphasis: str = ORIGINAL_EMPHASIS) -> list[Segment]:
    """The text's segments and their weights, as the mode of emphasis reads them."""
    if emphasis == NO_EMPHASIS:
        return [Segment(text, 1.0, ((0, len(text)),))]
    found = attention(text)
    if emphasis == IGNORED:
        return [segment if segment.breaks else segment._replace(weight=1.0) for segment in found]
    return found


def cut(segments: Sequence[Segment], tokenizer: Tokenizer, room: int, match: Matcher | None = None) -> Cutting:
    """Cut a text into windows of at most `room` tokens.

    A full window ends at its last comma where that is near; BREAK ends one; the vectors of one name stay together.
    """
    (comma,) = tokenizer.encode(",")
    done: list[tuple[Piece, ...]] = []
    window: list[Piece] = []
    last_comma = -1
    for segment in segments:
        if segment.breaks:
            done.append(tuple(window))
            window, last_comma = [], -1
            continue
        for group, is_comma in _groups(segment, tokenizer, comma, match):
            if is_comma:
                last_comma = len(window)
            elif len(window) == room and last_comma >= 0 and room - last_comma <= COMMA_REACH:
                done.append(tuple(window[: last_comma + 1]))
                window, last_comma = window[last_comma + 1 :], -1
            if len(window) + len(group) > room:
                done.append(tuple(window))
                window, last_comma = [], -1
            window += group
    count = len(done) * room + len(window)
    if window or not done:
        done.append(tuple(window))
    return Cutting(tuple(done), count)


def _groups(segment: Segment, tokenizer: Tokenizer, comma: int, match: Matcher | None) -> Iterator[tuple[list[Piece], bool]]:
    """What goes into a window at once, a token or the vectors of one name, and whether it is a comma."""
    tokens = tokenizer.spans(segment.text)
    ids = [token.id for token in tokens]
    lengths = [end - start for start, end in segment.ranges]
    source = Cut(text=segment.text, starts=[0, *accumulate(lengths[:-1])], origins=[start for start, _ in segment.ranges])
    at = 0
    while at < len(tokens):
        found = match(ids, at) if match is not None else None
        if found is None:
            token = tokens[at]
            yield [Piece(token.id, segment.weight, source.span(token.start, token.end))], token.id == comma
            at += 1
        else:
            vectors, length = found
            span = source.span(tokens[at].start, tokens[at + length - 1].end)
            yield [Piece(VECTOR_ID, segment.weight, span, (vectors.content, row)) for row in range(vectors.count)], False
            at += length


def places(
    segments: Sequence[Segment], tokenizer: Tokenizer, spec: TextSpec, match: Matcher | None = None
) -> tuple[Span | None, ...]:
    """Which range of the text stands at each place of the windows that it is cut into; None at start, end and padding."""
    pieces = cut(segments, tokenizer, spec.positions - 2, match).windows
    spans = [[None, *(piece.span for piece in own)] for own in pieces]
    return tuple(chain.from_iterable([*own, *[None] * (spec.positions - len(own))] for own in spans))


def windows(
    segments: Sequence[Segment], tokenizer: Tokenizer, spec: TextSpec, match: Matcher | None = None
) -> tuple[TokenChunk, ...]:
    """A text as windows of `spec.positions` ids: start, up to positions - 2 tokens, end, padding."""
    pieces = cut(segments, tokenizer, spec.positions - 2, match).windows
    return tuple(_window(own, tokenizer, spec.positions, spec.padding) for own in pieces)


def _window(pieces: Sequence[Piece], tokenizer: Tokenizer, positions: int, padding: int) -> TokenChunk:
    ids = [tokenizer.start, *(piece.id for piece in pieces), tokenizer.end]
    rest = positions - len(ids)
    weights = (1.0, *(piece.weight for piece in pieces), 1.0, *(1.0,) * rest)
    vectors = tuple((place, *piece.vector) for place, piece in enumerate(pieces, start=1) if piece.vector is not None)
    return TokenChunk((*ids, *(padding,) * rest), weights, vectors)
