"""The maps that ControlNets see: a person's picture, fitted to the picture that is made, and what a preprocessor makes of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from webui.extension import Ask, Call, Fit, opaque, unit

from . import canny
from .units import DEPTH, EDGES, Unit


def map_of(own: Unit, picture: Tensor, height: int, width: int, estimator: str) -> Generator[Ask, Any, Tensor]:
    """The map [3, height, width] in [0, 1] that a unit makes of its picture uint8 [4, H, W].

    `estimator` is the network that sees depth. The map is made at the size it is needed at, so that its lines are as thin there.
    """
    fitted = Fit.of(own.fit, width, height, picture.shape[-1], picture.shape[-2])(opaque(picture))
    if own.preprocessor == EDGES:
        lines = canny.edges(fitted, own.low, own.high)
        return lines.to(torch.float32).expand(3, -1, -1)
    seen = unit(fitted)
    if own.preprocessor == DEPTH:
        near = yield Call(estimator, {"picture": seen})
        return spanned(near.cpu()).expand(3, -1, -1)
    return seen


def spanned(depth: Tensor) -> Tensor:
    """A map moved and scaled so that its farthest is 0 and its nearest 1; 0 where all is equally far."""
    low, high = depth.min(), depth.max()
    return (depth - low) / (high - low) if high > low else torch.zeros_like(depth)
