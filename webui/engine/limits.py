"""How much the engine does at once."""

from __future__ import annotations

from dataclasses import dataclass

from webui.engine.batching import PATIENCE, ROW_COUNTS


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much the engine does at once; a ValueError where it could do nothing.

    At most `running` pictures, `each` of one job; calls of at most `counts[-1]` rows; `in_flight` calls before the first is
    waited for (more than 1 only pays where the device works beside the host, and what the device reports late then fails all
    who shared the call). Rows wait at most `patience` calls for others that need no swap. `keep` ended jobs whose last event
    was read stay readable; unread ones stay until they are forgotten.
    """

    running: int = 8
    each: int = 4
    counts: tuple[int, ...] = ROW_COUNTS
    in_flight: int = 1
    patience: int = PATIENCE
    previews_per_second: float = 8.0
    keep: int = 64

    def __post_init__(self) -> None:
        if min(self.running, self.each, self.in_flight, *self.counts) < 1 or self.previews_per_second <= 0:
            raise ValueError(f"An engine with {self} would never do anything.")
        if not self.counts or list(self.counts) != sorted(set(self.counts)):
            raise ValueError(f"The numbers of rows were {self.counts}; they must rise.")


USUAL = Limits()
