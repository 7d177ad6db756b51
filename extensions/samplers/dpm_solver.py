"""DPM-Solver with steps of its own: the noise that the network sees is taken as a polynomial in log sigma.

Lu et al. 2022, arXiv:2206.00927. Both go from the schedule's first sigma to its last above 0, where they end.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from webui.extension import Asking, Denoise, Moment, Noise, Read, Step, UserError, moments, split

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

FIRST, SECOND = 1 / 3, 2 / 3  # of a step in log sigma: where the solver of order 3 looks
SMALLEST = 1e-3  # step in log sigma that is taken whatever its error


def dpm_fast(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """DPM-Solver-fast: as many evaluations as there are steps, three to each of order 3 (Lu et al. 2022, arXiv:2206.00927).

    The steps are even in log sigma, the last ones of lower order; what is told counts evaluations as steps.
    """
    evaluations, above = len(sigmas) - 1, [sigma for sigma in sigmas if sigma > 0]
    if len(above) < 2:
        return (yield from _straight(denoise, x, sigmas))
    whole, rest = divmod(evaluations, 3)
    orders = [3] * whole + [rest] if rest else [3] * (whole - 1) + [2, 1]
    done = 0
    for part, order in enumerate(orders):
        sigma, sigma_next = (above[0] * (above[-1] / above[0]) ** (i / len(orders)) for i in (part, part + 1))
        at = Moment(sigma, done, evaluations)
        down, up = _down(sigma, sigma_next, above[-1], eta)
        denoised = yield from denoise(x, at)
        _, x = yield from _solved(denoise, denoised, x, at, down, order, 0.5 if order == 2 else FIRST)
        if up > 0:
            x = x + noise(at, sigma_next) * (up * s_noise)
        done += order
        yield Step(Moment(sigma, done - 1, evaluations), x, denoised)
    return x


def dpm_adaptive(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *,
    eta: float = 1.0, s_noise: float = 1.0, rtol: float = 0.05, atol: float = 0.0078
) -> Asking:
    """DPM-Solver-12/23: steps as long as the solvers of order 2 and 3 agree within tolerances (arXiv:2206.00927, appendix C).

    A step that disagrees is tried again, shorter; each try reads one number. `eta` adds noise as `euler_ancestral` does.
    """
    above = [sigma for sigma in sigmas if sigma > 0]
    if len(above) < 2:
        return (yield from _straight(denoise, x, sigmas))
    sigma, low, h, step, evaluation, before = sigmas[0], above[-1], 0.05, 0, 0, x
    denoised = yield from denoise(x, Moment(sigma, 0, None))
    while math.log(sigma / low) > 1e-5:
        at = Moment(sigma, step, None, evaluation)
        sigma_next = max(low, sigma * math.exp(-h))
        down, up = _down(sigma, sigma_next, low, eta)
        lower, higher = yield from _solved(denoise, denoised, x, at, down, 3, FIRST)
        allowed = (lower.abs().maximum(before.abs()) * rtol).clamp(min=atol)
        error = float((yield Read(((lower - higher) / allowed).square().mean().sqrt())))
        if not math.isfinite(error):
            raise UserError("DPM adaptive met values that are no numbers; choose another sampler, model or precision.")
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / (1.5 if eta else 3)) - 1)
        if factor >= 0.81 or h <= SMALLEST:
            before, x = lower, higher
            if up > 0:
                x = x + noise(at, sigma_next) * (up * s_noise)
            yield Step(Moment(sigma, step, None), x, denoised)
            sigma, step, evaluation = sigma_next, step + 1, 0
            if math.log(sigma / low) > 1e-5:
                denoised = yield from denoise(x, Moment(sigma, step, None))
        else:
            evaluation += 2
        h = max(h * factor, SMALLEST)
    return x


def _straight(denoise: Denoise, x: Tensor, sigmas: Sequence[float]) -> Asking:
    """The data, where there is one level to be at and so no way to go; the state itself where there is none."""
    for at, _ in moments(sigmas):
        x = yield from denoise(x, at)
        yield Step(at, x, x)
    return x


def _down(sigma: float, sigma_next: float, low: float, eta: float) -> tuple[float, float]:
    """The sigma to go down to, never below `low`, and the deviation of the noise that leads up to `sigma_next`."""
    down = max(split(sigma, sigma_next, eta)[0], low)
    return down, math.sqrt(max(sigma_next**2 - down**2, 0.0))


def _solved(
    denoise: Denoise, denoised: Tensor, x: Tensor, at: Moment, sigma_next: float, order: int, place: float
) -> Generator[Any, Any, tuple[Tensor, Tensor]]:
    """The state at `sigma_next` by the solvers of an order less and of `order`, which is 1, 2 or 3 (algorithms 1 and 2).

    `place` is the part of the step, in log sigma, at which the solver of order 2 looks; one of order 3 looks twice that far too.
    """
    h = math.log(at.sigma / sigma_next)
    eps = (x - denoised) / at.sigma
    plain = denoised + eps * sigma_next
    if order == 1:
        return plain, plain
    sigma = at.sigma * math.exp(-place * h)
    there = denoised + eps * sigma
    turn = (there - (yield from denoise(there, Moment(sigma, at.step, at.steps, at.evaluation + 1)))) / sigma - eps
    second = plain - turn * (sigma_next * math.expm1(h) / (2 * place))
    if order == 2:
        return plain, second
    sigma = at.sigma * math.exp(-2 * place * h)
    bend = sigma * 2 * (math.expm1(2 * place * h) / (2 * place * h) - 1)
    there = denoised + eps * sigma - turn * bend
    turn = (there - (yield from denoise(there, Moment(sigma, at.step, at.steps, at.evaluation + 2)))) / sigma - eps
    return second, plain - turn * (sigma_next / (2 * place) * (math.expm1(h) / h - 1))
