"""Diffusion problems whose exact denoiser and exact probability-flow solution are known: truth without a sampler.

`gauss`: every value is N(0.4, 0.7^2). Denoiser and solution are formulas.
`gmm`: every value comes from a mixture of three Gaussians. The denoiser is a formula and not linear; in one dimension the flow
keeps quantiles, so the solution is the inverse of one distribution function at the other, found by bisection to about 1e-13.
Everything is float64, in x = data + sigma * noise. `vp` adapts to a network that is asked in training steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

WEIGHTS = torch.tensor([0.3, 0.45, 0.25], dtype=torch.float64)
MEANS = torch.tensor([-1.4, 0.3, 1.6], dtype=torch.float64)
DEVIATIONS = torch.tensor([0.35, 0.5, 0.25], dtype=torch.float64)
MEAN, DEVIATION = 0.4, 0.7

Denoiser = Callable[[Tensor, float], Tensor]


def gauss(x: Tensor, sigma: float | Tensor) -> Tensor:
    """The mean of the data given x, for one Gaussian."""
    return (DEVIATION**2 * x + sigma**2 * MEAN) / (DEVIATION**2 + sigma**2)


def gmm(x: Tensor, sigma: float | Tensor) -> Tensor:
    """The mean of the data given x, for the mixture."""
    weights, means, variances = WEIGHTS.to(x), MEANS.to(x), (DEVIATIONS**2).to(x)
    noise = torch.as_tensor(sigma, dtype=x.dtype).unsqueeze(-1) ** 2
    x = x.unsqueeze(-1)
    total = variances + noise
    likely = (weights.log() - total.log() / 2 - (x - means) ** 2 / (2 * total)).softmax(-1)
    return (likely * (variances * x + noise * means) / total).sum(-1)


PROBLEMS: dict[str, Callable[..., Tensor]] = {"gauss": gauss, "gmm": gmm}


def exact(problem: str, x: Tensor, sigma: float, sigma_end: float) -> Tensor:
    """Where the probability flow carries `x` (float64) from `sigma` to `sigma_end`."""
    if problem == "gauss":
        return MEAN + (x - MEAN) * math.sqrt((DEVIATION**2 + sigma_end**2) / (DEVIATION**2 + sigma**2))
    upper = _tail(x, sigma, upper=False) > 0.5
    return torch.where(upper, _quantile(x, sigma, sigma_end, upper=True), _quantile(x, sigma, sigma_end, upper=False))


def _tail(x: Tensor, sigma: float, *, upper: bool) -> Tensor:
    """The probability of less than x (or of more): the smaller of the two keeps its digits."""
    z = (x.unsqueeze(-1) - MEANS) / (DEVIATIONS**2 + sigma**2).sqrt()
    return (WEIGHTS * 0.5 * torch.special.erfc((z if upper else -z) / math.sqrt(2))).sum(-1)


def _quantile(x: Tensor, sigma: float, sigma_end: float, *, upper: bool) -> Tensor:
    goal = _tail(x, sigma, upper=upper)
    low = torch.full_like(x, -60.0 - 8 * sigma_end)
    high = -low
    for _ in range(100):
        middle = (low + high) / 2
        found = _tail(middle, sigma_end, upper=upper)
        go_right = found > goal if upper else found < goal
        low, high = torch.where(go_right, middle, low), torch.where(go_right, high, middle)
    return (low + high) / 2


def vp(problem: str, alphas_cumprod: Tensor, prediction: str = "eps") -> Callable[[Tensor, float], Tensor]:
    """A network: what it predicts, "eps" or "v", for sqrt(a) * data + sqrt(1 - a) * noise at a whole training step."""

    def network(x: Tensor, t: float) -> Tensor:
        kept = float(alphas_cumprod[int(t)])
        alpha, sigma = math.sqrt(kept), math.sqrt((1 - kept) / kept)
        denoised = PROBLEMS[problem](x / alpha, sigma)
        eps = (x / alpha - denoised) / sigma
        return eps if prediction == "eps" else alpha * eps - math.sqrt(1 - kept) * denoised

    return network


def sd_alphas_cumprod() -> Tensor:
    """Stable Diffusion's noise schedule, [1000], float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0)
