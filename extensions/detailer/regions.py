"""Regions of a picture: those of a mask, what is nearest in it, and connected parts of either."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from webui.extension import Ask, Call

GRID = 128  # cells of the longer side on which parts are told apart
LEVELS = 64  # at which near and far might be divided
WHITE = 0.5


def parts_of_mask(mask: Tensor, pixels: Tensor) -> Tensor:
    """The white parts [N, H, W] of a mask uint8 RGBA [4, h, w], for a picture [3, H, W], the largest first."""
    shown = mask[:3].float().mean(0) * mask[3].float() / 255**2
    return connected(resized(shown, pixels.shape[-2], pixels.shape[-1]))


def nearest_parts(pixels: Tensor, estimator: str) -> Generator[Ask, Any, Tensor]:
    """What is near [N, H, W] in a picture [3, H, W], the largest part first; a part is as sure as it is nearer than the rest."""
    depth = yield Call(estimator, {"picture": pixels})
    near = spanned(depth.cpu())
    level = divided(near)
    found = connected((near > level).float())
    behind = near[near <= level].mean() if bool((near <= level).any()) else near.new_zeros(())
    sure = [(near[part > 0].mean() - behind).clamp(0, 1) * part for part in found]
    return torch.stack(sure) if sure else found


def spanned(depth: Tensor) -> Tensor:
    """A map from 0, the farthest, to 1; 0 where all is equally far."""
    low, high = depth.min(), depth.max()
    return (depth - low) / (high - low) if high > low else torch.zeros_like(depth)


def divided(values: Tensor) -> float:
    """The level in [0, 1] that divides values into two groups of least variance each (Otsu 1979)."""
    counts = torch.histc(values.float(), LEVELS, 0, 1).double()
    middles = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    below, sums = counts.cumsum(0), (counts * middles).cumsum(0)
    above = below[-1] - below
    difference = sums / below.clamp(min=1) - (sums[-1] - sums) / above.clamp(min=1)
    between = below * above * difference**2
    return float((between.argmax() + 1) / LEVELS)


def connected(mask: Tensor) -> Tensor:
    """The connected white parts [N, H, W] of a mask [H, W], the largest first; all that touches, corners too, is one part."""
    height, width = mask.shape
    scale = min(1.0, GRID / max(height, width))
    small = (max(round(height * scale), 1), max(round(width * scale), 1))
    white = torch.nn.functional.adaptive_max_pool2d(mask[None], small)[0] > WHITE
    labels = torch.where(white, torch.arange(1, white.numel() + 1, dtype=torch.float32).view(small), 0.0)
    while True:  # each part takes the largest of its numbers, which travel from cell to cell
        wider = torch.where(white, max_pool2d(labels[None, None], 3, 1, 1)[0, 0], 0.0)
        if torch.equal(wider, labels):
            break
        labels = wider
    whole = interpolate(labels[None, None], size=(height, width), mode="nearest")[0, 0]
    parts = [mask * (whole == number) for number in sorted(set(labels.flatten().tolist())) if number > 0]
    parts = [part for part in parts if bool((part > WHITE).any())]
    parts.sort(key=lambda part: -float((part > WHITE).sum()))
    return torch.stack(parts) if parts else mask.new_zeros(0, height, width)


def resized(mask: Tensor, height: int, width: int) -> Tensor:
    """A mask [h, w] at another size."""
    return interpolate(mask[None, None], size=(height, width), mode="bilinear", align_corners=False, antialias=True)[0, 0]
