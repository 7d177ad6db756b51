"""Scenes as tensors: one column a picture, or one column a slot and picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .handwriting import digit_segments
from .layout import basis
from .shapes import BOUNDS, KINDS
from .things import Scene
from .vocabulary import FINISHES, FLOORS, SCALE

PAINT = {
    "red": (0.86, 0.07, 0.06),
    "orange": (0.97, 0.47, 0.03),
    "yellow": (0.99, 0.86, 0.08),
    "green": (0.10, 0.62, 0.14),
    "blue": (0.07, 0.22, 0.86),
    "purple": (0.55, 0.12, 0.76),
    "white": (0.93, 0.93, 0.92),
    "grey": (0.50, 0.50, 0.51),
    "black": (0.09, 0.09, 0.10),
}
"""Colours of things, sRGB 0 to 1."""

FLOOR_PAINT = {
    "white": (0.93, 0.92, 0.91),
    "grey": (0.60, 0.61, 0.63),
    "sand": (0.88, 0.78, 0.58),
    "wooden": (0.72, 0.51, 0.33),
    "teal": (0.16, 0.56, 0.56),
    "pink": (0.95, 0.68, 0.74),
}
WALL_PAINT = {"white": (0.97, 0.97, 0.98), "grey": (0.66, 0.68, 0.72), "beige": (0.95, 0.86, 0.72)}


@dataclass(frozen=True, kw_only=True)
class World:
    """A batch of N scenes in at most S slots; slot s of picture n is column s * N + n.

    `lens` [12, N]: camera position, right, up, forward; right and up are scaled so that the picture spans -1 to 1.
    `light` [3, N], `floor` and `wall` [3, N] linear colours, `planks` [N] the grain's seed where the floor is wooden, else -1.
    `kind` [S * N] index into shapes.KINDS or -1, `frame` [6, S * N]: base x, y, z, scale, cosine and sine of the yaw;
    `bound` [4, S * N]: centre and radius of the bounding sphere; `paint` [3, S * N] linear, `finish` [S * N], `pale` [S * N].
    `ink`: for each card the picture and the pieces [P, 4] of its digit.
    """

    pictures: int
    slots: int
    lens: Tensor
    light: Tensor
    floor: Tensor
    wall: Tensor
    planks: Tensor
    kind: Tensor
    frame: Tensor
    bound: Tensor
    paint: Tensor
    finish: Tensor
    pale: Tensor
    ink: tuple[tuple[int, Tensor], ...]


def linear(colour: Sequence[float]) -> list[float]:
    """sRGB to linear light, with the plain 2.2 power."""
    return [value**2.2 for value in colour]


def _bodies(scene: Scene) -> list[tuple[int, list[float], list[float], list[float], int, float]]:
    """Kind, frame, bound, paint, finish and paleness of each thing, or of the card (brighter: the light meets it aslant)."""
    found = []
    for thing in scene.things:
        kind, scale = KINDS.index(thing.shape), SCALE[thing.size]
        x, z = thing.position
        centre, radius = BOUNDS[kind]
        frame = [x, thing.height, z, scale, math.cos(thing.rotation), math.sin(thing.rotation)]
        bound = [x, thing.height + centre * scale, z, radius * scale]
        pale = 1.0 if thing.colour == "white" else 0.0
        found.append((kind, frame, bound, linear(PAINT[thing.colour]), FINISHES.index(thing.finish), pale))
    if scene.card is not None:
        x, z = scene.card.position
        kind = KINDS.index("card")
        frame = [x, 0.0, z, 1.0, math.cos(scene.card.rotation), math.sin(scene.card.rotation)]
        found.append((kind, frame, [x, BOUNDS[kind][0], z, BOUNDS[kind][1]], [1.25, 1.22, 1.16], 0, 0.0))
    return found


def build_world(scenes: Sequence[Scene], device: torch.device | str) -> World:
    """Put scenes into tensors on the device."""
    count = len(scenes)
    bodies = [_bodies(scene) for scene in scenes]
    slots = max(1, *(len(found) for found in bodies))
    empty = (-1, [0.0, 0.0, 0.0, 1.0, 1.0, 0.0], [0.0, -1e3, 0.0, 1e-3], [0.0] * 3, 0, 0.0)
    columns = [found[slot] if slot < len(found) else empty for slot in range(slots) for found in bodies]
    lens = []
    for scene in scenes:
        right, up, forward = basis(scene.camera)
        half = scene.camera.half_height
        lens.append([*scene.camera.position, *(half * v for v in right), *(half * v for v in up), *forward])

    def tensor(rows: object) -> Tensor:
        return torch.tensor(rows, dtype=torch.float32).T.contiguous().to(device)

    return World(
        pictures=count,
        slots=slots,
        lens=tensor(lens),
        light=tensor([scene.light.direction for scene in scenes]),
        floor=tensor([linear(FLOOR_PAINT[scene.floor]) for scene in scenes]),
        wall=tensor([linear(WALL_PAINT[scene.wall]) for scene in scenes]),
        planks=torch.tensor([s.grain if s.floor == FLOORS[3] else -1 for s in scenes], dtype=torch.float32).to(device),
        kind=torch.tensor([column[0] for column in columns]).to(device),
        frame=tensor([column[1] for column in columns]),
        bound=tensor([column[2] for column in columns]),
        paint=tensor([column[3] for column in columns]),
        finish=torch.tensor([column[4] for column in columns]).to(device),
        pale=torch.tensor([column[5] for column in columns]).to(device),
        ink=tuple(
            (n, torch.from_numpy(digit_segments(scene.card.digit, scene.card.hand)).to(device))
            for n, scene in enumerate(scenes)
            if scene.card is not None
        ),
    )


def by_kind(world: World, column: Tensor, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The chosen rays of each kind of body, as indices; kinds that no ray meets are left out."""
    rays = chosen.nonzero().squeeze(1)
    kinds = world.kind.index_select(0, column.index_select(0, rays))
    for kind in range(len(KINDS)):
        found = rays[kinds == kind]
        if len(found):
            yield kind, found


def to_local(frame: Tensor, point: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """World rays in the frame of a body; the ray's parameter stays the same."""
    x, y, z = point - frame[:3]
    u, v, w = direction
    scale, cosine, sine = 1 / frame[3], frame[4] / frame[3], frame[5] / frame[3]
    start = torch.stack((cosine * x - sine * z, scale * y, sine * x + cosine * z))
    return start, torch.stack((cosine * u - sine * w, scale * v, sine * u + cosine * w))


def to_world(frame: Tensor, normal: Tensor) -> Tensor:
    """A body's normals turned into the world."""
    x, y, z = normal
    return torch.stack((frame[4] * x + frame[5] * z, y, frame[4] * z - frame[5] * x))
