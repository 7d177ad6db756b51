"""The noise predictor's last lesson: a depth map beside the latent says where things stand, and the words say the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.unet import UNetModel

from .dataset import DataSet

MAP_DROPOUT = 0.35
"""Part of the pictures whose channel is `NO_MAP` throughout: so the network still draws from words alone."""
NO_MAP = 0.0
"""What fills the channel where there is no map: the middle of the range of maps, and nothing at all to a convolution."""
GAMMA = 0.25
"""Largest logarithm of the power that a map from 0 to 1 is raised to: uploaded maps measure depth in other ways."""
FLAT = 1e-6
"""Least difference between far and near that a map is divided by, so that a flat map is not divided by nothing."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Disparity, 1 / metre, of all pictures at the latents' size: [N, 1, h, w] float16."""

    disparity: Tensor

    def take(self, indices: np.ndarray, flips: np.ndarray, rng: np.random.Generator) -> Tensor:
        """The channel [B, 1, h, w] of pictures, mirrored where asked: from far (-1) to near (1), or `NO_MAP` throughout."""
        chosen = torch.from_numpy(indices).to(self.disparity.device)
        flipped = torch.from_numpy(flips).to(self.disparity.device).view(-1, 1, 1, 1)
        disparity = self.disparity[chosen].float()
        powers, dropped = np.exp(rng.uniform(-GAMMA, GAMMA, len(indices))), rng.random(len(indices)) < MAP_DROPOUT
        maps = channel(torch.where(flipped, disparity.flip(-1), disparity), torch.from_numpy(powers).to(disparity))
        return torch.where(torch.from_numpy(dropped).to(disparity.device).view(-1, 1, 1, 1), NO_MAP, maps)


def maps_of(data: DataSet, side: int, device: torch.device) -> Maps:
    """The maps of a data set, `side` cells a side."""
    small = [at_size(1 / torch.from_numpy(np.array(depth)).float()[:, None], side).half() for depth in data.depth]
    return Maps(disparity=torch.cat(small).to(device))


def at_size(maps: Tensor, side: int) -> Tensor:
    """Maps [B, 1, H, W] resized to [B, 1, side, side] as the network takes them: bicubic, smoothed before."""
    return functional.interpolate(maps, size=(side, side), mode="bicubic", align_corners=False, antialias=True)


def channel(disparity: Tensor, powers: Tensor) -> Tensor:
    """Each map of [B, 1, h, w] brought to -1 (its farthest) to 1 (its nearest), raised to its power [B] on the way."""
    low, high = disparity.amin(dim=(1, 2, 3), keepdim=True), disparity.amax(dim=(1, 2, 3), keepdim=True)
    between = ((disparity - low) / (high - low).clamp(min=FLAT)).clamp(0, 1)
    return 2 * between ** powers.view(-1, 1, 1, 1) - 1


@torch.no_grad()
def widen(network: UNetModel, narrow: UNetModel) -> None:
    """Give a network the weights of one with fewer input channels; what it has more begins without effect."""
    own, given = first_convolution(network), first_convolution(narrow)
    state = narrow.state_dict()
    grown = torch.zeros_like(own.weight)
    grown[:, : given.in_channels] = given.weight
    state[FIRST] = grown
    network.load_state_dict(state)


@torch.no_grad()
def narrow_down(network: UNetModel, wide: UNetModel) -> None:
    """Give a network the weights of one with more input channels, as those compute where what is more holds zeros."""
    state = wide.state_dict()
    state[FIRST] = first_convolution(wide).weight[:, : first_convolution(network).in_channels].clone()
    network.load_state_dict(state)


FIRST = "input_blocks.0.0.weight"


def first_convolution(network: UNetModel) -> nn.Conv2d:
    """The convolution that meets the latent."""
    found = network.get_submodule(FIRST.removesuffix(".weight"))
    assert isinstance(found, nn.Conv2d)
    return found
