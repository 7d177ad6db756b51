"""Noise levels: how a model's 1000 training steps become sigmas, and which sigmas a picture is sampled at.

Samplers see x = data + sigma * noise (Karras et al. 2022, arXiv:2206.00364). Networks were trained on
sqrt(a) * data + sqrt(1 - a) * noise, a = 1 / (1 + sigma^2) being the "alpha bar" of DDPM (Ho et al. 2020, arXiv:2006.11239).
`NoiseTable`, `network_input` and `denoised_from` translate between the two; everything else here is the choice of sigmas.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from webui.errors import UserError
from webui.nets.spec import Prediction

# Zero-terminal-SNR models end at alpha bar 0, sigma infinite: we start just below, at sigma 4096, where float32 still works.
SMALLEST_ALPHA = 2.0**-24


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """The noise levels a model was trained at: `alphas_cumprod` [T], float64, falling, in (0, 1).

    Whole t are the training steps 0 .. T - 1; between them log sigma is interpolated linearly, and nothing is rounded.
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        alphas = self.alphas_cumprod.detach().to("cpu", torch.float64).clamp(min=SMALLEST_ALPHA)
        if alphas.ndim != 1 or len(alphas) < 2 or not bool((alphas.diff() < 0).all()) or not float(alphas[0]) < 1:
            raise ValueError("alphas_cumprod must be a falling row of at least two numbers below 1.")
        object.__setattr__(self, "alphas_cumprod", alphas)

    @classmethod
    def from_betas(cls, start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> NoiseTable:
        """Stable Diffusion's "scaled linear" schedule: the square roots of `steps` betas are evenly spaced."""
        betas = torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64) ** 2
        return cls((1 - betas).cumprod(0))

    @cached_property
    def sigmas(self) -> Tensor:
        """The noise level of every training step, [T], float64, rising: sqrt((1 - a) / a)."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    @cached_property
    def _log_sigmas(self) -> tuple[float, ...]:
        return tuple(map(math.log, self.sigmas.tolist()))

    @property
    def sigma_min(self) -> float:
        """The lowest noise level of the training steps, at t = 0."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """The highest noise level of the training steps, at t = T - 1."""
        return float(self.sigmas[-1])

    def t_of(self, sigma: float) -> float:
        """The time of a noise level, in [0, T - 1]; levels outside the table get the nearest end."""
        logs = self._log_sigmas
        level = math.log(sigma) if sigma > 0 else -math.inf
        if not logs[0] < level < logs[-1]:
            return 0.0 if level <= logs[0] else float(len(logs) - 1)
        low = bisect.bisect_right(logs, level) - 1
        return low + (level - logs[low]) / (logs[low + 1] - logs[low])

    def sigma_of(self, t: float) -> float:
        """The noise level of a time in [0, T - 1]; times outside get the nearest end. Whole t give the table's own entries."""
        logs = self._log_sigmas
        t = min(max(t, 0.0), len(logs) - 1.0)
        low = int(t)
        if t == low:
            return float(self.sigmas[low])
        return math.exp(logs[low] + (t - low) * (logs[low + 1] - logs[low]))


def network_input(x: Tensor, sigma: float | Tensor) -> Tensor:
    """What the network is shown for x = data + sigma * noise: x / sqrt(1 + sigma^2), which has the scale it was trained at.

    `sigma` is one number, or one for each row of `x` [N, ...]. Karras et al. 2022, table 1, c_in of VP.
    """
    level = _per_row(sigma, x)
    return x / (1 + level**2).sqrt()


def denoised_from(prediction: Prediction, output: Tensor, x: Tensor, sigma: float | Tensor) -> Tensor:
    """The clean latent that a network's `output` for `network_input(x, sigma)` stands for, in the dtype of `x`.

    "eps": the output is the noise (Ho et al. 2020). "v": sqrt(a) * noise - sqrt(1 - a) * data (Salimans and Ho 2022,
    arXiv:2202.00512, appendix D). `sigma` is one number, or one for each row of `x` [N, ...].
    """
    level = _per_row(sigma, x)
    output = output.to(x.dtype)
    if prediction == "eps":
        return x - level * output
    if prediction == "v":
        return x / (1 + level**2) - level / (1 + level**2).sqrt() * output
    raise ValueError(f"Prediction {prediction!r} is neither 'eps' nor 'v'.")


def _per_row(sigma: float | Tensor, x: Tensor) -> Tensor:
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    return level.reshape(level.shape + (1,) * (x.ndim - level.ndim)) if level.ndim else level


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
