"""Upscalers as data: what a network that enlarges pictures is built from, read without torch."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = 3
MOST = 4096  # of channels and of blocks; published networks have 64 and 23
LARGEST_SCALE = 16


@dataclass(frozen=True, kw_only=True)
class RRDBSpec:
    """An RRDBNet: ESRGAN (Wang et al. 2018, arXiv:1809.00219) and Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).

    The sides are doubled `doublings` times after the picture was folded, `unshuffle` x `unshuffle` pixels into one (Real-ESRGAN's
    networks for 2x). `plus` adds the residuals within dense blocks of ESRGAN+ (Rakotonirina and Rasoanaivo 2020,
    arXiv:2001.08073).
    """

    features: int = 64
    growth: int = 32
    blocks: int = 23
    doublings: int = 2
    unshuffle: int = 1
    plus: bool = False

    def __post_init__(self) -> None:
        if not all(1 <= number <= MOST for number in (self.features, self.growth, self.blocks)):
            raise ValueError(f"{self.blocks} blocks of {self.features} channels that grow by {self.growth}")
        if self.doublings not in range(5) or self.unshuffle not in (1, 2, 4) or self.unshuffle > 2**self.doublings:
            raise ValueError(f"{self.doublings} doublings of a picture folded {self.unshuffle}-fold")

    @property
    def scale(self) -> int:
        """How many times as wide and as high the result is."""
        return int(2**self.doublings) // self.unshuffle


@dataclass(frozen=True, kw_only=True)
class CompactSpec:
    """An SRVGGNetCompact, the small network of Real-ESRGAN (general v3, anime video): convolutions at the picture's own size."""

    features: int = 64
    convolutions: int = 32
    scale: int = 4

    def __post_init__(self) -> None:
        if not all(1 <= number <= MOST for number in (self.features, self.convolutions)):
            raise ValueError(f"{self.convolutions} convolutions of {self.features} channels")
        if not 1 <= self.scale <= LARGEST_SCALE:
            raise ValueError(f"the scale {self.scale}")


UpscalerSpec = RRDBSpec | CompactSpec
