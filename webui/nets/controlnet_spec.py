"""ControlNets as data: what a network that steers a noise predictor by a picture is built from, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from webui.nets.spec import UNetSpec

STRIDES = (1, 1, 2, 1, 2, 1, 2, 1)  # of the layers that a picture passes before it is added to the latent's features
HINT_WIDTHS = (16, 16, 32, 32, 96, 96, 256)  # of all of them but the last, which has the noise predictor's


@dataclass(frozen=True, kw_only=True)
class ControlSpec:
    """A ControlNet (Zhang et al. 2023, arXiv:2302.05543): the half of a noise predictor that goes down, and layers to a picture.

    `unet` is the noise predictor whose half it is, `picture_channels` those of the picture, `hint_widths` those in between.
    """

    unet: UNetSpec
    picture_channels: int = 3
    hint_widths: tuple[int, ...] = HINT_WIDTHS

    def __post_init__(self) -> None:
        if len(self.hint_widths) != len(STRIDES) - 1:
            found = len(self.hint_widths) + 1
            raise ValueError(f"A ControlNet has {len(STRIDES)} layers between picture and latent, not {found}.")

    @property
    def factor(self) -> int:
        """Picture pixels per latent pixel, along one side."""
        return prod(STRIDES)

    @property
    def sites(self) -> int:
        """How many results it has: one for each skip connection of the noise predictor, and one for its middle."""
        return self.unet.levels * (self.unet.res_blocks + 1) + 1

    def fits(self, unet: UNetSpec, latent_channels: int) -> bool:
        """Whether what it computes can be added to a noise predictor, from the same latent and text.

        The noise predictor may take more beside the latent, and a guidance; small ControlNets have fewer transformers than it.
        """
        return self.unet.in_channels == latent_channels and _outline(self.unet) == _outline(unet)


def _outline(unet: UNetSpec) -> tuple[object, ...]:
    return unet.model_channels, unet.channel_mult, unet.res_blocks, unet.context_width, unet.label_width
