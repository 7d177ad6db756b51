"""A quick look at a latent: one linear map from latent channels to colours, fitted per model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LARGEST = 1e6  # of a map's numbers; colours are at most 1


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Colours of a latent pixel: `matrix` [3][C] times its channels plus `bias` [3], in [0, 1].

    `error` is the root mean squared error, in the same units, on pictures the map was not fitted to.
    """

    matrix: tuple[tuple[float, ...], ...]
    bias: tuple[float, float, float]
    error: float

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Preview:
        """The preview of `dataclasses.asdict`'s values after a trip through JSON; ValueError where they are none."""
        try:
            matrix = tuple(tuple(map(float, row)) for row in plain["matrix"])
            red, green, blue = map(float, plain["bias"])
            error = float(plain["error"])
        except (TypeError, KeyError, ValueError, OverflowError, RecursionError) as fault:
            raise ValueError(f"A preview needs a matrix [3][C], a bias [3] and an error; {fault}.") from fault
        if len(matrix) != 3 or len({len(row) for row in matrix}) != 1:
            raise ValueError(f"A preview's matrix has three rows of equal length; this one has {[len(row) for row in matrix]}.")
        numbers = (number for row in (*matrix, (red, green, blue, error)) for number in row)
        if not all(math.isfinite(number) and abs(number) <= LARGEST for number in numbers):
            raise ValueError(f"A preview's numbers must be finite and at most {LARGEST:g}.")
        return cls(matrix=matrix, bias=(red, green, blue), error=error)

    def __call__(self, latent: Tensor) -> Tensor:
        """uint8 [h, w, 3], on the latent's device, of a latent [C, h, w]."""
        matrix = torch.tensor(self.matrix, dtype=torch.float32, device=latent.device)
        bias = torch.tensor(self.bias, dtype=torch.float32, device=latent.device)
        colours = torch.einsum("kc,chw->hwk", matrix, latent.float()) + bias
        return (colours.clamp(0, 1) * 255).round().to(torch.uint8)


def fit_preview(latents: Tensor, pictures: Tensor) -> Preview:
    """The least-squares map from latents [N, C, h, w] to pictures [N, 3, h, w] in [0, 1] (already shrunk to the latents' size).

    The error is measured on the last fifth of the pictures, one at least, which the fit does not see. Raises ValueError for fewer
    than two.
    """
    if len(latents) < 2:
        raise ValueError(f"A preview is fitted to two pictures or more, the last to measure its error; there is {len(latents)}.")
    kept = len(latents) - max(1, len(latents) // 5)

    def rows(tensor: Tensor) -> Tensor:
        return tensor.double().permute(0, 2, 3, 1).flatten(0, 2)

    def with_one(tensor: Tensor) -> Tensor:
        flat = rows(tensor)
        return torch.cat([flat, torch.ones(len(flat), 1, dtype=flat.dtype)], dim=1)

    answer = torch.linalg.lstsq(with_one(latents[:kept]), rows(pictures[:kept])).solution
    rest = with_one(latents[kept:]) @ answer - rows(pictures[kept:])
    error = float(rest.square().mean().sqrt())
    red, green, blue = answer[-1].tolist()
    return Preview(matrix=tuple(tuple(column) for column in answer[:-1].T.tolist()), bias=(red, green, blue), error=error)
