"""Sampling runs on the problems of `tests.analytic`, with everything that was asked, told and drawn; and what they come to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.analytic import DEVIATION, MEAN, PROBLEMS
from tests.random_weights import random_tensor
from webui.pipeline.protocol import Asking, Conditioning, Moment, Read, Row, Rows, Sampler, Step, answer_all

SHAPE = (2, 4, 4, 4)
NOTHING = Conditioning(torch.zeros(0, 0))
Answer = Callable[[Tensor, float], Tensor]
Draw = Callable[[int, Moment, float, Tensor], Tensor]


def recorded_noise(index: int, _at: Moment, _sigma_next: float, x: Tensor) -> Tensor:
    """The noise of the recorded trajectories: a tensor for each draw, by its number."""
    return random_tensor(f"noise:{index}", x.shape).to(x.dtype)


@dataclass
class Run:
    """One sampling run on a denoiser, with everything it asked, told and drew. `pairs`: answers are guided and unconditional."""

    denoiser: Answer
    noise: Draw = recorded_noise
    pairs: bool = False
    asked: list[Moment] = field(default_factory=list)
    told: list[Step] = field(default_factory=list)
    drawn: list[tuple[Moment, float]] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)

    def __call__(self, sampler: Sampler, x: Tensor, sigmas: Any, **options: Any) -> Tensor:
        def denoise(state: Tensor, at: Moment) -> Asking:
            (denoised,) = yield Rows(Row(state, at, NOTHING))
            return (denoised, denoised) if self.pairs else denoised  # type: ignore[return-value]

        def noise(at: Moment, sigma_next: float) -> Tensor:
            self.drawn.append((at, sigma_next))
            return self.noise(len(self.drawn) - 1, at, sigma_next, x)

        def watched() -> Asking:
            steps = sampler(denoise, x, sigmas, noise, **options)
            sent = None
            while True:
                try:
                    ask = steps.send(sent)
                except StopIteration as end:
                    return end.value
                self.asks.append(type(ask).__name__)
                if isinstance(ask, Step):
                    self.told.append(ask)
                sent = yield ask

        return answer_all(watched(), self._answer)

    def _answer(self, ask: Any) -> Any:
        if isinstance(ask, Read):
            return ask.tensor
        self.asked += [row.at for row in ask.rows]
        return tuple(self.denoiser(row.x, row.at.sigma) for row in ask.rows)


def sample(sampler: Sampler, x: Tensor, sigmas: Any, problem: str = "gmm", **options: Any) -> Tensor:
    """What a sampler makes of `x` on a problem, with the recorded noise."""
    return Run(PROBLEMS[problem])(sampler, x, sigmas, **options)


def noise_of(dtype: torch.dtype = torch.float64) -> Tensor:
    """The start of the recorded trajectories, before it is scaled."""
    return random_tensor("x0", SHAPE).to(dtype)


def recorded_sigmas() -> tuple[float, ...]:
    """Ten Karras sigmas computed in float32, as the recording had them."""
    low, high = 0.029167533 ** (1 / 7), 14.614642 ** (1 / 7)
    return (*((high + torch.linspace(0, 1, 10) * (low - high)) ** 7).double().tolist(), 0.0)


def log_spaced(steps: int, high: float = 14.6, low: float = 0.03) -> tuple[float, ...]:
    """`steps` steps between sigmas that are even in their logarithms, without a last one to 0."""
    return tuple(torch.logspace(math.log10(high), math.log10(low), steps + 1, dtype=torch.float64).tolist())


def moments_of_the_result(
    sampler: Sampler, sigmas: Sequence[float], *, brownian: bool = False, pairs: bool = False, **options: Any
) -> tuple[float, float]:
    """The exact mean and variance of what `sampler` makes of the Gaussian problem's true distribution at the first sigma.

    The result is linear in the start and in each independent draw, so a unit impulse in each of them, one a row, gives every
    coefficient. Of a Brownian path the independent draws are those between neighbours among all sigmas that it is asked for.
    """
    trial = Run(PROBLEMS["gauss"], pairs=pairs)
    trial(sampler, torch.zeros(1, 1, 1, dtype=torch.float64), sigmas, **options)
    ways = [(at.sigma, after) for at, after in trial.drawn]
    levels = sorted({level for way in ways for level in way}) if brownian else []
    x = torch.full((2 + (max(len(levels) - 1, 0) if brownian else len(ways)), 1, 1), MEAN, dtype=torch.float64)
    x[1] += 1

    def impulse(index: int, at: Moment, sigma_next: float, state: Tensor) -> Tensor:
        unit = torch.zeros_like(state)
        if not brownian:
            unit[2 + index] = 1
            return unit
        low, high = sorted((levels.index(at.sigma), levels.index(sigma_next)))
        for part in range(low, high):
            unit[2 + part] = math.sqrt((levels[part + 1] - levels[part]) / (levels[high] - levels[low]))
        return unit

    result = Run(PROBLEMS["gauss"], impulse, pairs)(sampler, x, sigmas, **options).flatten()
    coefficients = result[1:] - result[0]
    start = DEVIATION**2 + sigmas[0] ** 2
    return float(result[0]), float(coefficients[0] ** 2 * start + coefficients[1:].square().sum())
