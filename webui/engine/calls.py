"""Carrying out a call so that a failure hits nobody but its cause.

A call that raises is repeated job by job. One that runs out of memory is halved, down to single rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from webui.engine.batching import ROW_COUNTS, Waiting, call_of, halves
from webui.engine.networks import Networks, Predicted, out_of_memory
from webui.errors import OutOfMemory


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of the rows of one generation: predictions, of which these are rows `first` and following, or an error.

    `batched`: the call's shape did not follow from that generation's request alone; `halved`: because memory did not suffice.
    """

    waiting: Waiting
    batched: bool
    halved: bool = False
    predicted: Predicted | None = None
    first: int = 0
    error: Exception | None = None


def carry_out(
    chosen: Sequence[Waiting],
    networks: Networks,
    *,
    counts: Sequence[int] = ROW_COUNTS,
    began: Callable[[], None] = lambda: None,
    most: int | None = None,
    halved: bool = False,
) -> list[Outcome]:
    """Make one call for what was chosen, or several where it fails; calls of more than `most` rows are not even tried."""
    rows = [row for waiting in chosen for row in waiting.rows]

    def again(part: Sequence[Waiting], by_memory: bool) -> list[Outcome]:
        return carry_out(part, networks, counts=counts, began=began, most=most, halved=halved or by_memory)

    if most is not None and len(rows) > max(most, 1):
        return [outcome for half in halves(chosen) for outcome in again(half, True)]
    began()
    failure: Exception
    try:
        predicted = networks.predict(call_of(rows, counts))
        return outcomes(chosen, predicted, halved)
    except Exception as error:  # noqa: BLE001  the edge of a job: it becomes the job's failure
        failure = error
    if out_of_memory(failure):
        failure = failure.with_traceback(None)  # its frames hold the tensors that must go
        networks.free()
        if len(rows) > 1:
            return [outcome for half in halves(chosen) for outcome in again(half, True)]
        failure = not_enough(chosen[0])
    jobs = by_job(chosen)
    if len(jobs) > 1:
        return [outcome for part in jobs for outcome in again(part, False)]
    return [Outcome(waiting=waiting, batched=halved, halved=halved, error=failure) for waiting in chosen]


def outcomes(chosen: Sequence[Waiting], predicted: Predicted, halved: bool) -> list[Outcome]:
    """The share of each generation in one prediction."""
    batched = halved or len({waiting.generation for waiting in chosen}) > 1
    result, first = [], 0
    for waiting in chosen:
        result.append(Outcome(waiting=waiting, batched=batched, halved=halved, predicted=predicted, first=first))
        first += len(waiting.rows)
    return result


def by_job(chosen: Sequence[Waiting]) -> list[list[Waiting]]:
    """What was chosen, job by job, in order."""
    jobs: dict[Hashable, list[Waiting]] = {}
    for waiting in chosen:
        jobs.setdefault(waiting.job, []).append(waiting)
    return list(jobs.values())


def not_enough(waiting: Waiting) -> OutOfMemory:
    """The error for a single row that does not fit."""
    row = waiting.rows[0]
    height, width = row.x.shape[-2:]
    return OutOfMemory(
        f"There is not enough memory for a latent of {width} x {height} on the model {row.network!r}, even alone; "
        "use a smaller picture or a smaller model, or close other programs that use the device."
    )
