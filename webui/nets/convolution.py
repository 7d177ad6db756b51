"""Convolutions whose padding is an argument of the call, so that seamless pictures change no module."""
from __future__ import annotations

from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.nn import functional

Padding = Literal["zeros", "circular"]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear, nn.Conv2d | nn.Linear)


class Convolution(nn.Conv2d):
    """A convolution that pads with zeros, or with the opposite edge when called with `padding="circular"`."""

    def forward(self, x: Tensor, padding: Padding = "zeros") -> Tensor:
        """x [B, C, H, W] -> [B, C', H', W']."""
        if padding == "zeros" or self.kernel_size == (1, 1):
            return super().forward(x)
        assert not isinstance(self.padding, str)
        rows, columns = self.padding
        x = wrap(x, left=columns, right=columns, top=rows, bottom=rows)
        return functional.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Activated(nn.Sequential):
    """Group norm, SiLU, (dropout,) convolution: the layers stand at the indices that published checkpoints give them."""

    def forward(self, x: Tensor, padding: Padding = "zeros") -> Tensor:
        """x [B, C, H, W] -> [B, C', H, W]."""
        y: Tensor = self[-1](functional.silu(self[0](x)), padding)
        return y


def wrap(x: Tensor, *, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad x [B, C, H, W] with its own opposite edges, by no more than its sides."""
    return functional.pad(x, (left, right, top, bottom), mode="circular")


def norm(channels: int, groups: int, eps: float) -> nn.GroupNorm:
    """The group norm of these networks; the epsilon differs between residual blocks (1e-5) and the rest (1e-6)."""
    return nn.GroupNorm(groups, channels, eps=eps)


def zeroed(layer: Layer) -> Layer:
    """A layer that starts at zero, so that its residual branch starts as the identity (Ho et al. 2020, arXiv:2006.11239)."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
