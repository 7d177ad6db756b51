"""A batched ray tracer: many scenes at once, on the CPU or a GPU.

One ray a pixel finds what is seen; four more where neighbouring pixels differ smooth the edges. Rays meet shapes only inside
bounding spheres, and shadows are measured only where the way to the light passes one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .materials import Surface, shade
from .shapes import HITS
from .things import Scene
from .world import World, build_world, by_kind, to_local, to_world

WALL_DISTANCE = 3.6
CHUNK = 16
"""Pictures traced together on a CPU: few enough that a chunk's tensors stay in cache."""

EDGE = 0.05
"""Difference between neighbouring pixels, of 1, from which a pixel is smoothed."""

OFFSETS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
"""A rotated grid of four points in a pixel."""

NEAREST, FARTHEST = 5.5, 12.0
"""Depths in metres that `inverse_depth` shows white and black."""


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """N pictures: `pictures` uint8 [N, 3, H, W]; `depth` float32 [N, H, W] in metres along the view axis; `masks` uint8
    [N, H, W], 0 for the background and i for the i-th thing (1 for a card)."""

    pictures: Tensor
    depth: Tensor
    masks: Tensor


def render(scenes: Sequence[Scene], size: int = 128, samples: int = 4, device: torch.device | str = "cpu") -> Rendered:
    """Render scenes to size x size pictures, with 1 or 4 samples in a pixel at edges; results are on the device."""
    if samples not in (1, 4):
        raise ValueError(f"A pixel can't have {samples} samples; give 1 or 4.")
    step = CHUNK if torch.device(device).type == "cpu" else 256
    # Scenes with equally many things go together: a chunk's work is that of its fullest scene.
    order = sorted(range(len(scenes)), key=lambda index: len(scenes[index].things))
    sorted_scenes = [scenes[index] for index in order]
    back = torch.tensor(order, device=device).argsort()
    with torch.inference_mode():
        chunks = (build_world(sorted_scenes[i : i + step], device) for i in range(0, len(scenes), step))
        parts = [_render(world, size, samples) for world in chunks]
    return Rendered(
        pictures=torch.cat([part.pictures for part in parts])[back],
        depth=torch.cat([part.depth for part in parts])[back],
        masks=torch.cat([part.masks for part in parts])[back],
    )


def inverse_depth(depth: Tensor) -> Tensor:
    """Depth in metres to 0 (far, black) .. 1 (near, white), linear in the inverse."""
    return ((1 / depth - 1 / FARTHEST) / (1 / NEAREST - 1 / FARTHEST)).clamp(0, 1)


def _render(world: World, size: int, samples: int) -> Rendered:
    device, count = world.lens.device, world.pictures
    axis = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * (2 / size) - 1
    across = axis.repeat(size).repeat(count)
    above = -axis.repeat_interleave(size).repeat(count)
    picture = torch.arange(count, device=device).repeat_interleave(size * size)
    colour, surface = _look(world, picture, across, above)
    grid = colour.view(3, count, size, size)
    masks = surface.slot.view(count, size, size) + 1
    if samples > 1:
        edge = _edges(grid, masks).flatten().nonzero().squeeze(1)
        total = torch.zeros(3, len(edge), device=device)
        for x, y in OFFSETS:
            total += _look(world, picture.index_select(0, edge), across[edge] + x * 2 / size, above[edge] + y * 2 / size)[0]
        colour[:, edge] = total / len(OFFSETS)
    pictures = (grid.clamp(0, 1) * 255).round().to(torch.uint8).transpose(0, 1).contiguous()
    depth = surface.distance.view(count, size, size)
    return Rendered(pictures=pictures, depth=depth, masks=masks.to(torch.uint8))


def _edges(grid: Tensor, masks: Tensor) -> Tensor:
    """Pixels [N, H, W] that differ from the one to the right or below, and those."""
    edge = torch.zeros_like(masks, dtype=torch.bool)
    down = ((grid[:, :, 1:] - grid[:, :, :-1]).abs().amax(0) > EDGE) | (masks[:, 1:] != masks[:, :-1])
    side = ((grid[:, :, :, 1:] - grid[:, :, :, :-1]).abs().amax(0) > EDGE) | (masks[:, :, 1:] != masks[:, :, :-1])
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    edge[:, :, 1:] |= side
    edge[:, :, :-1] |= side
    return edge


def _look(world: World, picture: Tensor, across: Tensor, above: Tensor) -> tuple[Tensor, Surface]:
    """The colour [3, P] seen through points of pictures, and what is seen there."""
    lens = world.lens.index_select(1, picture)
    # Not normalised: one along the view axis, so that the ray's parameter is the depth.
    direction = lens[9:12] + across * lens[3:6] + above * lens[6:9]
    surface = _trace(world, picture, lens[0:3], direction)
    return shade(world, picture, direction, surface), surface


def _trace(world: World, picture: Tensor, origin: Tensor, direction: Tensor) -> Surface:
    """What each ray meets first: the floor, the wall or a thing."""
    down = torch.where(direction[1] < -1e-6, -origin[1] / direction[1].clamp(max=-1e-6), math.inf)
    ahead = (WALL_DISTANCE - origin[2]) / direction[2]
    on_floor = down < ahead
    distance = torch.where(on_floor, down, ahead)
    zero = torch.zeros_like(distance)
    normal = torch.stack((zero, on_floor.float(), on_floor.float() - 1.0))
    slot = torch.full_like(picture, -1)
    local = torch.zeros_like(direction)
    squared = direction.square().sum(0)
    for index in range(world.slots):
        column = index * world.pictures + picture
        bound = world.bound.index_select(1, column)
        delta = bound[:3] - origin
        along = (delta * direction).sum(0)
        near = delta.square().sum(0) * squared - along * along < bound[3] ** 2 * squared
        for kind, rays in by_kind(world, column, near):
            here = column[rays]
            start, heading = to_local(
                world.frame.index_select(1, here), origin.index_select(1, rays), direction.index_select(1, rays)
            )
            met, local_normal = HITS[kind](start, heading)
            first = (met < distance[rays]).nonzero().squeeze(1)
            rays, here, met = rays[first], here[first], met[first]
            distance[rays] = met
            slot[rays] = index
            normal[:, rays] = to_world(world.frame.index_select(1, here), local_normal.index_select(1, first))
            local[:, rays] = start.index_select(1, first) + met * heading.index_select(1, first)
    return Surface(
        distance=distance, point=origin + distance * direction, normal=normal, local=local, slot=slot, on_floor=on_floor
    )
