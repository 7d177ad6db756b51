"""A reader of pictures, independent of the model it judges: trained on fresh renders to say what stands where.

One convolutional network names shape and colour of every 4 x 4 pixels, and the floor. Things are connected regions of one
shape and colour; a small second network names the relation of two of them from where their regions lie, a third the digit of
a card that the first one found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .digits import DigitReader, box_of, cut
from .scenes import sample_scene
from .things import Scene
from .tracer import render
from .vocabulary import COLOURS, FLOORS, RELATIONS, SHAPES

CELL = 4
CARD = len(SHAPES) + 1
BACKGROUND_CLASSES = len(SHAPES) + 2  # background, the shapes, card
SMALLEST = 9
"""Cells of 4 x 4 pixels from which a region is a thing; smaller ones are the seams between two things."""


class Reader(nn.Module):
    """Pictures [B, 3, 128, 128] in [-1, 1] to logits: shape and colour [B, 8 and 9, 32, 32], floor [B, 6]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()

        def block(before: int, after: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.GroupNorm(8, after), nn.SiLU())

        self.fine = nn.Sequential(block(3, width, 2), block(width, 2 * width, 2), block(2 * width, 2 * width))
        self.middle = nn.Sequential(block(2 * width, 3 * width, 2), block(3 * width, 3 * width))
        self.coarse = nn.Sequential(block(3 * width, 4 * width, 2), block(4 * width, 4 * width), block(4 * width, 4 * width))
        self.join_middle = block(7 * width, 3 * width)
        self.join_fine = nn.Sequential(block(5 * width, 3 * width), block(3 * width, 3 * width))
        self.shape = nn.Conv2d(3 * width, BACKGROUND_CLASSES, 1)
        self.colour = nn.Conv2d(3 * width, len(COLOURS), 1)
        self.floor = nn.Linear(4 * width, len(FLOORS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The three groups of logits."""
        fine = self.fine(pictures)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        upper = self.join_middle(torch.cat([functional.interpolate(coarse, scale_factor=2.0), middle], dim=1))
        top = self.join_fine(torch.cat([functional.interpolate(upper, scale_factor=2.0), fine], dim=1))
        return self.shape(top), self.colour(top), self.floor(coarse.mean(dim=(2, 3)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Eyes:
    """The networks that read a picture."""

    reader: Reader
    digits: DigitReader


@dataclass(frozen=True, kw_only=True)
class SeenThing:
    """A region: what it is, how many cells it has, and its box (left, top, right, bottom) in cells, ends included."""

    shape: str
    colour: str
    cells: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a picture shows: things from large to small, the floor, and the digit where the largest region is a card."""

    things: tuple[SeenThing, ...]
    floor: str
    digit: int | None


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What `Reader` should say of rendered scenes."""

    pictures: Tensor
    shape: Tensor
    colour: Tensor
    floor: Tensor


def fresh(count: int, rng: np.random.Generator) -> tuple[list[Scene], Labels]:
    """New scenes, a fifth of them with withheld combinations, rendered and labelled."""
    scenes = [sample_scene(rng, withheld=bool(rng.random() < 0.2)) for _ in range(count)]
    rendered = render(scenes)
    masks = rendered.masks[:, CELL // 2 :: CELL, CELL // 2 :: CELL].long()
    shape, colour = torch.zeros_like(masks), torch.full_like(masks, -1)
    for index, scene in enumerate(scenes):
        for number, thing in enumerate(scene.things, 1):
            shape[index][masks[index] == number] = SHAPES.index(thing.shape) + 1
            colour[index][masks[index] == number] = COLOURS.index(thing.colour)
        if scene.card is not None:
            shape[index][masks[index] == 1] = CARD
    return scenes, Labels(
        pictures=rendered.pictures.float() / 127.5 - 1,
        shape=shape,
        colour=colour,
        floor=torch.tensor([FLOORS.index(scene.floor) for scene in scenes]),
    )


def reader_loss(reader: Reader, labels: Labels) -> dict[str, Tensor]:
    """Cross-entropies of all three answers; colours count where there is a thing."""
    shape, colour, floor = (logits.float() for logits in reader(labels.pictures))
    loss = functional.cross_entropy(shape, labels.shape) * 4 + functional.cross_entropy(colour, labels.colour, ignore_index=-1)
    loss = loss + 0.5 * functional.cross_entropy(floor, labels.floor)
    return {"loss": loss, "cells": (shape.argmax(1) == labels.shape).float().mean()}


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Many labelled pictures, small enough to keep: uint8 everywhere, 255 for "nothing to say"."""

    tensors: dict[str, Tensor]

    def take(self, indices: Tensor) -> Labels:
        """The labels of some of its pictures."""
        parts = {name: tensor[indices] for name, tensor in self.tensors.items()}
        wide = {name: torch.where(parts[name] == 255, -1, parts[name].long()) for name in ("shape", "colour", "floor")}
        return Labels(pictures=parts["pictures"].float() / 127.5 - 1, **wide)


def make_pool(count: int, rng: np.random.Generator) -> Pool:
    """Render and label `count` (whole hundreds) fresh scenes."""
    found: dict[str, list[Tensor]] = {}
    for _ in range(0, count, 100):
        _, labels = fresh(100, rng)
        parts = {name: getattr(labels, name) for name in ("shape", "colour", "floor")}
        parts["pictures"] = ((labels.pictures + 1) * 127.5).round()
        for name, tensor in parts.items():
            found.setdefault(name, []).append(torch.where(tensor < 0, 255, tensor).to(torch.uint8))
    return Pool(tensors={name: torch.cat(tensors) for name, tensors in found.items()})


@torch.no_grad()
def read(eyes: Eyes, pictures: Tensor) -> list[Reading]:
    """Read pictures [B, 3, 128, 128] in [-1, 1]; each is looked at in a mirror too, and both looks are averaged."""
    looks = zip(eyes.reader(pictures), eyes.reader(pictures.flip(-1)), strict=True)
    shape, colour, floor = (look + (mirrored.flip(-1) if look.ndim == 4 else mirrored) for look, mirrored in looks)
    kinds, colours = shape.argmax(1).numpy(), colour.argmax(1).numpy()
    readings = []
    for index in range(len(pictures)):
        things = regions(kinds[index], colours[index])
        card = kinds[index] == CARD
        is_card = int(card.sum()) > max((thing.cells for thing in things), default=SMALLEST)
        digit = int(eyes.digits(cut(pictures[index : index + 1], [box_of(card, CELL)])).argmax()) if is_card else None
        readings.append(Reading(things=() if is_card else things, floor=FLOORS[int(floor[index].argmax())], digit=digit))
    return readings


def regions(kinds: np.ndarray, colours: np.ndarray) -> tuple[SeenThing, ...]:
    """Connected regions (eight neighbours) of one shape and colour with at least `SMALLEST` cells, largest first.

    The parts of one thing behind another one have the same shape and colour and touch the same rows, so equal labels that
    lie within two cells of each other count as one thing.
    """
    label = np.where((kinds > 0) & (kinds < CARD), (kinds - 1) * len(COLOURS) + colours + 1, 0)
    found = []
    for value in np.unique(label[label > 0]):
        for cells in components(label == value):
            if len(cells) >= SMALLEST:
                rows, columns = cells[:, 0], cells[:, 1]
                shape, colour = divmod(int(value) - 1, len(COLOURS))
                box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
                found.append(SeenThing(shape=SHAPES[shape], colour=COLOURS[colour], cells=len(cells), box=box))
    return tuple(sorted(found, key=lambda thing: -thing.cells))


def components(mask: np.ndarray, reach: int = 2) -> list[np.ndarray]:
    """Groups of true cells, each [n, 2] of (row, column); cells at most `reach` apart belong together."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    groups = []
    while left:
        group, edge = [], [left.pop()]
        while edge:
            row, column = edge.pop()
            group.append((row, column))
            near = [
                (row + down, column + across)
                for down in range(-reach, reach + 1)
                for across in range(-reach, reach + 1)
                if (row + down, column + across) in left
            ]
            left.difference_update(near)
            edge.extend(near)
        groups.append(np.array(group))
    return groups


def pair_features(first: SeenThing, second: SeenThing) -> list[float]:
    """Boxes and sizes of two things, in [0, 1], for the relation network."""
    size = 128 / CELL
    return [value / size for value in (*first.box, *second.box)] + [first.cells / size**2, second.cells / size**2]


class RelationReader(nn.Module):
    """From `pair_features` to logits of `RELATIONS`."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, len(RELATIONS)))

    def forward(self, features: Tensor) -> Tensor:
        """[B, 10] to [B, 5]."""
        logits: Tensor = self.layers(features)
        return logits
