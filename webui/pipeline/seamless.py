"""Pictures whose opposite edges fit together, so that they can be laid side by side: convolutions go on at the other edge."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from webui.pipeline.loops import changed
from webui.pipeline.patches import Patches
from webui.pipeline.pictures import Fit
from webui.pipeline.protocol import Ask, Decode, EncodePicture

T = TypeVar("T")
SEAMLESS = Patches(padding="circular")


def seamless(generation: Generator[Ask, Any, T]) -> Generator[Ask, Any, T]:
    """The same generation, whose pictures are encoded and decoded so that their edges fit; rows are patched with `SEAMLESS`."""
    return changed(
        generation, lambda ask: replace(ask, padding="circular") if isinstance(ask, (Decode, EncodePicture)) else ask
    )


def wrapped(picture: Tensor, margin: int) -> Tensor:
    """A picture or latent [..., H, W] with so many pixels of the opposite edge at each side, or several times itself."""
    height, width = picture.shape[-2:]
    rows = torch.arange(-margin, height + margin, device=picture.device) % height
    columns = torch.arange(-margin, width + margin, device=picture.device) % width
    return picture.index_select(-2, rows).index_select(-1, columns)


def fit_of_wrapped(width: int, height: int, own_width: int, own_height: int, margin: int) -> Fit:
    """How a `wrapped` picture becomes `width` x `height`: its inside alone, stretched, while filters see the margin."""
    across, down = own_width + 2 * margin, own_height + 2 * margin
    part = (margin / across, margin / down, (own_width + margin) / across, (own_height + margin) / down)
    return Fit(width=width, height=height, part=part, inner=(0, 0, width, height))
