"""The noise predictor's loss: one random noise level a picture, more of them where the picture is decided, v prediction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from webui.nets.unet import UNetModel

MIDDLE, SPREAD = math.log(1.6), 1.2
"""Mean and deviation of log sigma of the levels trained at: there a 16 x 16 latent shows which thing stands where."""
EVERYWHERE = 0.25
"""Part of the levels that is drawn evenly from all training steps, so that none is forgotten."""


def level_chances(alphas_cumprod: Tensor) -> Tensor:
    """How likely training meets each step of a schedule [T]: evenly in part, the rest log-normal in sigma; adds up to 1.

    Karras et al. 2022 (arXiv 2206.00364, table 1) and Esser et al. 2024 (arXiv 2403.03206, section 3.1) draw levels so, where
    Hang et al. 2023 (arXiv 2303.09556) weigh the loss: their weight for v, min(SNR, 5) / (SNR + 1), is 1 / 50 at sigma 7, and
    what stands in the picture is settled there. A drawn level costs no gradient noise and no picture.
    """
    logs = 0.5 * torch.log((1 - alphas_cumprod.double()) / alphas_cumprod.double())
    widths = torch.gradient(logs)[0]
    density = torch.exp(-0.5 * ((logs - MIDDLE) / SPREAD) ** 2) * widths
    return EVERYWHERE / len(logs) + (1 - EVERYWHERE) * density / density.sum()


def spread_times(count: int, chances: Tensor, generator: torch.Generator) -> Tensor:
    """`count` steps by their chances [T], one from each equally likely part of the range, shuffled: less variance than freely."""
    order = torch.randperm(count, generator=generator, device=chances.device)
    inside = torch.rand(count, generator=generator, device=chances.device)
    return torch.searchsorted(chances.cumsum(0), (order + inside).double() / count).clamp(max=len(chances) - 1)


def noise_predictor_loss(
    network: UNetModel,
    latents: Tensor,
    context: Tensor,
    alphas_cumprod: Tensor,
    chances: Tensor,
    generator: torch.Generator,
    channels: Tensor | None = None,
) -> dict[str, Tensor]:
    """Squared error of the predicted v for scaled latents [B, C, h, w] and context [B, L, W].

    v = alpha * noise - sigma * x0 (Salimans and Ho 2022, arXiv 2202.00512). `alphas_cumprod` [T] is the training schedule,
    `chances` [T] how likely each of its steps is drawn. `channels` [B, more, h, w] go in behind the noisy latent as they are,
    such as a depth map.
    """
    times = spread_times(len(latents), chances, generator)
    kept = alphas_cumprod[times].float().view(-1, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
    noisy = alpha * latents + sigma * noise
    taken = noisy if channels is None else torch.cat([noisy, channels], dim=1)
    predicted = network(taken, times.float(), context).float()
    error = (predicted - (alpha * noise - sigma * latents)).square().mean()
    return {"loss": error, "v error": error.detach()}
