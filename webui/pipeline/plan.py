"""Which noise levels a request's steps visit: its schedule, with what it and its sampler ask of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from webui.params import AUTOMATIC
from webui.pipeline.levels import Levels
from webui.pipeline.samplers import SamplerInfo
from webui.pipeline.schedules import Schedule, options_of
from webui.request import Request

if TYPE_CHECKING:
    from webui.pipeline.noise_table import NoiseTable

Plan = Callable[[int, "NoiseTable"], tuple[float, ...]]


def planned(request: Request, info: SamplerInfo, schedule: Schedule) -> Plan:
    """The schedule with the request's options, and as its sampler needs it: without the last sigma but one, on training steps.

    The schedule that a sampler is made for is on the steps that it wants. An option of 0 is the schedule's own, as A1111 has it.
    What an extension noted as `schedules` when the job was submitted are options too, by the schedule's name.
    """
    known = options_of(schedule)
    options: dict[str, Any] = {name: value for name, value in request.schedule_options.items() if value != 0}
    for own in request.extensions.values():
        options |= own.get("noted", {}).get("schedules", {}).get(request.schedule, {})
    options = {name: value for name, value in options.items() if name in known}
    discards = (request.discard_penultimate or info.discards_penultimate) and not info.own_steps
    moves = info.timesteps and request.schedule not in (AUTOMATIC, info.schedule)

    def sigmas(n: int, table: NoiseTable) -> tuple[float, ...]:
        found = schedule(n + discards, table, **options)
        found = (*found[:-2], found[-1]) if discards else found
        return on_entries(found, table) if moves else found

    return sigmas


def on_entries(sigmas: tuple[float, ...], table: NoiseTable | Levels) -> tuple[float, ...]:
    """The same noise levels moved to the nearest training steps; as they are where two would share one. 0 stays."""
    times = [round(table.t_of(sigma)) for sigma in sigmas if sigma > 0]
    if len(set(times)) < len(times):
        return sigmas
    return (*(table.sigma_of(t) for t in times), *sigmas[len(times) :])
