"""Networks that enlarge pictures, with the attribute names of the published files: RRDBNet and SRVGGNetCompact."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.upscaler_spec import COLOURS, CompactSpec, RRDBSpec, UpscalerSpec

SLOPE = 0.2  # of the leaky ReLU
RESIDUAL = 0.2  # how much of what blocks find is added (ESRGAN, section 3.1)
DENSE = 5  # convolutions in a dense block


class Upscaler(nn.Module):
    """What upscalers have in common: pictures in [0, 1], and results that stay there."""

    spec: UpscalerSpec

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] of any size -> float32 [B, 3, s H, s W] in [0, 1], s being the spec's scale."""
        weight = next(self.parameters())
        return self.enlarged(picture.to(weight.dtype)).float().clamp(0, 1)

    def enlarged(self, picture: Tensor) -> Tensor:
        """The network's own answer, which may leave [0, 1]."""
        raise NotImplementedError


class RRDBNet(Upscaler):
    """Residual blocks of residual dense blocks, then doublings by nearest neighbour with a convolution after each."""

    def __init__(self, spec: RRDBSpec) -> None:
        super().__init__()
        self.spec: RRDBSpec = spec
        width = spec.features
        self.conv_first = convolution(COLOURS * spec.unshuffle**2, width)
        self.body = nn.ModuleList(RRDB(spec) for _ in range(spec.blocks))
        self.conv_body = convolution(width, width)
        for number in range(1, spec.doublings + 1):
            self.add_module(f"conv_up{number}", convolution(width, width))
        self.conv_hr = convolution(width, width)
        self.conv_last = convolution(width, COLOURS)

    def enlarged(self, picture: Tensor) -> Tensor:
        """Sides that cannot be folded evenly are continued by their last row and column, and the result is cut."""
        height, width, fold = picture.shape[-2], picture.shape[-1], self.spec.unshuffle
        x = functional.pad(picture, (0, -width % fold, 0, -height % fold), mode="replicate") if fold > 1 else picture
        first = self.conv_first(functional.pixel_unshuffle(x, fold))
        x = first
        for block in self.body:
            x = block(x)
        x = first + self.conv_body(x)
        for number in range(1, self.spec.doublings + 1):
            doubled = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = leaky(self.get_submodule(f"conv_up{number}")(doubled))
        result: Tensor = self.conv_last(leaky(self.conv_hr(x)))
        return result[..., : height * self.spec.scale, : width * self.spec.scale]


class RRDB(nn.Module):
    """Three dense blocks with a residual around them."""

    def __init__(self, spec: RRDBSpec) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = DenseBlock(spec), DenseBlock(spec), DenseBlock(spec)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> the same shape."""
        result: Tensor = x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))
        return result


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees what all before it made."""

    def __init__(self, spec: RRDBSpec) -> None:
        super().__init__()
        for number in range(1, DENSE + 1):
            grown = spec.features + (number - 1) * spec.growth
            self.add_module(f"conv{number}", convolution(grown, spec.features if number == DENSE else spec.growth))
        if spec.plus:
            self.conv1x1 = nn.Conv2d(spec.features, spec.growth, 1, bias=False)
        self.plus = spec.plus

    def forward(self, x: Tensor) -> Tensor:
        """x [B, C, H, W] -> the same shape."""
        seen = [x]
        for number in range(1, DENSE):
            new = leaky(self.get_submodule(f"conv{number}")(torch.cat(seen, dim=1)))
            if self.plus and number % 2 == 0:
                new = new + (self.conv1x1(x) if number == 2 else seen[2])
            seen.append(new)
        result: Tensor = x + RESIDUAL * self.get_submodule(f"conv{DENSE}")(torch.cat(seen, dim=1))
        return result


class CompactUpscaler(Upscaler):
    """Plain convolutions with PReLU; the last makes every pixel's s x s colours, added to the picture enlarged by nearest."""

    def __init__(self, spec: CompactSpec) -> None:
        super().__init__()
        self.spec: CompactSpec = spec
        width = spec.features
        layers: list[nn.Module] = [convolution(COLOURS, width), nn.PReLU(width)]
        for _ in range(spec.convolutions):
            layers += [convolution(width, width), nn.PReLU(width)]
        self.body = nn.ModuleList([*layers, convolution(width, COLOURS * spec.scale**2)])

    def enlarged(self, picture: Tensor) -> Tensor:
        """The picture, enlarged, plus what the convolutions make of it."""
        x = picture
        for layer in self.body:
            x = layer(x)
        base = functional.interpolate(picture, scale_factor=float(self.spec.scale), mode="nearest")
        return functional.pixel_shuffle(x, self.spec.scale) + base


def convolution(before: int, after: int) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(before, after, 3, padding=1)


def leaky(x: Tensor) -> Tensor:
    """The activation of RRDBNet."""
    return functional.leaky_relu(x, SLOPE)


def upscaler(spec: UpscalerSpec) -> Upscaler:
    """The network of a spec."""
    return RRDBNet(spec) if isinstance(spec, RRDBSpec) else CompactUpscaler(spec)
