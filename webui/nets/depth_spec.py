"""Depth estimators as data: what a network that sees how near things are is built from, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Readout = Literal["ignore", "add", "project"]
STAGES = 4  # at which features are taken, from fine to coarse
ELONGATED = 4  # times its usual side that a picture may have for a network; longer ones are squeezed, for its work grows so too
HEAD = 32  # channels before the last layer


@dataclass(frozen=True, kw_only=True)
class BitSpec:
    """The convolutions in front of a hybrid's transformer: a BiT (Kolesnikov et al. 2019, arXiv:1912.11370) of three stages."""

    stem: int = 64
    widths: tuple[int, ...] = (256, 512, 1024)
    depths: tuple[int, ...] = (3, 4, 9)
    groups: int = 32


@dataclass(frozen=True, kw_only=True)
class SightSpec:
    """How pictures are brought to a network: at which size, in multiples of what, normalised by which mean and deviation."""

    side: int = 384
    multiple: int = 32
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class DepthSpec:
    """A vision transformer and a convolutional decoder (DPT: Ranftl et al. 2021, arXiv:2103.13413).

    `family` is "dpt" (MiDaS 3; a hybrid one with `bit`) or "depth_anything" (Yang et al. 2024, arXiv:2401.10891 and 2406.09414).
    `grid` is the number of patches a side that its position embeddings are for, `taps` the layers read, the first being 1.
    With `metres`, the greatest distance, it gives distances and not nearness.
    """

    family: Literal["dpt", "depth_anything"]
    width: int
    layers: int
    heads: int
    inner: int
    patch: int
    grid: int
    taps: tuple[int, ...]
    neck: tuple[int, ...]
    factors: tuple[float, ...]
    fusion: int
    head: int = HEAD
    eps: float = 1e-6
    bias: bool = True  # of queries, keys and values
    readout: Readout = "project"
    bit: BitSpec | None = None
    gated: bool = False  # SwiGLU in place of a plain layer
    normed: bool = True  # whether features are normalised when they are read
    metres: int | None = None
    sight: SightSpec = SightSpec()


def fitted_size(height: int, width: int, side: int, multiple: int) -> tuple[int, int]:
    """The height and width at which a network sees a picture: one side as near to `side` as the picture's own size allows.

    The shape is kept, but for rounding to multiples, up to `ELONGATED` times the side, and down to a part of it as small.
    """
    down, across = side / height, side / width
    scale = across if abs(1 - across) < abs(1 - down) else down  # of the two the one that changes the picture less
    most, least = side * ELONGATED // multiple, max(1, side // ELONGATED // multiple)
    rows, columns = (min(max(round(scale * length / multiple), least), most) for length in (height, width))
    return rows * multiple, columns * multiple
