"""Further schedules: falling sigmas for a number of steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from webui.extension import Schedule, UserError, bent, ends, ramp, times

from .tables import SD, SDXL, STEPS_11, STEPS_32, STEPS_GITS

if TYPE_CHECKING:  # so that the page can list schedules before torch is there
    from webui.extension import NoiseTable

Sigmas = tuple[float, ...]
VP_SLOPE, VP_FIRST, VP_END = 19.9, 0.1, 1e-3  # beta's slope and beginning, and the last time
BETA = 0.6  # both parameters of the distribution


def polyexponential(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, rho: float | None = None,
    **_: float | None,
) -> Sigmas:  # fmt: skip
    """`n` sigmas whose logarithms lie as the `rho`-th powers of even steps (1, if not told: exponential), then 0.

    Where a high power puts several at one place, only one of them is kept.
    """
    low, high = ends(n, table, sigma_min, sigma_max)
    power = bent(rho, 1.0)
    return (*_apart([low * (high / low) ** ((1 - at) ** power) for at in ramp(n)]), 0.0)


def kl_optimal(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> Sigmas:
    """`n` steps between sigmas whose arctangents are even; the last is the lowest (Sabour et al. 2024, arXiv:2404.14507)."""
    low, high = map(math.atan, ends(n, table, sigma_min, sigma_max))
    return tuple(math.tan(high + i / n * (low - high)) for i in range(n + 1))


def beta(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None,
    beta_alpha: float | None = None, beta_beta: float | None = None, **_: float | None,
) -> Sigmas:  # fmt: skip
    """`n` sigmas at even quantiles of a beta distribution from highest to lowest, then 0 (Lee et al. 2024, arXiv:2407.12173).

    Where the parameters put several at one place, only one of them is kept.
    """
    from scipy.special import betaincinv  # type: ignore[import-untyped]

    low, high = ends(n, table, sigma_min, sigma_max)
    first, second = (BETA if given is None else given for given in (beta_alpha, beta_beta))
    if not (0 < first < math.inf and 0 < second < math.inf):
        raise UserError(f"The beta schedule's parameters were {first:g} and {second:g}; both must be above 0 (0.6 is usual).")
    return (*_apart([low + float(betaincinv(first, second, 1 - at)) * (high - low) for at in ramp(n)]), 0.0)


def normal(
    n: int, table: NoiseTable, *, sigma_min: float | None = None, sigma_max: float | None = None, **_: float | None
) -> Sigmas:
    """`n` evenly spaced times from the highest noise level to the lowest, then 0: another name of "Uniform"."""
    low, high = times(n, table, sigma_min, sigma_max)
    return (*(table.sigma_of(high + at * (low - high)) for at in ramp(n)), 0.0)


def turbo(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """The training steps round(k T / n) - 1 for k from n to 1, then 0: those that models distilled to few steps know."""
    ends(n, table, None, None)
    last = len(table.sigmas)
    chosen = {round(k * last / n) - 1 for k in range(1, n + 1)} - {-1}
    return (*(float(table.sigmas[t]) for t in sorted(chosen, reverse=True)), 0.0)


def vp(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """The sigmas of a variance-preserving diffusion at `n` even times, then 0 (Song et al. 2021, arXiv:2011.13456).

    They are the same for every model. The highest, 152, lies above those that Stable Diffusion was trained at.
    """
    ends(n, table, None, None)
    times = (1 + at * (VP_END - 1) for at in ramp(n))
    return (*(math.sqrt(math.expm1(VP_SLOPE * t**2 / 2 + VP_FIRST * t)) for t in times), 0.0)


def tcd(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """`n` of the 50 steps that consistency models know, evenly spaced from the highest on, then 0 (arXiv:2402.19159)."""
    ends(n, table, None, None)
    last, places = len(table.sigmas), 50
    count = min(n, places)
    chosen = (last - 1 - int(i * places / count) * (last // places) for i in range(count))
    return (*(float(table.sigmas[max(t, 0)]) for t in chosen), 0.0)


def unipc_uniform(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """`n` steps between even times, the last of which is the table's first entry, as UniPC's own code has it."""
    ends(n, table, None, None)
    last = len(table.sigmas) - 1
    return tuple(table.sigma_of(last * (1 - i / n)) for i in range(n + 1))


def unipc_quadratic(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """`n` steps between times whose square roots are even, counted in (t + 1) / T; the last is the table's first entry."""
    ends(n, table, None, None)
    count = len(table.sigmas)
    low = math.sqrt(1 / count)
    return tuple(table.sigma_of(count * (1 + i / n * (low - 1)) ** 2 - 1) for i in range(n + 1))


def unipc_log(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
    """`n` steps that are even in the logarithm of sigma; the last sigma is the table's lowest."""
    low, high = ends(n, table, None, None)
    return tuple(high * (low / high) ** (i / n) for i in range(n + 1))


def of_table(known: Mapping[str, Sequence[float]]) -> Schedule:
    """The schedule that interpolates the logarithms of `known` sigmas, which are by family; then 0."""

    def schedule(n: int, table: NoiseTable, **_: float | None) -> Sigmas:
        ends(n, table, None, None)
        sigmas = known[SDXL if table.family.startswith(SDXL) else SD]
        places = [at * (len(sigmas) - 1) for at in ramp(n)]
        pairs = [(place - int(place), sigmas[int(place)], sigmas[min(int(place) + 1, len(sigmas) - 1)]) for place in places]
        return (*(here * (after / here) ** part for part, here, after in pairs), 0.0)

    return schedule


def _apart(sigmas: Sequence[float]) -> list[float]:
    """Those of falling sigmas that are below the one before by more than a millionth."""
    return [sigma for i, sigma in enumerate(sigmas) if i == 0 or sigma < sigmas[i - 1] * (1 - 1e-6)]


SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "Polyexponential": polyexponential,
        "KL Optimal": kl_optimal,
        "Align Your Steps": of_table(STEPS_11),
        "Align Your Steps GITS": of_table(STEPS_GITS),
        "Align Your Steps 11": of_table(STEPS_11),
        "Align Your Steps 32": of_table(STEPS_32),
        "Normal": normal,
        "Beta": beta,
        "Turbo": turbo,
        "VP": vp,
        "TCD": tcd,
        "UniPC": unipc_uniform,
        "UniPC quadratic": unipc_quadratic,
        "UniPC logSNR": unipc_log,
    }
)
