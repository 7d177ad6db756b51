"""Schedules: which of a model's noise levels a picture is sampled at. Names and functions are had without importing torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from webui.errors import UserError

if TYPE_CHECKING:  # so that the page can list the names before torch is there
    from webui.pipeline.noise_table import NoiseTable


Sigmas = tuple[float, ...]
LCM_STEPS = 50  # of the training steps, those that latent consistency models were distilled at


class Schedule(Protocol):
    """The choice of noise levels for `n` steps: falling sigmas from the highest to, as a rule, a final 0.

    `sigma_min` and `sigma_max` narrow the table's range; other options, such as `rho`, bend the curve. Its keyword-only arguments
    are the options it has; it ignores others, and None is its own default. Raises `UserError` for numbers that make no schedule.
    """

    def __call__(self, n: int, table: NoiseTable, **options: Any) -> Sigmas: ...


def options_of(schedule: Schedule) -> tuple[str, ...]:
    """The names of the options that a schedule has."""
    return tuple(each.name for each in inspect.signature(schedule).parameters.values() if each.kind is each.KEYWORD_ONLY)


def uniform(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> Sigmas:
    """`n` evenly spaced times from the highest noise level to the lowest, then 0."""
    low, high = times(n, table, sigma_min, sigma_max)
    return (*(table.sigma_of(high + at * (low - high)) for at in ramp(n)), 0.0)


def sgm_uniform(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> Sigmas:
    """`n` evenly spaced times, of which 0 would be the lowest noise level's, then 0 (as Stability's own code had it)."""
    low, high = times(n, table, sigma_min, sigma_max)
    return (*(table.sigma_of(high + i / n * (low - high)) for i in range(n)), 0.0)


def karras(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, rho: float | None = None,
    **_: float | None,
) -> Sigmas:  # fmt: skip
    """`n` sigmas whose `rho`-th roots (7th, if not told) are evenly spaced, then 0 (arXiv:2206.00364, eq. 5)."""
    low, high = ends(n, table, sigma_min, sigma_max)
    power = bent(rho, 7.0)
    start, end = high ** (1 / power), low ** (1 / power)
    return (*((start + at * (end - start)) ** power for at in ramp(n)), 0.0)


def exponential(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> Sigmas:
    """`n` sigmas whose logarithms are evenly spaced, then 0."""
    low, high = ends(n, table, sigma_min, sigma_max)
    return (*(high * (low / high) ** at for at in ramp(n)), 0.0)


def simple(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """Every (T / n)-th training step, counted down from the last and rounded up, then 0; at most every one of them."""
    ends(n, table, None, None)
    last = len(table.sigmas)
    return (*(float(table.sigmas[t]) for t in sorted({last - 1 - int(i * last / n) for i in range(n)}, reverse=True)), 0.0)


def ddim(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """Every (T // n)-th training step, counted up from 1, then 0 (Song et al. 2020, arXiv:2010.02502, appendix D.2).

    That is `n` steps or a few more where `n` does not divide T: 31 for n = 30.
    """
    return (*_ddim_steps(n, table), 0.0)


def ddim_timesteps(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """The steps of `ddim`, ending not at 0 but at the table's first entry, as latent diffusion's own sampler did.

    The sampler "DDIM" is made for it and scales its result for the noise that is left.
    """
    return (*_ddim_steps(n, table), table.sigma_min)


def lcm(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """`n` of the 50 steps that latent consistency models know, evenly spaced, then 0 (Luo et al. 2023, arXiv:2310.04378).

    They are every 20th of 1,000 training steps, 999 the highest and 19 the lowest. More than 50 lie between them.
    """
    ends(n, table, None, None)
    last = len(table.sigmas)
    every = max(last // LCM_STEPS, 1)
    places = [(1 - at) * (LCM_STEPS - 1) for at in ramp(n)]
    chosen = map(round, places) if n <= LCM_STEPS else places
    return (*(table.sigma_of(last - 1 - every * (LCM_STEPS - 1 - place)) for place in chosen), 0.0)


def _ddim_steps(n: int, table: NoiseTable) -> Sigmas:
    ends(n, table, None, None)
    last = len(table.sigmas)
    return tuple(float(table.sigmas[t]) for t in reversed(range(1, last, max(last // n, 1))))


def ends(n: int, table: NoiseTable, sigma_min: float | None, sigma_max: float | None) -> tuple[float, float]:
    """The lowest and highest sigma asked for, or else the table's; `UserError` where they make no schedule of `n` steps."""
    low = table.sigma_min if sigma_min is None else sigma_min
    high = table.sigma_max if sigma_max is None else sigma_max
    if n < 1:
        raise UserError(f"The number of steps was {n}; it must be at least 1.")
    if not 0 < low < high < math.inf:
        raise UserError(f"The schedule was to run from sigma {high:g} to {low:g}; the first must be the larger, both above 0.")
    return low, high


def times(n: int, table: NoiseTable, sigma_min: float | None, sigma_max: float | None) -> tuple[float, float]:
    """The times of `ends`, as far as the table knows them; `UserError` where nothing of it lies between them."""
    low, high = ends(n, table, sigma_min, sigma_max)
    if not table.t_of(low) < table.t_of(high):
        known = f"the model's noise levels lie between {table.sigma_min:g} and {table.sigma_max:g}"
        raise UserError(f"The schedule was to run from sigma {high:g} to {low:g}; {known}.")
    return table.t_of(low), table.t_of(high)


def bent(rho: float | None, usual: float) -> float:
    """The power asked for, or the `usual` one; `UserError` where it bends nothing."""
    power = usual if rho is None else rho
    if not 1 <= power <= 100:
        raise UserError(f"Schedule rho was {power:g}; it must be from 1 to 100 ({usual:g} is usual).")
    return power


def ramp(n: int) -> tuple[float, ...]:
    """`n` evenly spaced numbers from 0 to 1; a single one is 0."""
    return tuple(i / max(n - 1, 1) for i in range(n))


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "Uniform": uniform,
        "Karras": karras,
        "Exponential": exponential,
        "SGM Uniform": sgm_uniform,
        "Simple": simple,
        "DDIM": ddim,
        "DDIM timesteps": ddim_timesteps,
        "LCM": lcm,
    }
)
