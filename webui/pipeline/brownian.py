"""Noise for samplers that solve a stochastic equation: increments of one Brownian path a picture, over its noise levels.

The path follows from the picture's seed alone, whatever is asked of it and in whatever order: what it gains over all levels is
drawn first, then over half of them, then over halves of the halves, down to a millionth. It is the path of torchsde's
`BrownianTree` as k-diffusion uses it, bit by bit; but that draws with torch's generators alone, and those of `noise` are wanted.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from webui.drawing import GPU_NOISE
from webui.pipeline.noise import Seeds, Shape, drawing, per_step
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Ask, Moment, Noise
from webui.pipeline.samplers import SamplerInfo

DIGITS = 6  # of a noise level: the path is drawn to a millionth
POOL = 24  # words of entropy that a seed is mixed to
REMEMBERED = 48  # halves: the way down the tree to a level and to the next one
AHEAD = 32  # draws that may wait to be asked for
MOST = 5000  # steps of a sampler that are foreseen

Levels = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A part of the path: from one level to another, and its number among those of its depth in the tree."""

    start: float
    end: float
    number: int = 0
    depth: int = 0

    def halves(self) -> tuple[Part, Part]:
        """The part up to the middle and the part from there on."""
        middle = round(0.5 * (self.end + self.start), DIGITS)
        number, depth = 2 * self.number, self.depth + 1
        return Part(self.start, middle, number, depth), Part(middle, self.end, number + 1, depth)


class Path:
    """One Brownian path over the noise levels from `low` to `high`, of tensors of a `shape`; for one thread at a time."""

    def __init__(self, seeds: Seeds, shape: Shape, low: float, high: float, device: torch.device | str = "cpu") -> None:
        self._seed = seeds.seed
        self._draw: Callable[[int], Tensor] = lambda seed: drawing(seeds.source, seed, device)(shape)
        self._all = Part(_rounded(low), _rounded(high))
        root = np.random.SeedSequence(self._seed, pool_size=POOL).generate_state(3)[0]
        self._whole = self._draw(int(root)) * math.sqrt(_single(high) - _single(low))
        self._halves: OrderedDict[Part, Tensor] = OrderedDict()

    def noise(self, sigma: float, sigma_next: float) -> Tensor:
        """What the path gains from one level to another, with unit variance; levels beyond its ends are its ends.

        That is 0 between levels that are nearer to each other than what the path is drawn to.
        """
        if sigma == sigma_next:
            raise ValueError(f"Noise was asked for between sigma {sigma:g} and {sigma_next:g}; the path gains none there.")
        start, end = (min(max(_rounded(each), self._all.start), self._all.end) for each in (sigma, sigma_next))
        if start == end:
            return torch.zeros_like(self._whole)
        first, *others = self._gains(self._all, self._whole, min(start, end), max(start, end))
        gain = sum(others, start=first)
        first_level, last_level = torch.tensor([sigma, sigma_next], dtype=torch.float32)
        noise: Tensor = (gain if start < end else -gain) / (last_level - first_level).abs().sqrt()
        return noise

    def _gains(self, part: Part, whole: Tensor, start: float, end: float) -> Iterator[Tensor]:
        """The gains, in order, over the fewest parts that make up the path between two levels; over all it is `whole`."""
        if (start, end) == (part.start, part.end):
            yield whole
            return
        left, right = part.halves()
        gain = self._half(part, left, right, whole)
        if start < left.end:
            yield from self._gains(left, gain, start, min(end, left.end))
        if end > right.start:
            yield from self._gains(right, whole - gain, max(start, right.start), end)

    def _half(self, part: Part, left: Part, right: Part, whole: Tensor) -> Tensor:
        """What the path gains over the left half of a part, by a bridge of Brownian motion (Karatzas and Shreve 1991, 5.6.B)."""
        found = self._halves.pop(part, None)
        if found is None:
            state = np.random.SeedSequence(self._seed, spawn_key=(part.number, part.depth), pool_size=POOL).generate_state(4)
            before, after, of_one = left.end - left.start, right.end - right.start, 1 / (part.end - part.start)
            found = before * whole * of_one + math.sqrt(before * after * of_one) * self._draw(int(state[0]))
        self._halves[part] = found
        if len(self._halves) > REMEMBERED:
            self._halves.popitem(last=False)
        return found


class DrawnAhead:
    """The noise of a path, of which a thread draws what will be wanted before it is asked for; give it back with `close`.

    What was not drawn in time, or not foreseen, is drawn when it is asked for: the numbers are the same. A thread ends once there
    is enough, and another one goes on when half of it was taken: none is left waiting for what nobody will ask for.
    """

    def __init__(
        self, path: Callable[[], Path], foreseen: Callable[[], Sequence[Levels]], device: torch.device | str = "cpu"
    ) -> None:
        self._make, self._foreseen, self._device = path, foreseen, device
        self._path: Path | None = None
        self._left: Iterator[Levels] | None = None
        self._drawn: dict[Levels, Tensor] = {}
        self._taken: set[Levels] = set()
        self._working = self._closed = False
        self._lock = threading.Lock()
        with self._lock:
            self._go_on()

    def __call__(self, at: Moment, sigma_next: float) -> Tensor:
        """The noise from a moment's level to the next."""
        levels = at.sigma, sigma_next
        with self._lock:
            found = self._drawn.pop(levels, None)
            found = self._draw(levels) if found is None else found
            self._taken.add(levels)
            self._go_on()
        return found.to(self._device)

    def close(self) -> None:
        """Draw nothing more ahead."""
        with self._lock:
            self._closed = True
            self._drawn.clear()

    def _draw(self, levels: Levels) -> Tensor:
        if self._path is None:
            self._path = self._make()
        return self._path.noise(*levels)

    def _go_on(self) -> None:
        """Have a thread draw, if there is none and there is little left."""
        if not (self._working or self._closed) and len(self._drawn) <= AHEAD // 2:
            self._working = True
            threading.Thread(target=self._run, name="brownian noise").start()

    def _run(self) -> None:
        try:
            if self._left is None:
                self._left = iter(self._foreseen())
            enough = False
            while not enough:
                levels = next(self._left, None)
                with self._lock:
                    if levels is None or self._closed:
                        self._closed = True
                        return
                    if levels not in self._taken:
                        self._drawn[levels] = self._draw(levels)
                    enough = len(self._drawn) >= AHEAD
        except Exception:  # noqa: BLE001  (what fails here fails once more, for its job, where it is asked for)
            self._closed = True
        finally:
            self._working = False


def foreseen(
    info: SamplerInfo, sigmas: Sequence[float], table: NoiseTable, options: Mapping[str, float]
) -> tuple[Levels, ...]:
    """The levels between which a sampler will ask for noise, in order: found by running it on a single number.

    A sampler that chooses its own steps cannot be foreseen.
    """
    asked: list[Levels] = []

    def denoise(x: Tensor, _at: Moment) -> Generator[Ask, Any, Any]:
        yield from ()
        return (x, x) if info.cfg_pp else x

    def noise(at: Moment, sigma_next: float) -> Tensor:
        asked.append((at.sigma, sigma_next))
        return torch.zeros(1, 1, 1)

    if not info.own_steps:
        for _ in islice(info.run(denoise, torch.zeros(1, 1, 1), sigmas, noise, table, options), MOST):
            pass
    return tuple(asked)


@contextmanager
def noise_of_steps(
    seeds: Seeds, shape: Shape, info: SamplerInfo, sigmas: Sequence[float], table: NoiseTable, options: Mapping[str, float],
    *, highest: float, device: torch.device | str = "cpu",
) -> Iterator[Noise]:
    """The noise of a picture's steps as its sampler wants it: draw by draw, or as a path."""
    if not info.brownian:
        yield per_step(seeds, shape, device=device)
        return
    ahead = brownian(seeds, shape, info, sigmas, table, options, highest=highest, device=device)
    try:
        yield ahead
    finally:
        ahead.close()


def brownian(
    seeds: Seeds, shape: Shape, info: SamplerInfo, sigmas: Sequence[float], table: NoiseTable, options: Mapping[str, float],
    *, highest: float, device: torch.device | str = "cpu",
) -> DrawnAhead:
    """The noise of a sampler's steps along `sigmas`, drawn ahead where they are known.

    The path lies between the lowest level above 0 and the `highest` of the whole schedule, even where only its last part is gone:
    so A1111 has it for a picture that is made anew in part.
    """
    low = min(sigma for sigma in sigmas if sigma > 0)
    on_device = seeds.source == GPU_NOISE and torch.device(device).type == "cuda"  # it draws in no time, in its own order of work
    return DrawnAhead(
        lambda: Path(seeds, shape, low, highest, device),
        lambda: () if on_device else foreseen(info, sigmas, table, options),
        device,
    )


def _single(sigma: float) -> float:
    """A level in single precision, as k-diffusion has them."""
    return float(np.float32(sigma))


def _rounded(sigma: float) -> float:
    return round(_single(sigma), DIGITS)
