"""Noise levels: how a model's training steps become sigmas, and what its network is shown and answers at each.

Samplers see x = data + sigma * noise (Karras et al. 2022, arXiv:2206.00364). Networks were trained on
sqrt(a) * data + sqrt(1 - a) * noise, a = 1 / (1 + sigma^2) being the "alpha bar" of DDPM (Ho et al. 2020, arXiv:2006.11239).
Everything here translates between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from webui.drawing import ZERO_TERMINAL
from webui.nets.spec import ModelSpec, Prediction
from webui.pipeline.levels import SMALLEST_ALPHA, Levels, check_prediction, last_alpha


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """The noise levels a model was trained at: `alphas_cumprod` [T], float64, falling, in (0, 1).

    Whole t are the training steps 0 .. T - 1; between them log sigma is interpolated linearly, and nothing is rounded.
    `family` is that of the model (`ModelSpec.family`), for schedules that were tuned to one; "" where it does not matter.
    """

    alphas_cumprod: Tensor
    family: str = ""

    def __post_init__(self) -> None:
        alphas = self.alphas_cumprod.detach().to("cpu", torch.float64)
        alphas = alphas.where(alphas > 0, SMALLEST_ALPHA)
        if alphas.ndim != 1 or len(alphas) < 2 or not bool((alphas.diff() < 0).all()) or not float(alphas[0]) < 1:
            raise ValueError("alphas_cumprod must be a falling row of at least two numbers below 1.")
        object.__setattr__(self, "alphas_cumprod", alphas)

    @classmethod
    def from_betas(cls, start: float = 0.00085, end: float = 0.012, steps: int = 1000) -> NoiseTable:
        """Stable Diffusion's "scaled linear" schedule: the square roots of `steps` betas are evenly spaced."""
        betas = torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64) ** 2
        return cls((1 - betas).cumprod(0))

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> NoiseTable:
        """The noise levels of a model: Stable Diffusion's, rescaled to end in pure noise where it was trained so.

        `UserError` for zero-terminal SNR with a network that predicts noise: where there is nothing but noise, that says nothing.
        """
        check_prediction(spec)
        table = cls(cls.from_betas(*spec.betas, spec.train_steps).alphas_cumprod, spec.family)
        return table.ended_in_noise() if spec.zero_terminal_snr else table

    @classmethod
    def asked(cls, noise_schedule: str, spec: ModelSpec) -> NoiseTable | None:
        """The noise levels that a picture's noise schedule puts in place of the model's own; None where it leaves them alone.

        Unlike an owner's word on a model, it is not refused to a network that predicts noise: A1111 draws such pictures too.
        """
        if noise_schedule != ZERO_TERMINAL or spec.zero_terminal_snr:
            return None
        return cls.from_spec(spec).ended_in_noise()

    def ended_in_noise(self) -> NoiseTable:
        """The same, rescaled so that the last training step is pure noise; `UserError` where that leaves no falling row."""
        rescaled = zero_terminal(self.alphas_cumprod)
        rescaled[-1] = last_alpha(float(rescaled[-2]))
        return NoiseTable(rescaled, self.family)

    @cached_property
    def sigmas(self) -> Tensor:
        """The noise level of every training step, [T], float64, rising: sqrt((1 - a) / a)."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    @cached_property
    def levels(self) -> Levels:
        """The noise levels as plain numbers."""
        return Levels(tuple(self.sigmas.tolist()), self.family)

    @property
    def sigma_min(self) -> float:
        """The lowest noise level of the training steps, at t = 0."""
        return self.levels.sigma_min

    @property
    def sigma_max(self) -> float:
        """The highest noise level of the training steps, at t = T - 1."""
        return self.levels.sigma_max

    def t_of(self, sigma: float) -> float:
        """The time of a noise level, in [0, T - 1]; levels outside the table get the nearest end."""
        return self.levels.t_of(sigma)

    def sigma_of(self, t: float) -> float:
        """The noise level of a time in [0, T - 1]; times outside get the nearest end. Whole t give the table's own entries."""
        return self.levels.sigma_of(t)


def zero_terminal(alphas_cumprod: Tensor) -> Tensor:
    """The noise levels [T] shifted and scaled in their square roots, so that the last is 0 and the first stays what it was.

    Lin et al. 2023, arXiv:2305.08891, algorithm 1.
    """
    roots = alphas_cumprod.sqrt()
    first, last = roots[0], roots[-1]
    rescaled: Tensor = ((roots - last) * (first / (first - last))) ** 2
    return rescaled


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
