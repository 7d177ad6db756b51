"""An NVIDIA GPU's random numbers on any machine: Philox4x32-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

CUDA's generator gives every number of a tensor a sequence of its own: the counter holds the number of the draw and the place in
the tensor, the key is the seed, and the first two of four words become one normal number (Box and Muller 1958). So it is as long
as a tensor has no more numbers than the GPU runs threads at once: a latent of 1024 pixels a side has 65,536, an RTX 3060 runs
43,008 and an H100 270,336. Beyond that GPUs differ from each other, and this is what other programs compute.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85  # added to the key in each round
ROUNDS = 10
WORD, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
# CUDA holds both as single precision numbers, which shows in the last digits of what comes out.
TO_UNIT = float(np.float32(2.0**-32))
TO_CIRCLE = float(np.float32(2.0**-32) * np.float32(2 * math.pi))


def words(seed: int, draw: int, count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first two words, of 32 bits, of each of `count` sequences at a draw; `seed` has 64 bits."""
    counter = [np.full(count, draw, np.uint64), np.zeros(count, np.uint64), np.arange(count, dtype=np.uint64)]
    counter.append(np.zeros(count, np.uint64))
    key = [seed & 0xFFFFFFFF, seed >> 32]
    first, second = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for _ in range(ROUNDS):  # in place, for there are many numbers and they are wanted often
        np.multiply(counter[0], MULTIPLIERS[0], out=first)
        np.multiply(counter[2], MULTIPLIERS[1], out=second)
        for word, product, own in ((0, second, key[0]), (2, first, key[1])):
            np.right_shift(product, WORD, out=counter[word])
            counter[word] ^= counter[word + 1]
            counter[word] ^= np.uint64(own)
            np.bitwise_and(product, LOW, out=counter[word + 1])
        key = [(own + step) & 0xFFFFFFFF for own, step in zip(key, WEYL, strict=True)]
    return counter[0], counter[1]


def normal(seed: int, draw: int, count: int) -> NDArray[np.float32]:
    """`count` unit normal numbers: those of the draw number `draw` (from 0) of a generator with a seed of 64 bits."""
    length, angle = words(seed, draw, count)
    unit = length * TO_UNIT + TO_UNIT / 2  # in double precision, so that every machine rounds to the same
    circle = angle * TO_CIRCLE + TO_CIRCLE / 2
    found: NDArray[np.float64] = np.sqrt(-2 * np.log(unit)) * np.sin(circle)
    return found.astype(np.float32)
