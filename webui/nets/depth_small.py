"""A small depth estimator of plain convolutions: a U-Net after Ronneberger et al. 2015 (arXiv 1505.04597), a size a step."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.convolution import Convolution

DEPTH_KEY = "webui.depth"
"""The entry of a weight file's metadata that says it is a depth estimator: JSON such as {"kind": "small", "widths": [8, 16]}."""
KIND = "small"
"""The kind of estimator that is built here."""
MOST_LEVELS, WIDEST, LARGEST_SIDE = 8, 1024, 4096
"""What a description may ask for at most, so that a file cannot make a network that fills the memory."""


@dataclass(frozen=True, kw_only=True)
class SmallDepthSpec:
    """The sizes of a small estimator: channels at each size, halved from level to level, and groups of the norms.

    `side` is how many pixels the sides of the pictures had that it was trained on; it sees best at about that size.
    """

    widths: tuple[int, ...] = (12, 24, 48, 72, 96)
    groups: int = 4
    side: int = 128

    def __post_init__(self) -> None:
        numbers = (*self.widths, self.groups, self.side)
        if not all(type(number) is int and number > 0 for number in numbers):
            raise ValueError(f"The sizes of a depth estimator must be whole numbers above 0; got {numbers}.")
        if not 1 <= len(self.widths) <= MOST_LEVELS or max(self.widths) > WIDEST or self.side > LARGEST_SIDE:
            raise ValueError(
                f"A depth estimator has 1 to {MOST_LEVELS} levels of at most {WIDEST} channels and sides of at most "
                f"{LARGEST_SIDE}; got widths {self.widths} and side {self.side}."
            )
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"The widths {self.widths} of a depth estimator must be divisible by its {self.groups} groups.")

    @property
    def multiple(self) -> int:
        """What the sides of a picture are padded to a multiple of."""
        return int(2 ** (len(self.widths) - 1))

    def to_json(self) -> dict[str, Any]:
        """The description as a weight file carries it under `DEPTH_KEY`."""
        return {"kind": KIND, **dataclasses.asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> SmallDepthSpec:
        """The inverse of `to_json`; a ValueError says what is unknown, missing or of the wrong kind."""
        if not isinstance(plain, Mapping) or plain.get("kind") != KIND:
            raise ValueError(f"The description of a small depth estimator must be a table with the kind '{KIND}'.")
        given = {name: value for name, value in plain.items() if name != "kind"}
        names = {field.name for field in dataclasses.fields(cls)}
        if set(given) != names:
            raise ValueError(
                f"A small depth estimator is described by {', '.join(sorted(names))}; got {', '.join(sorted(given))}."
            )
        if not isinstance(given["widths"], list):
            raise ValueError("The widths of a depth estimator must be a list.")
        return cls(**{**given, "widths": tuple(given["widths"])})


class SmallDepth(nn.Module):
    """Disparity from a picture: how near each pixel is, in 1 / metre of the pictures it was trained on."""

    def __init__(self, spec: SmallDepthSpec) -> None:
        super().__init__()
        self.spec = spec
        first, *rest = spec.widths
        self.start = pair(3, first, spec.groups)
        self.down = nn.ModuleList(pair(above, below, spec.groups, stride=2) for above, below in pairwise((first, *rest)))
        self.up = nn.ModuleList(pair(below + above, above, spec.groups) for above, below in reversed(list(pairwise(spec.widths))))
        self.out = Convolution(first, 1, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] of any size -> disparity [B, H, W], float32, larger where nearer."""
        height, width = picture.shape[-2:]
        multiple = self.spec.multiple
        more = (0, -width % multiple, 0, -height % multiple)
        x = self.start(functional.pad(2 * picture.to(self.out.weight.dtype) - 1, more, mode="replicate"))
        kept = []
        for layer in self.down:
            kept.append(x)
            x = layer(x)
        for layer in self.up:
            beside = kept.pop()
            x = layer(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), beside], dim=1))
        disparity: Tensor = self.out(x)[:, 0, :height, :width].float()
        return disparity


def pair(before: int, after: int, groups: int, stride: int = 1) -> nn.Sequential:
    """Two convolutions, each with a group norm and SiLU; the first may halve the sides."""
    return nn.Sequential(
        Convolution(before, after, 3, stride=stride, padding=1),
        nn.GroupNorm(groups, after),
        nn.SiLU(),
        Convolution(after, after, 3, padding=1),
        nn.GroupNorm(groups, after),
        nn.SiLU(),
    )
