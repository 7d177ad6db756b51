"""A picture made anew in part: what stands under the mask at first, and a denoiser that leaves the rest as it is."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from webui.pipeline.guidance import on_each
from webui.pipeline.masks import GREY, spread
from webui.pipeline.protocol import Ask, Denoise, Moment
from webui.tasks import FILLED, LATENT_NOISE, LATENT_NOTHING

Free = Callable[[Moment], Tensor]
ROUNDING = 1e-4  # of a step, so that shades of 255 are free when they should be
SEEN = 2.0  # times its strength is how much is seen of a pixel that was made anew in part


def hidden(picture: Tensor, free: Tensor) -> Tensor:
    """A picture [3, H, W] whose masked pixels are grey, as inpainting networks are shown it."""
    return torch.where(free > 0, GREY, picture)


def content(picture: Tensor, free: Tensor, kind: str) -> Tensor:
    """The picture [3, H, W] to begin with, by what is to stand under the mask [H, W]."""
    return spread(picture, free) if kind == FILLED else picture


def latent_content(clean: Tensor, free: Tensor, noise: Tensor, kind: str) -> Tensor:
    """The latent [C, h, w] to begin with: there may be noise, or nothing, in the cells [1, h, w] that are free.

    The noise is that which the picture is noised with too, as A1111 has it.
    """
    if kind == LATENT_NOISE:
        return torch.where(free > 0, noise, clean)
    return torch.where(free > 0, torch.zeros_like(clean), clean) if kind == LATENT_NOTHING else clean


def kept(denoise: Denoise, clean: Tensor, free: Free) -> Denoise:
    """A denoiser that finds the `clean` latent itself in every cell that is not free at the moment.

    So whatever the sampler, such a cell stays the clean latent under the noise it began with.
    """

    def wrapped(x: Tensor, at: Moment) -> Generator[Ask, Any, Any]:
        answer = yield from denoise(x, at)
        return on_each(answer, lambda denoised: torch.where(free(at), denoised, clean))

    return wrapped


def hard(strengths: Tensor) -> Free:
    """Cells [1, h, w] that are free from the first step on: all but those of strength 0."""
    free = strengths > 0
    return lambda _: free


def soft(strengths: Tensor) -> Free:
    """Cells [1, h, w] that become free when as much of the way is left as their strength says.

    Differential diffusion (Levin and Fried 2023, arXiv:2306.00950, algorithm 1): a cell is let go at the first step whose part of
    the way gone is not below 1 - strength. Strength 1 is free from the first step, 0 never.
    """
    return lambda at: strengths * _steps(at) >= _steps(at) - at.step - ROUNDING


def _steps(at: Moment) -> int:
    """How many steps there are; where nobody knows, this is the last."""
    return at.step + 1 if at.steps is None else at.steps


def seen(mask: Tensor) -> Tensor:
    """How much of what is new is seen where a mask is a strength: all of it but for the faintest, which lead over to the old.

    A pixel made anew in part holds its part of the old already; to blend it in by its strength once more would take it twice.
    """
    return (mask * SEEN).clamp(max=1)
