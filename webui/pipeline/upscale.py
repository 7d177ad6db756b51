"""Larger pictures: by a network, tile by tile, or by a filter; two results mixed; brought to the size that was asked for."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from webui.params import MOST_PIXELS
from webui.pipeline.given import Given
from webui.pipeline.pictures import BLOCKY, SHARP, Fit, laid_over, opaque, present, resized, unit
from webui.pipeline.protocol import Ask, Call, Moment, Read, Step
from webui.request import Request
from webui.tasks import CROP, LANCZOS, NEAREST

TILE = 256  # pixels a side that a network is shown at once
OVERLAP = 32  # of neighbouring tiles, over which they go over into each other
MOST_ROUNDS = 3  # a network is asked to enlarge its own results so often, until they are large enough
MOST_BETWEEN = 4 * MOST_PIXELS  # pixels of a network's result, before it is brought to size


def enlarged(request: Request, given: Given, upscalers: tuple[str, ...]) -> Generator[Ask, Any, Tensor]:
    """A picture float32 [3, H, W] of the request's size, by the first upscaler; the second one's result is mixed in.

    An upscaler is `LANCZOS`, `NEAREST`, a network's name, or "" for none. Where the size has another shape than the picture, what
    does not fit is cut off, or the result is smaller.
    """
    own = opaque(laid_over(present(given.picture), given.sketch))
    height, width = own.shape[-2:]
    goal_width, goal_height = request.width, request.height
    if not request.crop:
        scale = min(goal_width / width, goal_height / height)
        goal_width, goal_height = (max(round(side * scale), 1) for side in (width, height))
    fit = Fit.of(CROP, goal_width, goal_height, width, height)
    scale = max(goal_width / width, goal_height / height)
    first, *others = [each for each in upscalers if each] or [LANCZOS]
    result = yield from by_one(first, own, fit, scale)
    for name in others[:1] if request.visibility_2 > 0 else ():
        result = torch.lerp(result, (yield from by_one(name, own, fit, scale)), request.visibility_2)
    return result


def by_one(name: str, own: Tensor, fit: Fit, scale: float) -> Generator[Ask, Any, Tensor]:
    """A picture uint8 [3, H, W] made about `scale` times as large by one upscaler, then fitted."""
    if name in (LANCZOS, NEAREST):
        return unit(fit(own, BLOCKY if name == NEAREST else SHARP))
    height, width = own.shape[-2:]
    picture = unit(own)
    for _ in range(MOST_ROUNDS):
        before = picture.shape[-1]
        picture = yield from tiled(picture, name)
        if picture.shape[-1] >= width * scale or picture.shape[-2] >= height * scale or picture.shape[-1] <= before:
            break
    return fit(picture)


def tiled(picture: Tensor, network: str) -> Generator[Ask, Any, Tensor]:
    """What a network makes of a picture [3, H, W] on the host, float32 in [0, 1], in tiles that go over into each other.

    Watchers are told each tile as a step. Where the result would be too large to hold, the picture is first made smaller.
    """
    height, width = picture.shape[-2:]
    result = weights = torch.empty(0)
    down, across = places(height), places(width)
    for step, (top, left) in enumerate((top, left) for top in down for left in across):
        tile = picture[:, top : top + TILE, left : left + TILE].contiguous()
        answer = yield Call(network, {"picture": tile})
        enlarged_tile = yield Read(answer)
        times = enlarged_tile.shape[-1] // tile.shape[-1]
        if step == 0:
            if height * width * times**2 > MOST_BETWEEN:
                less = (MOST_BETWEEN / (height * width)) ** 0.5 / times
                return (yield from tiled(resized(picture, max(int(width * less), 1), max(int(height * less), 1)), network))
            result = torch.zeros(3, height * times, width * times)
            weights = torch.zeros(height * times, width * times)
        bottom, right = top + tile.shape[-2], left + tile.shape[-1]
        down_seen = feathered(bottom - top, times, before=top > 0, after=bottom < height)
        seen = down_seen[:, None] * feathered(right - left, times, before=left > 0, after=right < width)
        place = slice(top * times, bottom * times), slice(left * times, right * times)
        result[:, *place] += enlarged_tile.float() * seen
        weights[place] += seen
        yield Step(Moment(0.0, step, len(down) * len(across)), answer, answer)
    return result.div_(weights).clamp_(0, 1)


def places(length: int) -> tuple[int, ...]:
    """Where tiles begin along a side: as few as overlap enough, evenly spaced, the first and last at the ends."""
    if length <= TILE:
        return (0,)
    gaps = -(-(length - TILE) // (TILE - OVERLAP))
    return tuple(round(index * (length - TILE) / gaps) for index in range(gaps + 1))


def feathered(length: int, times: int, *, before: bool, after: bool) -> Tensor:
    """How much each pixel along a side of an enlarged tile counts, in (0, 1]: less towards a neighbour before or after it."""
    rise = (torch.arange(length * times, dtype=torch.float32) + 0.5) / (OVERLAP * times)
    one = torch.ones(length * times)
    return torch.minimum(rise if before else one, rise.flip(0) if after else one).clamp(max=1)
