"""A second lesson for the noise predictor: to say, from a noisy latent and the words, what stands where.

Yu et al. 2024 (arXiv 2410.06940) found that a generator learns many times faster when its inner features must also agree with
a good description of the clean picture. Here the renderer knows the true description: which shape in which colour each cell of
the latent shows. The head that reads it from the features is thrown away after training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from webui.nets.unet import UNetModel

from .dataset import DataSet
from .things import Scene
from .vocabulary import COLOURS, SHAPES

SLOTS = 4
"""The background and up to three things."""
SHAPE_CLASSES = 1 + len(SHAPES) + 1  # the background, the shapes, a card
COLOUR_CLASSES = 1 + len(COLOURS)  # no thing's colour, the colours
READ_AT = 3
"""Index of the output block whose features are read: the first at the latent's full size."""
BACKGROUND_WEIGHT = 0.25
"""What a cell without a thing counts; most cells are."""


class Taught(nn.Module):
    """A noise predictor and the head that reads meaning from its features [B, width, h, w]."""

    def __init__(self, unet: UNetModel, width: int) -> None:
        super().__init__()
        self.unet = unet
        self.head = nn.Sequential(nn.Conv2d(width, 64, 1), nn.SiLU(), nn.Conv2d(64, SHAPE_CLASSES + COLOUR_CLASSES, 1))
        self._features: Tensor | None = None
        unet.output_blocks[READ_AT].register_forward_hook(lambda _block, _inputs, output: setattr(self, "_features", output))

    def meaning_loss(self, shapes: Tensor, colours: Tensor) -> Tensor:
        """Cross entropy of the last call's features against shares of classes, [B, classes, h, w] each; a number."""
        assert self._features is not None, "the network must have been called"
        shape, colour = self.head(self._features).float().split([SHAPE_CLASSES, COLOUR_CLASSES], dim=1)
        self._features = None
        wrong = functional.cross_entropy(shape, shapes, reduction="none") + functional.cross_entropy(
            colour, colours, reduction="none"
        )
        weight = BACKGROUND_WEIGHT * shapes[:, 0] + 1 - shapes[:, 0]
        return (wrong * weight).sum() / weight.sum()


@dataclass(frozen=True, kw_only=True)
class Meanings:
    """What the cells of all pictures show: `shares` uint8 [N, SLOTS, h, w] of 255, and each slot's classes, int64 [N, SLOTS]."""

    shares: Tensor
    shapes: Tensor
    colours: Tensor

    def take(self, indices: np.ndarray, flips: np.ndarray) -> tuple[Tensor, Tensor]:
        """Shares of the shape and the colour classes, float32 [B, classes, h, w] each, of pictures, mirrored where asked."""
        chosen = torch.from_numpy(indices).to(self.shares.device)
        flipped = torch.from_numpy(flips).to(self.shares.device).view(-1, 1, 1, 1)
        shares = self.shares[chosen].float() / 255
        shares = torch.where(flipped, shares.flip(-1), shares)
        return spread(shares, self.shapes[chosen], SHAPE_CLASSES), spread(shares, self.colours[chosen], COLOUR_CLASSES)


def spread(shares: Tensor, classes: Tensor, count: int) -> Tensor:
    """Shares [B, slots, h, w] of slots as shares [B, count, h, w] of their classes [B, slots]."""
    return torch.einsum("bshw,bsc->bchw", shares, functional.one_hot(classes, count).float())


def slots(scene: Scene) -> tuple[list[int], list[int]]:
    """The shape and the colour class of the background and of each thing of a scene."""
    shapes, colours = [0], [0]
    for thing in scene.things:
        shapes.append(1 + SHAPES.index(thing.shape))
        colours.append(1 + COLOURS.index(thing.colour))
    if scene.card is not None:
        shapes.append(SHAPE_CLASSES - 1)
        colours.append(1 + COLOURS.index("white"))
    unused = [0] * (SLOTS - len(shapes))
    return shapes + unused, colours + unused


def meanings_of(data: DataSet, factor: int, device: torch.device) -> Meanings:
    """What every cell of `factor` x `factor` pixels of a data set shows."""
    parts = []
    for masks in data.masks:
        inside = functional.one_hot(torch.from_numpy(np.array(masks)).long(), SLOTS).permute(0, 3, 1, 2)
        parts.append((functional.avg_pool2d(inside.float(), factor) * 255).round().to(torch.uint8))
    known = [slots(scene) for scene in data.scenes]
    shapes, colours = (torch.tensor(row, device=device) for row in zip(*known, strict=True))
    return Meanings(shares=torch.cat(parts).to(device), shapes=shapes, colours=colours)
