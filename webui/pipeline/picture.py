"""What a generation makes: a picture, and what it was decoded from and made to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """The result: `pixels` float32 [3, H, W] in [0, 1] and the latent [C, h, w] they were decoded from, None where there is none.

    `maps` are what the picture was made to, by the name of the input each could be given as: `depth` float32 [H, W] in [0, 1].
    """

    pixels: Tensor
    latent: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)
