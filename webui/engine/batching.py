"""Which waiting rows go into the next network call: pure functions over what waits.

Rows may share a call where network, latent shape, patches, padding and the shapes of everything else are equal. Contexts of
different length are repeated to a common one: softmax attention over whole copies of a context is that over the context.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from webui.pipeline.protocol import Row

ROW_COUNTS = (1, 2, 4, 8, 16)  # the only numbers of rows a network call has: few shapes to compile, capture and tune for
MOST_REPEATS = 4
PATIENCE = 32  # calls that rows may wait for others that need no swap of weights: a picture is done before the next swap
NOTHING_KNOWN: Mapping[Hashable, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """Rows of one ask that stay together: `positions` within the ask, and when it was asked (`ticket` rises, `call` counts the
    calls made before).

    `generation` says whose they are and `job` whose that is (compared by identity). With `alone` they share no call with another
    generation, with `apart` none with another job (a call that they shared has raised). `cut`: memory did not suffice for the
    part that they come from.
    """

    generation: Any
    job: Any
    rows: tuple[Row, ...]
    positions: tuple[int, ...]
    ticket: int
    call: int = 0
    alone: bool = False
    apart: bool = False
    cut: bool = False
    key: Hashable = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RowCall:
    """One network call: its rows, the number of rows it is padded to, and the length its contexts are repeated to."""

    rows: tuple[Row, ...]
    count: int
    length: int


def group_key(row: Row) -> Hashable:
    """Rows may go into one call where this is equal (and their contexts have a common length)."""
    vector = row.conditioning.vector
    return (
        row.network,
        row.x.shape,
        row.patches.key,
        row.conditioning.tokens.shape[-1],
        _shape(vector),
        _shape(row.channels),
        row.guidance is None,
        tuple(map(_shape, row.residuals)),
        tuple(map(_shape, row.patches.residuals)),
    )


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def common_length(lengths: Iterable[int]) -> int | None:
    """The length that contexts of these lengths are repeated to, at most `MOST_REPEATS` times each; None where there is none."""
    lengths = set(lengths)
    length = math.lcm(*lengths)
    return length if length <= MOST_REPEATS * min(lengths) else None


def padded_count(rows: int, counts: Sequence[int] = ROW_COUNTS) -> int:
    """The smallest of the fixed row counts that holds `rows`; `counts` rise."""
    return next((count for count in counts if count >= rows), rows)


def call_of(rows: Sequence[Row], counts: Sequence[int] = ROW_COUNTS) -> RowCall:
    """The call that holds these rows, which belong together."""
    length = common_length(map(_length, rows))
    assert length is not None
    return RowCall(rows=tuple(rows), count=padded_count(len(rows), counts), length=length)


def _length(row: Row) -> int:
    return row.conditioning.tokens.shape[0]


def divide(ask: Waiting, most: int = ROW_COUNTS[-1]) -> tuple[Waiting, ...]:
    """Cut the rows of an ask into parts that fit into one call each, in order; what can go together stays together."""
    parts: list[tuple[Hashable, list[int]]] = []
    for position, row in enumerate(ask.rows):
        key = group_key(row)
        for part_key, positions in parts:
            lengths = {_length(ask.rows[other]) for other in positions} | {_length(row)}
            if part_key == key and len(positions) < most and common_length(lengths) is not None:
                positions.append(position)
                break
        else:
            parts.append((key, [position]))
    return tuple(part_of(ask, positions, key) for key, positions in parts)


def part_of(ask: Waiting, indices: Sequence[int], key: Hashable) -> Waiting:
    """The rows at these indices of `ask` alone."""
    rows, positions = tuple(ask.rows[i] for i in indices), tuple(ask.positions[i] for i in indices)
    return replace(ask, rows=rows, positions=positions, key=key)


def pieces(part: Waiting, most: int) -> tuple[Waiting, ...]:
    """A part cut into pieces of at most `most` rows, because memory does not suffice for more."""
    count = len(part.rows)
    if count <= max(most, 1):
        return (part,)
    halves = range(count // 2), range(count // 2, count)
    return tuple(piece for half in halves for piece in pieces(replace(part_of(part, half, part.key), cut=True), most))


def choose(
    waiting: Sequence[Waiting], *, calls: int, ready: Callable[[Waiting], bool], most: int = ROW_COUNTS[-1],
    fits: Mapping[Hashable, int] = NOTHING_KNOWN, patience: int = PATIENCE,
) -> tuple[Waiting, ...]:
    """What the next call holds: the first in line, and all that may go with it, at most `most` rows or what `fits` for its key.

    First in line is whoever has waited for `patience` of the `calls` made so far, then whoever needs no swap of weights
    (`ready`), then whoever asked first.
    """

    def place(each: Waiting) -> tuple[bool, bool, int]:
        patient = calls - each.call < patience
        return patient, patient and not ready(each), each.ticket

    first = min(waiting, key=place)
    chosen, most = [first], min(most, fits.get(first.key, most))
    rows, lengths = len(first.rows), set(map(_length, first.rows))
    for other in sorted(waiting, key=lambda each: each.ticket):
        if other is first or not together(first, other) or rows + len(other.rows) > most:
            continue
        joined = lengths | set(map(_length, other.rows))
        if common_length(joined) is not None:
            chosen.append(other)
            rows, lengths = rows + len(other.rows), joined
    return tuple(sorted(chosen, key=lambda each: each.ticket))


def together(one: Waiting, other: Waiting) -> bool:
    """Whether two parts may share a call, as far as that is theirs to say."""
    if one.alone or other.alone or one.key != other.key:
        return False
    return one.job is other.job or not (one.apart or other.apart)
