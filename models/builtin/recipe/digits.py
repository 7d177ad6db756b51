"""Reading the digit on a card: a small network that sees the card alone, cut out and straightened to one size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .scenes import sample_scene
from .tracer import render

SIDE = 48
Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a card in pixels, ends excluded."""


class DigitReader(nn.Module):
    """Cards [B, 1, SIDE, SIDE] to logits of the ten digits [B, 10]."""

    def __init__(self) -> None:
        super().__init__()

        def block(before: int, after: int) -> list[nn.Module]:
            return [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU()]

        self.layers = nn.Sequential(*block(1, 16), *block(16, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 36, 10))

    def forward(self, cards: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.layers(cards)
        return logits


def cut(pictures: Tensor, boxes: Sequence[Box]) -> Tensor:
    """The grey insides of boxes of pictures [B, 3, H, W], each brought to [1, SIDE, SIDE], mean 0 and deviation 1."""
    height, width = pictures.shape[-2:]
    left, top, right, bottom = torch.tensor(boxes, dtype=torch.float32).T
    across, down = (right - left) / width, (bottom - top) / height
    turn = torch.zeros(len(boxes), 2, 3)
    turn[:, 0, 0], turn[:, 0, 2] = across, (left + right) / width - 1
    turn[:, 1, 1], turn[:, 1, 2] = down, (top + bottom) / height - 1
    places = functional.affine_grid(turn, [len(boxes), 1, SIDE, SIDE], align_corners=False)
    cards = functional.grid_sample(pictures.mean(dim=1, keepdim=True), places, align_corners=False, padding_mode="border")
    return (cards - cards.mean(dim=(2, 3), keepdim=True)) / cards.std(dim=(2, 3), keepdim=True).clamp(min=1e-3)


def box_of(mask: np.ndarray, cell: int = 1) -> Box:
    """The box of a mask's true cells [H, W], each `cell` pixels wide."""
    rows, columns = np.nonzero(mask)
    return (
        float(columns.min() * cell), float(rows.min() * cell), float((columns.max() + 1) * cell), float((rows.max() + 1) * cell),
    )  # fmt: skip


def jittered(box: Box, rng: np.random.Generator, most: float = 4.0) -> Box:
    """The box with each side moved by at most `most` pixels: the big reader finds cards in cells of that size."""
    left, top, right, bottom = (side + shift for side, shift in zip(box, rng.uniform(-most, most, 4), strict=True))
    return left, top, right, bottom


def cards(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Fresh cards [count, 1, SIDE, SIDE] and their digits, `count` in whole hundreds."""
    pictures, digits = [], []
    for _ in range(0, count, 100):
        scenes = [sample_scene(rng, count=0) for _ in range(100)]
        rendered = render(scenes)
        boxes = [jittered(box_of(mask.numpy() == 1), rng) for mask in rendered.masks]
        pictures.append(cut(rendered.pictures.float() / 127.5 - 1, boxes))
        digits += [scene.card.digit for scene in scenes if scene.card is not None]
    return torch.cat(pictures), torch.tensor(digits)
