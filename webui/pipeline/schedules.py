"""Schedules: which of a model's noise levels a picture is sampled at. Names and functions are had without importing torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from webui.errors import UserError

if TYPE_CHECKING:  # so that the page can list the names before torch is there
    from webui.pipeline.noise_table import NoiseTable


class Schedule(Protocol):
    """The choice of noise levels for `n` steps: falling sigmas from the highest to, as a rule, a final 0.

    `sigma_min` and `sigma_max` narrow the table's range; `rho` bends the curve. A schedule ignores those that mean nothing to it.
    Raises `UserError` for numbers that make no schedule.
    """

    def __call__(
        self, n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, rho: float = 7.0
    ) -> tuple[float, ...]: ...


def uniform(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> tuple[float, ...]:
    """`n` evenly spaced times from the highest noise level to the lowest, then 0."""
    low, high = _ends(n, table, sigma_min, sigma_max)
    t_low, t_high = table.t_of(low), table.t_of(high)
    return (*(table.sigma_of(t_high + at * (t_low - t_high)) for at in _ramp(n)), 0.0)


def karras(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, rho: float = 7.0
) -> tuple[float, ...]:
    """`n` sigmas whose `rho`-th roots are evenly spaced, then 0 (Karras et al. 2022, eq. 5)."""
    low, high = _ends(n, table, sigma_min, sigma_max)
    if not 1 <= rho <= 100:
        raise UserError(f"Schedule rho was {rho:g}; it must be from 1 to 100 (7 is usual).")
    start, end = high ** (1 / rho), low ** (1 / rho)
    return (*((start + at * (end - start)) ** rho for at in _ramp(n)), 0.0)


def ddim(n: int, table: NoiseTable, **_: float | None) -> tuple[float, ...]:
    """Every (T // n)-th training step, counted up from 1, then 0 (Song et al. 2020, arXiv:2010.02502, appendix D.2).

    That is `n` steps or a few more where `n` does not divide T: 31 for n = 30.
    """
    return (*_ddim_steps(n, table), 0.0)


def ddim_timesteps(n: int, table: NoiseTable, **_: float | None) -> tuple[float, ...]:
    """The steps of `ddim`, ending not at 0 but at the table's first entry, as latent diffusion's own sampler did.

    The sampler "DDIM" is made for it and scales its result for the noise that is left.
    """
    return (*_ddim_steps(n, table), table.sigma_min)


def _ddim_steps(n: int, table: NoiseTable) -> tuple[float, ...]:
    _ends(n, table, None, None)
    last = len(table.sigmas)
    return tuple(float(table.sigmas[t]) for t in reversed(range(1, last, max(last // n, 1))))


def _ends(n: int, table: NoiseTable, sigma_min: float | None, sigma_max: float | None) -> tuple[float, float]:
    """The lowest and highest sigma asked for, or else the table's; `UserError` where they make no schedule."""
    low = table.sigma_min if sigma_min is None else sigma_min
    high = table.sigma_max if sigma_max is None else sigma_max
    if n < 1:
        raise UserError(f"The number of steps was {n}; it must be at least 1.")
    if not 0 < low < high < math.inf:
        raise UserError(f"The schedule was to run from sigma {high:g} to {low:g}; the first must be the larger, both above 0.")
    return low, high


def _ramp(n: int) -> tuple[float, ...]:
    """`n` evenly spaced numbers from 0 to 1; a single one is 0."""
    return tuple(i / max(n - 1, 1) for i in range(n))


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {"Uniform": uniform, "Karras": karras, "DDIM": ddim, "DDIM timesteps": ddim_timesteps}
)
