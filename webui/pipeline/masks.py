"""Masks of what is made anew, [H, W] from 0 to 1 on the host: grown, blurred, boxed, and as cells of a latent."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d, pad

from webui.pipeline.pictures import Box, continued, whole_cells

LEVELS = 255  # a mask has so many shades, so that where it ends is the same for everybody
REACH = 2.5  # deviations after which a blur ends, as A1111's does
GREY = 0.5


def grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask whose edge is moved outwards by `pixels`, round at corners; inwards below 0, but not from the picture's edge."""
    if pixels == 0:
        return mask
    levels = (mask * LEVELS).round()
    if not torch.equal(levels / LEVELS, mask):
        return _grown(mask, pixels) if pixels > 0 else 1 - _grown(1 - mask, -pixels)
    shades = levels.to(torch.uint8)  # as masks of files are: a quarter of the memory, and of the time it takes to go through it
    shades = _grown(shades, pixels) if pixels > 0 else LEVELS - _grown(LEVELS - shades, -pixels)
    return shades.to(mask.dtype) / LEVELS


def _grown(mask: Tensor, pixels: int) -> Tensor:
    """A mask of values from 0 on, of any type, grown outwards."""
    height, width = mask.shape
    tables = {1: pad(mask, (pixels, pixels))}  # by length: the largest of so many neighbours
    result = mask.clone()
    for down in range(min(pixels, height - 1) + 1):
        half = math.isqrt(pixels**2 - down**2)
        row = _largest(tables, 2 * half + 1)[:, pixels - half : pixels - half + width]
        for free, over in ((result[down:], row[: height - down]), (result[: height - down], row[down:])):
            torch.maximum(free, over, out=free)
    return result


def _largest(tables: dict[int, Tensor], length: int) -> Tensor:
    """The largest of `length` neighbours, counted to the right, from tables of powers of two, which are made as needed."""
    power = 1 << (length.bit_length() - 1)
    known = max(tables)
    while known < power:
        tables[2 * known] = torch.maximum(tables[known][:, :-known], tables[known][:, known:])
        known *= 2
    table = tables[power]
    rest = length - power
    return table if rest == 0 else torch.maximum(table[:, :-rest], table[:, rest:])


def blurred(mask: Tensor, deviation: float) -> Tensor:
    """A mask under a Gaussian, which sees the picture's edges continued; in 255 shades, so it ends where a file's would."""
    if deviation > 0:
        reach = int(REACH * deviation + 0.5)
        weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / deviation) ** 2)
        weights = weights / weights.sum()
        soft = continued(mask, reach, reach, reach, reach)[None, None]
        soft = conv2d(conv2d(soft, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
        mask = soft[0, 0]
    return (mask.clamp(0, 1) * LEVELS).round() / LEVELS


def bounds(mask: Tensor) -> Box | None:
    """The smallest box around everything that is not 0; None where all is."""
    rows, columns = ((mask > 0).any(dim=at).nonzero()[:, 0] for at in (1, 0))
    if len(rows) == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def surroundings(box: Box, padding: int, shape: float, width: int, height: int) -> Box:
    """A box with `padding` around it, then widened to the shape (width / height) as far as the picture reaches."""
    left, top, right, bottom = box
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, width), min(bottom + padding, height)
    across, down = right - left, bottom - top
    if across < down * shape:
        left, right = _widened(left, right, round(down * shape), width)
    else:
        top, bottom = _widened(top, bottom, round(across / shape), height)
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, most: int) -> tuple[int, int]:
    """An interval made longer on both sides, moved where one side has no room."""
    length = min(max(length, high - low), most)
    low = min(max(low - (length - (high - low)) // 2, 0), most - length)
    return low, low + length


def cells(mask: Tensor, factor: int) -> Tensor:
    """The mask of a latent [1, h, w]: a cell has the largest value of its pixels, so that no line is too thin to act."""
    return max_pool2d(whole_cells(mask, factor)[None], factor)


def spread(picture: Tensor, mask: Tensor) -> Tensor:
    """A picture [3, H, W] in which the colours around a mask run inwards over it; grey where there are none.

    Known colours are averaged to ever coarser pictures, and what is unknown in one is taken from the next (push and pull,
    Gortler et al. 1996, "The lumigraph", section 3.4).
    """
    weights = [(mask <= 0).to(picture.dtype)[None]]
    colours = [picture * weights[0]]
    while max(weights[-1].shape[-2:]) > 1:
        halves = (avg_pool2d(each[-1][None], 2, ceil_mode=True)[0] for each in (weights, colours))
        weight, colour = halves
        weights.append(weight)
        colours.append(colour)
    found = torch.full_like(colours[-1], GREY)
    for weight, colour in zip(reversed(weights), reversed(colours), strict=True):
        coarse = interpolate(found[None], weight.shape[-2:], mode="bilinear", align_corners=False)[0]
        known = weight > 0
        found = torch.where(known, colour / weight.clamp(min=torch.finfo(weight.dtype).tiny), coarse)
    return torch.where(mask <= 0, picture, found.clamp(0, 1))
