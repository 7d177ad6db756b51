"""Samplers that remember the slopes of the last steps and go on along a polynomial through them: one evaluation a step.

The slope of the probability flow is (x - denoised) / sigma, which is the noise that the network sees in x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

from webui.extension import Asking, Denoise, Noise, Step, moments

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

# Adams-Bashforth weights for even steps, the newest slope first (Liu et al. 2022, arXiv:2202.09778).
EVEN = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
VP_RANGE = (0.002, 80.0)  # the sigmas between which DEIS' time runs from 0.001 to 1
PANELS = 64  # of a numerical integral

Past = list[tuple[float, "Tensor"]]  # sigmas and slopes, the newest first


def lms(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 4) -> Asking:
    """Linear multistep: the integral over sigma of the polynomial through the last `order` slopes (Adams and Bashforth 1883)."""
    past: Past = []
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, (x - denoised) / at.sigma), *past][:order]
        x = _moved(denoised, past, integrals([sigma for sigma, _ in past], at.sigma, sigma_next))
        yield Step(at, x, denoised)
    return x


def ipndm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 4) -> Asking:
    """Improved PNDM: Adams-Bashforth as for even steps, whatever they are (Zhang and Chen 2022, arXiv:2204.13902)."""
    past: Past = []
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, (x - denoised) / at.sigma), *past][:order]
        x = _moved(denoised, past, _even(past, sigma_next - at.sigma))
        yield Step(at, x, denoised)
    return x


def ipndm_v(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 4) -> Asking:
    """`ipndm` for uneven steps, by the formulas of the collection diff-sampler (Zhou et al. 2023, arXiv:2312.00094).

    Two slips in them are part of the pictures made with them: only where steps are even are they Adams-Bashforth's. `lms` has
    those for any steps.
    """
    past: Past = []
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, (x - denoised) / at.sigma), *past][:order]
        x = _moved(denoised, past, _uneven([sigma_next, *(sigma for sigma, _ in past)]))
        yield Step(at, x, denoised)
    return x


def deis(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise, *, order: int = 3) -> Asking:
    """tAB-DEIS: the polynomial through the last slopes is one in diffusion time (Zhang and Chen 2022, arXiv:2204.13902)."""
    past: Past = []
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, (x - denoised) / at.sigma), *past][: order if sigma_next > 0 else 1]
        weights = integrals([sigma for sigma, _ in past], at.sigma, sigma_next, vp_time, PANELS)
        x = _moved(denoised, past, weights)
        yield Step(at, x, denoised)
    return x


def plms(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise) -> Asking:
    """Pseudo linear multistep: `ipndm` whose first step is one of Heun's (Liu et al. 2022, arXiv:2202.09778).

    As `ddim` it is made for training steps, and its result is scaled as the network sees it. Two evaluations in the first step.
    """
    past: Past = []
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, (x - denoised) / at.sigma), *past][: len(EVEN)]
        there = _moved(denoised, past, _even(past, sigma_next - at.sigma))
        if len(past) == 1 and sigma_next > 0:
            denoised_next = yield from denoise(there, replace(at, sigma=sigma_next, evaluation=1))
            slope_next = (there - denoised_next) / sigma_next
            there = there + (slope_next - past[0][1]) * ((sigma_next - at.sigma) / 2)
        x = there if sigma_next > 0 else denoised
        yield Step(at, x, denoised)
    return x / math.sqrt(1 + sigmas[-1] ** 2)


def integrals(
    past: Sequence[float], start: float, end: float, place: Callable[[float], float] = float, panels: int = 1
) -> list[float]:
    """The weights of values at the `past` sigmas in the integral over sigma from `start` to `end` of the polynomial through them.

    The polynomial is one in `place` of sigma. Gauss' rule of two points a panel: exact with one for polynomials in sigma itself,
    through at most four values.
    """
    nodes, width = [place(sigma) for sigma in past], (end - start) / panels
    points = [start + (panel + 0.5 + side / math.sqrt(12)) * width for panel in range(panels) for side in (-1, 1)]
    places = [place(point) for point in points]
    return [
        sum(math.prod((at - other) / (node - other) for other in nodes if other != node) for at in places) * width / 2
        for node in nodes
    ]


def vp_time(sigma: float) -> float:
    """The time of a variance-preserving diffusion at which sigma is as given: beta grows evenly with time, from 0.001 to 1.

    Song et al. 2021, arXiv:2011.13456: log(1 + sigma^2) = slope / 2 * t^2 + first * t.
    """
    low, high = (math.log1p(end**2) for end in VP_RANGE)
    slope = 2 * (low / 0.001 - high) / (0.001 - 1)
    first = high - slope / 2
    return (math.sqrt(first**2 + 2 * slope * math.log1p(sigma**2)) - first) / slope


def _even(past: Past, width: float) -> list[float]:
    return [weight * width for weight in EVEN[len(past) - 1]]


def _uneven(sigmas: Sequence[float]) -> list[float]:
    """The weights of `ipndm_v`, the newest first, for a step from the second of rising `sigmas` to the first.

    With h, the width of this step, and a, b, c, those before it, the first three differences of the slopes, made as large as for
    even steps, weigh h / 2a, (1 - h^2 / 3a(a + b)) / 2 and what is given below.
    """
    h, a, b, c = [*(low - high for low, high in pairwise(sigmas)), math.inf, math.inf, math.inf][:4]
    weights: list[tuple[float, ...]] = [(1.0,)]
    if len(sigmas) > 2:
        weights.append(tuple(h / (2 * a) * sign for sign in (1, -1)))
    if len(sigmas) > 3:
        second = (1 - h**2 / (3 * a * (a + b))) / 2
        weights.append((second, -second * (1 + a / b), second * a / b))
    if len(sigmas) > 4:
        ratio = a * (a + b) / (b * (b + c))
        third = (1 - h / (3 * (h + a))) / 2 + (1 - h / (2 * (h + a))) * h / (6 * (h + a + b))
        third *= h * (h + a) * (h + a + b) / (a * (a + b) * (a + b + c))
        weights.append((third, -third * (1 + a / b + ratio), third * (a / b + ratio * (1 + b / c)), -third * ratio * a / b))
    return [h * sum(each) for each in zip_longest(*weights, fillvalue=0.0)]


def _moved(denoised: Tensor, past: Past, weights: Sequence[float]) -> Tensor:
    """The state after a step by weighted slopes: what the newest alone would come to, and how much the older ones bend that."""
    sigma, newest = past[0]
    x = denoised + newest * (sigma + sum(weights))
    for (_, slope), weight in zip(past[1:], weights[1:], strict=True):
        x = x + (slope - newest) * weight
    return x
