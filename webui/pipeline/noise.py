"""Random numbers of one picture: a function of its own seed, never of its neighbours in a batch.

A generator on the CPU makes them, in float32, so a seed means the same picture on every device. The order is the community's:
one generator per picture gives the initial noise first, then one draw whenever the sampler asks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from webui.pipeline.protocol import Moment, Noise

SEED_RANGE = 2**64  # torch's generators take 64 bits


def initial(seed: int, shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> Tensor:
    """The unit normal noise a picture [C, H, W] starts from, float32."""
    return _draw(_generator(seed), shape, device)


def per_step(seed: int, shape: tuple[int, ...], *, seed_delta: int = 0, device: torch.device | str = "cpu") -> Noise:
    """The noise of a picture's steps: a `Noise` that gives the next unit normal tensor of `shape` at each call, float32.

    The draws go on where `initial` left off. A `seed_delta` (the "eta noise seed delta" of picture metadata) that is not 0 takes
    a generator of its own, seeded with the sum. One generation owns what is returned, as it counts its calls.
    """
    generator = _generator(seed + seed_delta)
    if seed_delta == 0:
        _draw(generator, shape, "cpu")  # the initial noise, drawn before

    def noise(_at: Moment, _sigma_next: float) -> Tensor:
        return _draw(generator, shape, device)

    return noise


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed % SEED_RANGE)


def _draw(generator: torch.Generator, shape: tuple[int, ...], device: torch.device | str) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu").to(device)
