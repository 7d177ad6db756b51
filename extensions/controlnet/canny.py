"""The edges of a picture as white lines on black (Canny 1986, doi:10.1109/TPAMI.1986.4767851), exact in whole numbers.

The steps are those that ControlNets for edges were trained with: the slope of each pixel by Sobel's 3 x 3 kernels, without a blur
before it, its size as the sum of both parts, lines as thin as a pixel along four directions, and of those all that are steeper
than `high`, with what is steeper than `low` and hangs together with them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHIFT = 15  # bits behind the point of the tangent below
TANGENT = round((2**0.5 - 1) * 2**SHIFT)  # of 22.5 degrees
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


def edges(picture: Tensor, low: float, high: float) -> Tensor:
    """The edges, bool [H, W], of a picture uint8 [C, H, W]; of its channels each pixel has the steepest.

    A step from black to white is 1020 steep where it is straight. `low` and `high` may come in any order.
    """
    across, down = slopes(picture.to("cpu", torch.int64))
    size = across.abs() + down.abs()
    thin = thinned(size, across, down)
    low, high = sorted((low, high))
    return grown(thin & (size > high), thin & (size > low))


def slopes(picture: Tensor) -> tuple[Tensor, Tensor]:
    """How much a picture int64 [C, H, W] grows to the right and downwards, [H, W], by the channel where that is most."""
    padded = functional.pad(picture[None].double(), (1, 1, 1, 1), mode="replicate")[0].to(torch.int64)
    beside = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    above = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    across, down = beside[..., 2:] - beside[..., :-2], above[:, 2:] - above[:, :-2]
    steepest = (across.abs() + down.abs()).argmax(0, keepdim=True)
    return across.gather(0, steepest)[0], down.gather(0, steepest)[0]


def thinned(size: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Where a slope is steeper than its neighbours uphill and downhill; of equal ones the first is taken. All are [H, W]."""
    x, y = across.abs(), down.abs() << SHIFT
    flat = y < x * TANGENT
    upright = y > x * (TANGENT + (2 << SHIFT))  # the tangent of 67.5 degrees is that of 22.5 and 2 more
    falling = (across ^ down) < 0  # uphill is to the right and up, or to the left and down
    padded = functional.pad(size, (1, 1, 1, 1))

    def beside(dy: int, dx: int) -> Tensor:
        height, width = size.shape
        return padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    level = (size > beside(0, -1)) & (size >= beside(0, 1))
    steep = (size > beside(-1, 0)) & (size >= beside(1, 0))
    rising = (size > beside(-1, -1)) & (size > beside(1, 1))
    sinking = (size > beside(-1, 1)) & (size > beside(1, -1))
    return torch.where(flat, level, torch.where(upright, steep, torch.where(falling, sinking, rising)))


def grown(seeds: Tensor, allowed: Tensor) -> Tensor:
    """All of what is `allowed`, bool [H, W], that hangs together with `seeds` by sides or corners."""
    height, width = allowed.shape
    room = functional.pad(allowed, (1, 1, 1, 1)).flatten()
    found = torch.zeros_like(room)
    steps = torch.tensor([dy * (width + 2) + dx for dy, dx in AROUND])
    front = functional.pad(seeds, (1, 1, 1, 1)).flatten().nonzero()[:, 0]
    while len(front):
        found[front], room[front] = True, False
        next_to = (front[:, None] + steps).flatten()
        front = next_to[room[next_to]].unique()  # type: ignore[no-untyped-call]
    return found.view(height + 2, width + 2)[1:-1, 1:-1]
