"""Depth maps: made of a picture or given, brought to [0, 1] with 1 near, and as the channel a depth network reads."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from webui.nets.spec import ModelSpec
from webui.pipeline.given import Given
from webui.pipeline.pictures import SMOOTH, Fit, laid_over, opaque, present, unit, whole_cells
from webui.pipeline.protocol import Ask, Call
from webui.request import Request

FLAT = 1e-6  # a map whose values are no further apart than this, beside its largest, says nothing


def spanned(values: Tensor) -> Tensor:
    """Values [...] moved and scaled so that the smallest is 0 and the largest 1; all 0 where they are equal."""
    low, high = values.min(), values.max()
    span = high - low
    says = span > FLAT * values.abs().max().clamp(min=1)
    return torch.where(says, (values - low) / torch.where(says, span, torch.ones_like(span)), torch.zeros_like(values))


def adjusted(depth: Tensor, request: Request) -> Tensor:
    """A map in [0, 1] with what the request does to it: inverted first, then from its far clip, 0, to its near clip, 1.

    Where the near clip is the lower one, near and far change places; where both are equal, there is nothing in between.
    """
    depth = 1 - depth if request.depth_invert else depth
    span = request.depth_near - request.depth_far
    if span == 0:
        return (depth >= request.depth_near).to(depth.dtype)
    return ((depth - request.depth_far) / span).clamp(0, 1)


def estimated(picture: Tensor, estimator: str) -> Generator[Ask, Any, Tensor]:
    """The map [H, W] in [0, 1] that an estimator makes of a picture [3, H, W] in [0, 1]."""
    answer: Tensor = yield Call(estimator, {"picture": picture})
    return spanned(answer)


def depth_of(
    request: Request, given: Given, picture: Tensor | None, estimator: str
) -> Generator[Ask, Any, Tensor | None]:
    """The map [H, W] that a request's picture follows, of the picture's size: that which is given, else of the fitted picture.

    None where there is neither. A map of another size is fitted as the picture is.
    """
    if given.depth is not None:
        height, width = (given.depth if given.picture is None else given.picture).shape[-2:]
        fit = Fit.of(request.resize_mode, request.width, request.height, width, height)
        return adjusted(fit(given.depth.float().clamp(0, 1), SMOOTH), request)
    if picture is None or not estimator:
        return None
    return adjusted((yield from estimated(picture, estimator)), request)


def depth_channel(depth: Tensor | None, spec: ModelSpec, height: int, width: int, device: str) -> Tensor:
    """What a depth network reads [1, h, w] beside a latent of so many cells: a map resized, then brought to [-1, 1].

    Latent diffusion's order (and diffusers'): bicubic, without antialiasing unless the network was taught with it, then by the
    smallest and largest value. Where there is no map, it is what the network was taught to take for none, or else a flat map.
    """
    if depth is None:
        return torch.full((1, height, width), -1.0 if spec.no_map is None else spec.no_map, device=device)
    depth = whole_cells(depth, spec.vae.factor).to(device)
    size, smooth = (height, width), spec.smooth_map
    small = interpolate(depth[None, None], size=size, mode="bicubic", align_corners=False, antialias=smooth)[0]
    return spanned(small) * 2 - 1


def map_alone(request: Request, given: Given, estimator: str) -> Generator[Ask, Any, Tensor]:
    """The map [H, W] of a picture at its own size, or the one that is given, with what the request does to it."""
    if given.depth is not None:
        return adjusted(given.depth.float().clamp(0, 1), request)
    picture = unit(opaque(laid_over(present(given.picture), given.sketch)))
    return adjusted((yield from estimated(picture, estimator)), request)
