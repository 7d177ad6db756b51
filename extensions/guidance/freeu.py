"""FreeU: stronger features and weaker skip connections on the way up through the network (Si et al. 2023, arXiv:2309.11497).

The lower half of the channels that an output block is given is multiplied by b, and the low frequencies of the skip connection
that joins them by s: in the paper's first version as they are, in the second b counts where the features are strong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from webui.extension import Job, Params, Patches, Site, param

if TYPE_CHECKING:
    from torch import Tensor

OFF, FIRST, SECOND = "Off", "v1", "v2"


@dataclass(frozen=True, kw_only=True)
class FreeU(Params):
    """Which version, and its factors at the two lowest levels."""

    freeu: str = param(
        OFF, "FreeU", one_of=(OFF, FIRST, SECOND), infotext="FreeU", unwritten=OFF,
        help="Weigh what the network has understood against what it has only passed on: often more detail, at no cost.")
    b1: float = param(
        1.3, "FreeU b1", min=0, max=3, step=0.01, infotext="FreeU b1", unwritten="1.3",
        help="The factor of half of the features at the lowest level. 1.5 suits SD 1.5, 1.4 SD 2.1, 1.3 SDXL.")
    b2: float = param(
        1.4, "FreeU b2", min=0, max=3, step=0.01, infotext="FreeU b2", unwritten="1.4",
        help="The same one level higher: 1.6 suits SD 1.5 and 2.1, 1.4 SDXL.")
    s1: float = param(
        0.9, "FreeU s1", min=0, max=3, step=0.01, infotext="FreeU s1", unwritten="0.9",
        help="The factor of the skip connections' low frequencies at the lowest level.")
    s2: float = param(
        0.2, "FreeU s2", min=0, max=3, step=0.01, infotext="FreeU s2", unwritten="0.2", help="The same one level higher.")


def patches(job: Job) -> Patches | None:
    """The hook for the network's blocks, where FreeU is on."""
    if job.values["freeu"] == OFF:
        return None
    widths = sorted({mult * job.spec.unet.model_channels for mult in job.spec.unet.channel_mult}, reverse=True)
    factors = [(job.values["b1"], job.values["s1"]), (job.values["b2"], job.values["s2"])]
    return Patches(blocks=(scaled(tuple(zip(widths, factors, strict=False)), by_strength=job.values["freeu"] == SECOND),))


@lru_cache(maxsize=16)  # pictures with the same hook object may share calls of the network
def scaled(factors: tuple[tuple[int, tuple[float, float]], ...], *, by_strength: bool) -> Scaled:
    """The hook with these factors."""
    return Scaled(dict(factors), by_strength=by_strength)


class Scaled:
    """The block hook: `factors` are b and s by the number of channels that an output block is given."""

    def __init__(self, factors: Mapping[int, tuple[float, float]], *, by_strength: bool) -> None:
        self._factors = factors
        self._by_strength = by_strength

    def skip(self, call: Site, h: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """What an output block is given, [B, C, H, W], and what joins it, both scaled."""
        del call
        channels = h.shape[1]
        if channels not in self._factors:
            return h, skip
        b, s = self._factors[channels]
        half = h[:, : channels // 2]
        factor = 1 + (b - 1) * strength(h) if self._by_strength else b
        h = h.clone()  # the block before may still be read
        h[:, : channels // 2] = half * factor
        return h, low_scaled(skip, s)


def strength(h: Tensor) -> Tensor:
    """How strong the features are at each place, their mean brought to 0 ... 1 in each row: [B, 1, H, W]."""
    mean = h.mean(1, keepdim=True)
    low, high = mean.amin((2, 3), keepdim=True), mean.amax((2, 3), keepdim=True)
    y: Tensor = (mean - low) / (high - low).where(high > low, 1.0)
    return y


def low_scaled(x: Tensor, factor: float) -> Tensor:
    """x [B, C, H, W] with its lowest frequencies times a factor.

    Those are, as the paper's own code has it, the four of the shifted spectrum in its middle, one row and one column before it.
    """
    import torch

    spectrum = torch.fft.fftshift(torch.fft.fft2(x.float()), dim=(-2, -1))
    height, width = x.shape[-2] // 2, x.shape[-1] // 2
    spectrum[..., max(height - 1, 0) : height + 1, max(width - 1, 0) : width + 1] *= factor
    y: Tensor = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.to(x.dtype)
    return y
