"""Samplers that add fresh noise in every step, and DDIM's relative for guidance on the manifold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from webui.extension import Asking, Denoise, Noise, Step, moments, noised, split

if TYPE_CHECKING:  # so that the page can list samplers before torch is there
    from torch import Tensor

    from webui.extension import NoiseTable


def dpmpp_2m_sde_heun(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """`dpmpp_2m_sde`, the line through the last two `denoised` integrated exactly (Lu et al. 2022, arXiv:2211.01095)."""
    past: list[tuple[float, Tensor]] = []  # sigmas and what was denoised there, the newest first
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        if sigma_next > 0:
            h = math.log(at.sigma / sigma_next)
            x = denoised + (x - denoised) * math.exp(-(1 + eta) * h)
            for sigma_before, denoised_before in past:
                slope = (denoised - denoised_before) * (h / math.log(sigma_before / at.sigma))
                x = x + slope * _phi_2((1 + eta) * h)
            if eta > 0:
                x = x + noise(at, sigma_next) * (sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise)
        else:
            x = denoised
        past = [(at.sigma, denoised)]
        yield Step(at, x, denoised)
    return x


def dpmpp_3m_sde(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 1.0, s_noise: float = 1.0
) -> Asking:
    """DPM-Solver++(3M) for the reverse SDE: a parabola in log sigma through the last three `denoised` (arXiv:2211.01095).

    As published, the parabola's curvature counts half of what its integral comes to, so that the order is between 2 and 3.
    """
    past: list[tuple[float, Tensor]] = []  # sigmas and what was denoised there, the newest first
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        past = [(at.sigma, denoised), *past][:3]
        if sigma_next > 0:
            h = math.log(at.sigma / sigma_next)
            whole = (1 + eta) * h
            x = denoised + (x - denoised) * math.exp(-whole)
            widths = [math.log(past[i + 1][0] / past[i][0]) / h for i in range(len(past) - 1)]
            slopes = [(past[i][1] - past[i + 1][1]) / width for i, width in enumerate(widths)]
            if slopes:
                x = x + slopes[0] * _phi_2(whole)
            if len(slopes) == 2:
                curve = (slopes[0] - slopes[1]) / (widths[0] + widths[1])
                x = x + curve * (widths[0] * _phi_2(whole) - _phi_3(whole))
            if eta > 0:
                x = x + noise(at, sigma_next) * (sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * s_noise)
        else:
            x = denoised
        yield Step(at, x, denoised)
    return x


def ddpm(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Asking:
    """DDPM's own chain: each state is drawn from its posterior given the one before and the data (arXiv:2006.11239, eq. 7).

    Written in sigma that is a step of `euler_ancestral` with eta 1.
    """
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        x = noised(denoised, x, at, sigma_next, noise, 1.0, 1.0)
        yield Step(at, x, denoised)
    return x


def tcd(
    denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *,
    eta: float = 0.3, s_noise: float = 1.0, table: NoiseTable | None = None
) -> Asking:
    """Strategic stochastic sampling: along the trajectory to below the next level, then up with noise (arXiv:2402.19159).

    `eta` is the paper's gamma: the part of the next training step that noise makes up; 0 is DDIM, 1 the sampling of consistency
    models. Without a `table` it is a part of the next sigma.
    """
    for at, sigma_next in moments(sigmas):
        denoised = yield from denoise(x, at)
        down = (1 - eta) * sigma_next
        if table is not None and eta > 0 and sigma_next > 0:
            down = min(table.sigma_of(math.floor((1 - eta) * table.t_of(sigma_next))), sigma_next)
        x = denoised + (x - denoised) * (down / at.sigma)
        if down < sigma_next:
            x = x + noise(at, sigma_next) * (math.sqrt(sigma_next**2 - down**2) * s_noise)
        yield Step(at, x, denoised)
    return x


def ddim_cfgpp(denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, *, eta: float = 0.0) -> Asking:
    """DDIM with CFG++: back to the noise of the unconditional answer, not the guided one (Chung et al. 2024, arXiv:2406.08070).

    `denoise` answers a pair: guided and unconditional. As `ddim`'s, the result is scaled as the network sees it.
    """
    for at, sigma_next in moments(sigmas):
        denoised, unconditional = yield from denoise(x, at)
        down, up = split(at.sigma, sigma_next, eta)
        x = denoised + (x - unconditional) * (down / at.sigma)
        if up > 0:
            x = x + noise(at, sigma_next) * up
        yield Step(at, x, denoised)
    return x / math.sqrt(1 + sigmas[-1] ** 2)


def _phi_2(h: float) -> float:
    """1 - (1 - exp(-h)) / h, what is left of a line's rise over h under exponential forgetting."""
    return 1 + math.expm1(-h) / h if h > 1e-4 else h / 2 - h**2 / 6


def _phi_3(h: float) -> float:
    """_phi_2(h) / h - 1 / 2, minus half of what is left of a parabola's."""
    return _phi_2(h) / h - 0.5
