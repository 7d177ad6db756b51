"""UniPC: a predictor and a corrector of one kind, which share their evaluations (Zhao et al. 2023, arXiv:2302.04867)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from webui.extension import Asking, Denoise, Noise, Step, moments

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

Past = list[tuple[float, "Tensor"]]  # sigmas and what was denoised there, the newest first
Alone = Callable[[float], float]  # the weight of a single difference over a step of log sigma


def unipc_bh1(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 3) -> Asking:
    """UniPC with B(h) = h where a single difference counts (Zhao et al. 2023, arXiv:2302.04867, data prediction)."""
    return (yield from _unipc(denoise, x, sigmas, order, lambda h: h / 2))


def unipc_bh2(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 3) -> Asking:
    """UniPC with B(h) = 1 - exp(-h) where a single difference counts (Zhao et al. 2023, arXiv:2302.04867, data prediction)."""
    return (yield from _unipc(denoise, x, sigmas, order, lambda h: -math.expm1(-h) / 2))


def unipc_vary(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 3) -> Asking:
    """UniPC with coefficients that vary with the step (Zhao et al. 2023, arXiv:2302.04867): exact for one difference, too."""
    return (yield from _unipc(denoise, x, sigmas, order, lambda h: _moments(h, 1)[0]))


def _unipc(denoise: Denoise, x: Tensor, sigmas: Sequence[float], order: int, alone: Alone) -> Asking:
    """The multistep method: each evaluation corrects the step that led to it and predicts the next.

    The order rises over the first steps and falls over the last, which is not corrected. As `ddim`'s, the result is scaled as
    the network sees it.
    """
    past: Past = []
    start, taken = x, 0
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        if past:
            x = _moved(start, past, at.sigma, taken, alone, denoised)
        past = [(at.sigma, denoised), *past][:order]
        start, taken = x, min(len(past), len(sigmas) - 1 - at.step)
        x = _moved(start, past, sigma_next, taken, alone) if sigma_next > 0 else denoised
        yield Step(at, x, denoised)
    return x / math.sqrt(1 + sigmas[-1] ** 2)


def _moved(x: Tensor, past: Past, sigma_next: float, order: int, alone: Alone, ahead: Tensor | None = None) -> Tensor:
    """One step from the newest of `past` to `sigma_next`, of `order`; with what was denoised `ahead`, there, one order higher."""
    sigma, denoised = past[0]
    h = math.log(sigma / sigma_next)
    known = [(math.log(sigma / other) / h, before) for other, before in past[1:order]]
    known += [] if ahead is None else [(1.0, ahead)]
    x = denoised + (x - denoised) * (sigma_next / sigma)
    weights = [alone(h)] if len(known) == 1 else _solution([place for place, _ in known], _moments(h, len(known)))
    for (place, other), weight in zip(known, weights, strict=True):
        x = x + (other - denoised) * (weight / place)
    return x


def _moments(h: float, count: int) -> list[float]:
    """What the first powers of the way through a step of log sigma, 0 to 1, come to when what is denoised is them."""
    found, left = [], -math.expm1(-h)
    for power in range(1, count + 1):
        left = 1 - left * power / h  # integrated by parts
        found.append(left)
    return found


def _solution(places: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """The weights of values place^0, place^1, ... that give what is `wanted`: the solution of a Vandermonde system."""
    rows = [[place**power for place in places] + [goal] for power, goal in enumerate(wanted)]
    for i in range(len(rows)):
        pivot = max(range(i, len(rows)), key=lambda row: abs(rows[row][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for k in range(len(rows)):
            if k != i:
                rows[k] = [value - rows[k][i] * own for value, own in zip(rows[k], rows[i], strict=True)]
    return [row[-1] for row in rows]
