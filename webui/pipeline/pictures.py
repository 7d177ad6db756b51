"""Pictures on the host, before a network sees them and after: laid over each other, fitted into a size, put back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from webui.errors import UserError
from webui.tasks import CROP, FILL

SMOOTH, SHARP, BLOCKY = Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.NEAREST
WHITE = 255
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels


def laid_over(picture: Tensor, sketch: Tensor | None) -> Tensor:
    """A picture uint8 [4, H, W] with a drawing, stretched to its size, over it."""
    if sketch is None:
        return picture
    below, above = (Image.fromarray(each.permute(1, 2, 0).contiguous().numpy(), "RGBA") for each in (picture, sketch))
    if above.size != below.size:
        above = above.resize(below.size, SMOOTH)
    return _planes(Image.alpha_composite(below, above))


def opaque(picture: Tensor) -> Tensor:
    """The colours uint8 [3, H, W] of a picture uint8 [4, H, W] on white paper."""
    colours, alpha = picture[:3], picture[3:]
    if bool((alpha == WHITE).all()):
        return colours
    mixed = (colours.float() * alpha + float(WHITE) * (WHITE - alpha.float())) / WHITE
    return mixed.round().to(torch.uint8)


def unit(picture: Tensor) -> Tensor:
    """Bytes as float32 in [0, 1], which rounds back to the same bytes."""
    return picture.to(torch.float32) / WHITE


def in_bytes(picture: Tensor) -> Tensor:
    """The nearest bytes of a picture in [0, 1]."""
    return (picture.clamp(0, 1) * WHITE).round().to(torch.uint8)


def resized(picture: Tensor, width: int, height: int, resample: Image.Resampling = SHARP) -> Tensor:
    """A picture, uint8 [3, H, W] or float32 [C, H, W] or [H, W] in [0, 1], of another size; the same one where it has it."""
    if picture.shape[-2:] == (height, width):
        return picture
    return _drawn(picture, width, height, (0.0, 0.0, float(picture.shape[-1]), float(picture.shape[-2])), resample)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a picture is brought to `width` x `height`: which part of it is used, and which pixels that part becomes.

    `part` is left, top, right and bottom as parts of the sides, from 0 to 1; `inner` is a box of whole pixels, whose edges are
    continued to those of the whole.
    """

    width: int
    height: int
    part: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    inner: Box

    @classmethod
    def of(cls, mode: str, width: int, height: int, own_width: int, own_height: int) -> Self:
        """The fit that a resize mode means for a picture of some size; all but two stretch it."""
        stretched = cls(width=width, height=height, inner=(0, 0, width, height))
        by_width, by_height = width / own_width, height / own_height
        if mode == CROP:
            scale = max(by_width, by_height)
            across, down = min(width / (own_width * scale), 1.0), min(height / (own_height * scale), 1.0)
            return replace(stretched, part=((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2))
        if mode == FILL:
            scale = min(by_width, by_height)
            across = min(max(round(own_width * scale), 1), width)
            down = min(max(round(own_height * scale), 1), height)
            left, top = (width - across) // 2, (height - down) // 2
            return replace(stretched, inner=(left, top, left + across, top + down))
        return stretched

    def __call__(self, picture: Tensor, resample: Image.Resampling = SHARP) -> Tensor:
        """A picture, mask or map of any size, fitted; its own numbers where nothing is to be done."""
        own_height, own_width = picture.shape[-2:]
        left, top, right, bottom = self.inner
        if self.part == (0.0, 0.0, 1.0, 1.0):
            inside = resized(picture, right - left, bottom - top, resample)
        else:
            sides = (own_width, own_height, own_width, own_height)
            part = (each * side for each, side in zip(self.part, sides, strict=True))
            inside = _drawn(picture, right - left, bottom - top, tuple(part), resample)
        return continued(inside, left, top, self.width - right, self.height - bottom)

    def back(self, fitted: Tensor, width: int, height: int) -> Tensor:
        """What was fitted whole, at its own size again, without what its edges were continued to."""
        left, top, right, bottom = self.inner
        return resized(fitted[..., top:bottom, left:right], width, height)


def continued(picture: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """A picture [..., H, W] with so many pixels more at its sides, which have the colours of its edges."""
    if not any((left, top, right, bottom)):
        return picture
    height, width = picture.shape[-2:]
    rows = torch.arange(-top, height + bottom, device=picture.device).clamp(0, height - 1)
    columns = torch.arange(-left, width + right, device=picture.device).clamp(0, width - 1)
    return picture.index_select(-2, rows).index_select(-1, columns)


def rounded_up(pixels: int, factor: int) -> int:
    """The next multiple of `factor`."""
    return -(-pixels // factor) * factor


def whole_cells(picture: Tensor, factor: int) -> Tensor:
    """A picture [..., H, W] continued to the right and below, to sides that are multiples of `factor`."""
    height, width = picture.shape[-2:]
    return continued(picture, 0, 0, rounded_up(width, factor) - width, rounded_up(height, factor) - height)


def framed(picture: Tensor, left: int, top: int, right: int, bottom: int, value: float) -> Tensor:
    """A mask [H, W] with so many pixels more at its sides, all of one value."""
    return pad(picture, (left, right, top, bottom), value=value)


def blended(old: Tensor, new: Tensor, mask: Tensor) -> Tensor:
    """Where the mask [H, W] is 0 exactly `old` [C, H, W], where it is 1 exactly `new`, and a mixture in between."""
    mixed = torch.lerp(old, new, mask)
    return torch.where(mask <= 0, old, torch.where(mask >= 1, new, mixed))


def present(picture: Tensor | None, what: str = "picture") -> Tensor:
    """What was given; a sentence where it was not."""
    if picture is None:
        raise UserError(f"There is no {what} to start from; give one.")
    return picture


def _drawn(
    picture: Tensor, width: int, height: int, box: tuple[float, ...], resample: Image.Resampling
) -> Tensor:
    """The part of a picture in `box`, at another size; floats stay from 0 to 1 whatever the filter makes of edges."""
    place = (box[0], box[1], box[2], box[3])
    if picture.dtype == torch.uint8:
        image = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
        return _planes(image.resize((width, height), resample, box=place))
    planes = picture if picture.dim() == 3 else picture[None]
    images = (Image.fromarray(np.ascontiguousarray(plane.numpy())) for plane in planes)
    drawn = torch.stack([torch.from_numpy(np.array(each.resize((width, height), resample, box=place))) for each in images])
    return (drawn if picture.dim() == 3 else drawn[0]).clamp(0, 1)


def _planes(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
