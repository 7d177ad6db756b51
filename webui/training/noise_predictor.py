"""The noise predictor's loss: one random noise level a picture, v prediction, min-SNR weights."""

from __future__ import annotations

import torch
from torch import Tensor

from webui.nets.unet import UNetModel


def spread_times(count: int, steps: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`count` whole times in [0, steps), one in each equal part of the range, shuffled: less variance than independent draws."""
    order = torch.randperm(count, generator=generator, device=device)
    inside = torch.rand(count, generator=generator, device=device)
    return ((order + inside) / count * steps).long().clamp(max=steps - 1)


def noise_predictor_loss(
    network: UNetModel,
    latents: Tensor,
    context: Tensor,
    alphas_cumprod: Tensor,
    generator: torch.Generator,
    *,
    ceiling: float = 5.0,
) -> dict[str, Tensor]:
    """Weighted squared error of the predicted v for scaled latents [B, C, h, w] and context [B, L, W].

    v = alpha * noise - sigma * x0 (Salimans and Ho 2022, arXiv 2202.00512); weight min(SNR, ceiling) / (SNR + 1) (Hang et al.
    2023, arXiv 2303.09556). `alphas_cumprod` [T] is the training schedule.
    """
    times = spread_times(len(latents), len(alphas_cumprod), generator, latents.device)
    kept = alphas_cumprod[times].float().view(-1, 1, 1, 1)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    alpha, sigma = kept.sqrt(), (1 - kept).sqrt()
    predicted = network(alpha * latents + sigma * noise, times.float(), context).float()
    error = (predicted - (alpha * noise - sigma * latents)).square().mean(dim=(1, 2, 3))
    ratio = (kept / (1 - kept)).flatten()
    weight = ratio.clamp(max=ceiling) / (ratio + 1)
    return {"loss": (weight * error).mean(), "v error": error.detach().mean()}
