"""Random numbers of one picture: a function of its own seeds, never of its neighbours in a batch.

A seed means the same picture on every device, whoever draws: the CPU's generator of torch, or that of an NVIDIA GPU, computed
anywhere. The order is the community's: one generator a picture gives the initial noise first, then one draw whenever the
sampler asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from webui.drawing import CPU_NOISE, GPU_NOISE
from webui.pipeline import philox
from webui.pipeline.protocol import Moment, Noise
from webui.request import Request

SEED_RANGE = 2**64  # torch's generators take 64 bits
STRAIGHT = 1e-3  # the sine of an angle below which single precision knows no circle from a straight line

Shape = tuple[int, ...]
Draw = Callable[[Shape], Tensor]


@dataclass(frozen=True)
class Seeds:
    """What the noise of a picture follows from.

    `source` is one of `webui.drawing`'s: "CPU", "NV", or "GPU", which is torch's own on CUDA and the same as "NV" elsewhere.
    `delta` is added to the seed for the noise of the steps ("ENSD" in pictures' texts). The initial noise goes over into that of
    `variation_seed` by `variation_strength` (0 to 1), and is drawn for `cells` (height, width) where they are given.
    """

    seed: int
    source: str = CPU_NOISE
    delta: int = 0
    variation_seed: int | None = None
    variation_strength: float = 0.0
    cells: tuple[int, int] | None = None


def seeds_of(request: Request, factor: int) -> Seeds:
    """The seeds of a request's picture; a cell of its latent has `factor` pixels a side."""
    sides = request.seed_height or request.height, request.seed_width or request.width
    return Seeds(
        request.seed, request.rng, request.ensd, request.variation_seed, request.variation_strength,
        (sides[0] // factor, sides[1] // factor),
    )  # fmt: skip


def initial(seeds: Seeds | int, shape: Shape, *, device: torch.device | str = "cpu") -> Tensor:
    """The unit normal noise a picture [C, H, W] starts from, float32; a plain number is a seed and nothing else.

    Noise that was drawn for another size lies in the middle of that which the seed gives for this one, or is cut to it.
    """
    seeds = _whole(seeds)
    own = shape if seeds.cells is None else (*shape[:-2], *seeds.cells)
    noise = drawing(seeds.source, seeds.seed, device)(own)
    if seeds.variation_seed is not None and seeds.variation_strength > 0:
        noise = between(noise, drawing(seeds.source, seeds.variation_seed, device)(own), seeds.variation_strength)
    if own != shape:
        noise = centred(noise, drawing(seeds.source, seeds.seed, device)(shape))
    return noise.to(device)


def per_step(seeds: Seeds | int, shape: Shape, *, device: torch.device | str = "cpu") -> Noise:
    """The noise of a picture's steps: a `Noise` that gives the next unit normal tensor of `shape` at each call, float32.

    The draws go on where those of the seed left off in `initial`. A delta that is not 0 takes a generator of its own, seeded with
    the sum. One generation owns what is returned, as it counts its calls.
    """
    seeds = _whole(seeds)
    draw = drawing(seeds.source, seeds.seed + seeds.delta, device)
    if seeds.delta == 0:
        draw(shape)  # the initial noise, drawn before

    def noise(_at: Moment, _sigma_next: float) -> Tensor:
        return draw(shape).to(device)

    return noise


def drawing(source: str, seed: int, device: torch.device | str) -> Draw:
    """A generator of unit normal tensors, float32, on the device where it draws; `device` is where they are needed."""
    if source == CPU_NOISE:
        return _of_torch(seed, "cpu")
    if source == GPU_NOISE and torch.device(device).type == "cuda":
        return _of_torch(seed, device)
    draws = 0

    def draw(shape: Shape) -> Tensor:
        nonlocal draws
        draws += 1
        return torch.from_numpy(philox.normal(seed % SEED_RANGE, draws - 1, torch.Size(shape).numel())).view(shape)

    return draw


def between(first: Tensor, second: Tensor, part: float) -> Tensor:
    """The noise a `part` of the way from one to another [..., H, W], along the circle through both (Shoemake 1985: slerp).

    A1111 takes the columns of a latent for vectors, so that is what a variation strength means. Columns that lie in one line
    have no circle, and go straight.
    """
    directions = (each / each.norm(dim=-2, keepdim=True) for each in (first, second))
    angle = torch.acos(torch.mul(*directions).sum(-2, keepdim=True).clamp(-1, 1))
    sine = torch.sin(angle)
    around = torch.sin((1 - part) * angle) / sine * first + torch.sin(part * angle) / sine * second
    return torch.where(sine.abs() > STRAIGHT, around, torch.lerp(first, second, part))


def centred(noise: Tensor, around: Tensor) -> Tensor:
    """Noise of one size [..., h, w] in the middle of noise of another [..., H, W]; what does not fit is cut off."""
    result = around.clone()
    (here_y, there_y), (here_x, there_x) = map(_overlap, noise.shape[-2:], around.shape[-2:])
    result[..., there_y, there_x] = noise[..., here_y, here_x]
    return result


def _overlap(size: int, room: int) -> tuple[slice, slice]:
    """Which of `size` cells lie on which of `room` where their middles meet; A1111 cuts as much from both ends."""
    start = (room - size) // 2
    count = size if start >= 0 else size + 2 * start
    return slice(max(-start, 0), max(-start, 0) + count), slice(max(start, 0), max(start, 0) + count)


def _whole(seeds: Seeds | int) -> Seeds:
    return Seeds(seeds) if isinstance(seeds, int) else seeds


def _of_torch(seed: int, device: torch.device | str) -> Draw:
    generator = torch.Generator(device).manual_seed(seed % SEED_RANGE)
    return lambda shape: torch.randn(shape, generator=generator, dtype=torch.float32, device=device)
