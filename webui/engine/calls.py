"""Network calls for rows: how one is begun, what it answers to whom, and what was learnt about memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.engine.batching import Waiting, call_of, padded_count
from webui.engine.modes import modes_kept
from webui.engine.networks import Networks, Predicted
from webui.errors import JobError

FORGET_AFTER = 256  # calls after which a size that did not fit is tried again: memory may have come back


@dataclass(frozen=True, kw_only=True, eq=False)
class Flight:
    """A call that has begun: the parts whose rows it holds, in order, and their predictions, perhaps still being computed."""

    parts: tuple[Waiting, ...]
    predicted: Predicted

    @property
    def batched(self) -> bool:
        """Whether the call's shape did not follow from one picture's request alone."""
        return len({part.generation for part in self.parts}) > 1 or any(part.cut for part in self.parts)

    def shares(self) -> Iterator[tuple[Waiting, slice]]:
        """Each part, and where its rows are in the call."""
        first = 0
        for part in self.parts:
            yield part, slice(first, first + len(part.rows))
            first += len(part.rows)


def begin(parts: Sequence[Waiting], networks: Networks, counts: Sequence[int]) -> Flight:
    """Begin one call for these parts; whatever the network or a hook in it raises is the caller's to judge."""
    rows = [row for part in parts for row in part.rows]
    with modes_kept():
        predicted = networks.predict(call_of(rows, counts))
    if len(predicted.rows) != len(rows):
        raise JobError(f"The model {rows[0].network!r} answered {len(predicted.rows)} rows of {len(rows)}.")
    return Flight(parts=tuple(parts), predicted=predicted)


def jobs_of(parts: Iterable[Waiting]) -> list[Any]:
    """Whose parts these are, each job once, in order."""
    return list(dict.fromkeys(part.job for part in parts))


class Fits:
    """How many rows fit into one call, by the key of their group: learnt from calls that ran out of memory, for a while."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._known: dict[Hashable, tuple[int, int]] = {}

    def learn(self, key: Hashable, rows: int, calls: int) -> int:
        """Note that so many rows, more than one, did not fit, and return how many to try: half of what the call was padded to."""
        fewer = min(padded_count(rows, self._counts) // 2, rows - 1)
        self._known[key] = fewer, calls
        return fewer

    def known(self, calls: int) -> Mapping[Hashable, int]:
        """What is known at a time counted in `calls`, old knowledge forgotten."""
        self._known = {key: (rows, at) for key, (rows, at) in self._known.items() if calls - at < FORGET_AFTER}
        return {key: rows for key, (rows, _) in self._known.items()}

    def forget(self, key: Hashable) -> None:
        """Let go of what one group taught, such as that of a row that does not fit at all."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Let go of everything."""
        self._known.clear()
