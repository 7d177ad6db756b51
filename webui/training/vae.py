"""The VAE's loss: reconstruction, a weak pull to the normal distribution, and a term that keeps edges sharp."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from webui.nets.autoencoder import AutoencoderKL


def edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical differences of neighbouring pixels of [B, C, H, W]."""
    return picture[..., :, 1:] - picture[..., :, :-1], picture[..., 1:, :] - picture[..., :-1, :]


def reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute error of the colours and of the edges: the second keeps outlines and stripes, which the first blurs.

    Edges after Mathieu et al. 2015 (arXiv 1511.05440), gradient difference loss.
    """
    colours = functional.l1_loss(made, wanted)
    across, down = (functional.l1_loss(a, b) for a, b in zip(edges(made), edges(wanted), strict=True))
    return colours + across + down


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of the posterior from the standard normal distribution, averaged over latent values (nats)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def vae_loss(network: AutoencoderKL, pictures: Tensor, generator: torch.Generator, *, pull: float = 1e-4) -> dict[str, Tensor]:
    """Loss of pictures [B, 3, H, W] in [-1, 1]: reconstruction + `pull` * KL (Kingma and Welling 2013; Rombach et al. 2022).

    Also returns the PSNR in dB against a peak of 2 (the range of the pictures).
    """
    mean, logvar = network.encode(pictures)
    mean, logvar = mean.float(), logvar.float().clamp(-30, 10)
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    made = network.decode(mean + (0.5 * logvar).exp() * noise).float()
    kl = divergence(mean, logvar)
    error = (made.detach().clamp(-1, 1) - pictures).square().mean(dim=(1, 2, 3))
    psnr = (10 * torch.log10(4 / error)).mean()
    return {"loss": reconstruction(made, pictures) + pull * kl, "psnr": psnr, "kl": kl}


@torch.no_grad()
def standardise(network: AutoencoderKL, means: Tensor) -> None:
    """Fold shift and scale into the 1x1 convolutions so that each latent channel has mean 0 and variance 1 over `means`.

    `means` [N, C, h, w] are posterior means of training pictures. What the VAE computes end to end does not change; the noise
    predictor then meets the data scale its noise levels assume (Rombach et al. 2022, section 4.3, do so with one number).
    """
    shift = means.mean(dim=(0, 2, 3)).to(means)
    scale = means.std(dim=(0, 2, 3))
    channels = len(shift)
    quant, post = network.quant_conv, network.post_quant_conv
    assert quant.bias is not None and post.bias is not None
    quant.weight[:channels] /= scale[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - shift) / scale
    quant.bias[channels:] -= 2 * scale.log()
    post.bias += post.weight[:, :, 0, 0] @ shift
    post.weight *= scale[None, :, None, None]
