"""Samplers that look ahead within a step and remember nothing of the one before."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from webui.extension import Asking, Denoise, Moment, Noise, Step, churned, moments, noised, split

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

RESTARTS_FROM, OFTEN_FROM = 20, 36  # steps from which there is one restart, and from which there are two
RESTART_STEPS = 9  # of a single restart
RESTART_RANGE = (0.1, 2.0)  # the sigma to restart at and the one to go back up to, or rather those visited next to them
BEND = 7.0  # Karras' rho


def dpm_2(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *,
    s_churn: float = 0.0, s_tmin: float = 0.0, s_tmax: float = math.inf, s_noise: float = 1.0
) -> Asking:
    """The midpoint rule: the slope halfway in log sigma, with `heun`'s churn (Lu et al. 2022, arXiv:2206.00927, DPM-Solver-2).

    Two evaluations a step, one in a step to sigma 0.
    """
    for at, sigma_next in moments(sigmas):
        at, x = churned(at, x, noise, s_churn, s_tmin, s_tmax, s_noise)
        x, denoised = yield from _midpoint(denoise, x, at, sigma_next)
        yield Step(at, x, denoised)
    return x


def dpm_2_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """`dpm_2` to below the next sigma, then up to it with fresh noise, as DDPM has it (arXiv:2206.00927, arXiv:2006.11239)."""
    for at, sigma_next in moments(sigmas):
        down, up = split(at.sigma, sigma_next, eta)
        x, denoised = yield from _midpoint(denoise, x, at, down)
        if up > 0:
            x = x + noise(at, sigma_next) * (up * s_noise)
        yield Step(at, x, denoised)
    return x


def dpmpp_2s_ancestral(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """DPM-Solver++(2S) to below the next sigma, then up to it with fresh noise (Lu et al. 2022, arXiv:2211.01095, algorithm 1).

    What is `denoised` halfway in log sigma stands for the whole step, which is exact but for that.
    """
    for at, sigma_next in moments(sigmas):
        ahead = denoised = yield from denoise(x, at)
        down, _ = split(at.sigma, sigma_next, eta)
        if down > 0:
            middle = math.sqrt(at.sigma * down)
            there = denoised + (x - denoised) * (middle / at.sigma)
            ahead = yield from denoise(there, replace(at, sigma=middle, evaluation=1))
        x = noised(ahead, x, at, sigma_next, noise, eta, s_noise)
        yield Step(at, x, denoised)
    return x


def heunpp2(denoise: Denoise, x: Tensor, sigmas: Sequence[float], _noise: Noise) -> Asking:
    """Heun++: the slopes here and at the next two sigmas, which weigh less where they are lower (Carzit's collection; no paper).

    Three evaluations a step, two in the last but one and one in the last. The weights are shares of the highest sigma, which
    makes it of first order only, with a small error where steps are few.
    """
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        slope = (x - denoised) / at.sigma
        there = euler = denoised + slope * sigma_next
        ahead = [sigma for sigma in sigmas[at.step + 1 : at.step + 3] if sigma > 0]
        x = euler
        for place, (sigma, after) in enumerate(zip(ahead, [*ahead[1:], 0.0], strict=False), 1):
            denoised_there = yield from denoise(there, replace(at, sigma=sigma, evaluation=place))
            slope_there = (there - denoised_there) / sigma
            share = sigma / ((len(ahead) + 1) * sigmas[0])
            x = x + (slope_there - slope) * (share * (sigma_next - at.sigma))
            there = denoised_there + slope_there * after
        yield Step(at, x, denoised)
    return x


def restart(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, s_noise: float = 1.0
) -> Asking:
    """Heun's method that goes back up from low sigmas with fresh noise and comes down again (Xu et al. 2023, arXiv:2306.14878).

    From 20 steps on, 9 of them are a restart between sigma 0.1 and 2; from 36 on, there are two, of a quarter of the steps each.
    """
    legs, reached = tuple(_legs(sigmas)), math.inf
    for step, (sigma, sigma_next) in enumerate(legs):
        at = Moment(sigma, step, len(legs))
        if sigma > reached:
            x = x + noise(replace(at, sigma=reached), sigma) * (s_noise * math.sqrt(sigma**2 - reached**2))
        denoised = yield from denoise(x, at)
        slope = (x - denoised) / sigma
        there = denoised + slope * sigma_next
        if sigma_next > 0:
            denoised_next = yield from denoise(there, replace(at, sigma=sigma_next, evaluation=1))
            there = x + (slope + (there - denoised_next) / sigma_next) / 2 * (sigma_next - sigma)
        x, reached = there, sigma_next
        yield Step(at, x, denoised)
    return x


def _midpoint(
    denoise: Denoise, x: Tensor, at: Moment, sigma_next: float
) -> Generator[Any, Any, tuple[Tensor, Tensor]]:
    """The state at `sigma_next` by the slope halfway to it, and what is denoised here."""
    denoised = yield from denoise(x, at)
    if sigma_next <= 0:
        return denoised, denoised
    middle = math.sqrt(at.sigma * sigma_next)
    there = denoised + (x - denoised) * (middle / at.sigma)
    denoised_there = yield from denoise(there, replace(at, sigma=middle, evaluation=1))
    return x + (there - denoised_there) * ((sigma_next - at.sigma) / middle), denoised


def _legs(sigmas: Sequence[float]) -> Iterator[tuple[float, float]]:
    """The steps of `restart`, from one sigma to another: as many as `sigmas` has, which are made fewer to make room."""
    steps = len(sigmas) - 1
    times = 0 if steps < RESTARTS_FROM else 1 if steps < OFTEN_FROM else 2
    again = steps // 4 if times == 2 else RESTART_STEPS
    above = [sigma for sigma in sigmas if sigma > 0]
    fewer = _resampled(above, len(above) - again * times)
    low, high = (min(range(len(fewer)), key=lambda place: abs(fewer[place] - level), default=0) for level in RESTART_RANGE)
    if times == 0 or low <= high:
        yield from pairwise(sigmas)
        return
    yield from pairwise(fewer[: low + 1])
    for _ in range(times):
        yield from pairwise(_resampled((fewer[high], fewer[low]), again + 1))
    yield from pairwise((*fewer[low:], *sigmas[len(above) :]))


def _resampled(sigmas: Sequence[float], count: int) -> list[float]:
    """`count` sigmas along the same curve: interpolated in their 7th roots, in which Karras' schedule is a straight line."""
    roots = [sigma ** (1 / BEND) for sigma in sigmas]
    places = [i * (len(roots) - 1) / max(count - 1, 1) for i in range(count)]
    pairs = [(place - int(place), roots[int(place)], roots[min(int(place) + 1, len(roots) - 1)]) for place in places]
    return [(here + part * (after - here)) ** BEND for part, here, after in pairs]
