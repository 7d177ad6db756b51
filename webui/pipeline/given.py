"""The pictures a generation is given, as people brought them: decoded and rotated upright, and nothing else done to them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """Host tensors by what they are for, each of a size of its own; None for what is not given.

    `picture` uint8 [4, H, W] is RGBA (255 is opaque); `sketch` likewise, drawn over the picture and stretched to its size; `mask`
    float32 [H, W] from 0 to 1, 1 is made anew; `depth` float32 [H, W] from 0 to 1, 1 is near.
    """

    picture: Tensor | None = None
    sketch: Tensor | None = None
    mask: Tensor | None = None
    depth: Tensor | None = None


NOTHING_GIVEN = Given()
