"""A small network that tells what a noisy latent will show, whatever its noise level: what classifier guidance asks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 16  # sinusoids of the noise level
WIDTHS = (48, 64, 96)  # channels at full, half and quarter size


class LatentClassifier(nn.Module):
    """Scores for classes that fall into groups, of which exactly one each is true: a shape and a colour, say."""

    def __init__(self, channels: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.groups = groups
        first, middle, last = WIDTHS
        self.level = nn.Sequential(nn.Linear(2 * LEVELS, last), nn.SiLU(), nn.Linear(last, 2 * sum((first, middle, last))))
        self.first = nn.Conv2d(channels, first, 3, padding=1)
        self.middle = nn.Conv2d(first, middle, 3, padding=1, stride=2)
        self.last = nn.Conv2d(middle, last, 3, padding=1, stride=2)
        self.again = nn.Conv2d(last, last, 3, padding=1)
        self.scores = nn.Linear(last, sum(groups))

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """x [B, C, H, W] is data + sigma [B] * noise -> scores [B, classes], float32."""
        sigma = sigma.float()
        angles = (sigma.log() / 4)[:, None] * (2.0 ** torch.linspace(-2, 4, LEVELS, device=x.device))
        told = self.level(torch.cat([angles.cos(), angles.sin()], dim=-1))[:, :, None, None]
        scales, shifts = (torch.split(part, list(WIDTHS), dim=1) for part in told.chunk(2, dim=1))
        h = x.float() / (1 + sigma**2).sqrt()[:, None, None, None]
        for layer, scale, shift in zip((self.first, self.middle, self.last), scales, shifts, strict=True):
            h = functional.silu(layer(h) * (1 + scale) + shift)
        h = h + functional.silu(self.again(h))
        y: Tensor = self.scores(h.mean((2, 3)))
        return y.float()

    def log_chances(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The logarithm of each class' chance among its group, [B, classes]."""
        groups = torch.split(self.forward(x, sigma), list(self.groups), dim=1)
        return torch.cat([functional.log_softmax(scores, dim=1) for scores in groups], dim=1)

