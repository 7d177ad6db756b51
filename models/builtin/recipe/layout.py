"""Where a thing appears in the picture: conservative boxes, found without rendering."""

from __future__ import annotations

import math

from .things import Camera, Thing
from .vocabulary import SCALE

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in the picture's own units: -1 to 1 from left to right and from bottom to top."""

EXTENT = {
    "sphere": (0.70, 0.70, 1.40),
    "cube": (0.56, 0.56, 1.12),
    "cylinder": (0.56, 0.56, 1.25),
    "cone": (0.68, 0.68, 1.45),
    "torus": (0.70, 0.20, 1.40),
    "pyramid": (0.66, 0.66, 1.30),
}
"""Half width, half depth and height of each shape in unit size."""


def basis(camera: Camera) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Right, up and forward unit vectors of a camera that never rolls."""
    fx, fy, fz = (t - p for t, p in zip(camera.target, camera.position, strict=True))
    length = math.sqrt(fx * fx + fy * fy + fz * fz)
    fx, fy, fz = fx / length, fy / length, fz / length
    flat = math.hypot(fx, fz)
    right = (fz / flat, 0.0, -fx / flat)
    up = (fy * right[2], fz * right[0] - fx * right[2], -fy * right[0])
    return right, up, (fx, fy, fz)


def screen_box(thing: Thing, camera: Camera) -> Box:
    """The box around the projection of the thing's upright bounding box."""
    wide, deep, tall = (extent * SCALE[thing.size] for extent in EXTENT[thing.shape])
    if thing.shape in ("cube", "pyramid", "torus"):
        cosine, sine = abs(math.cos(thing.rotation)), abs(math.sin(thing.rotation))
        wide, deep = wide * cosine + deep * sine, wide * sine + deep * cosine
    right, up, forward = basis(camera)
    across, above = [], []
    # The near corners of the base and the far corners of the top bound an upright box seen from above.
    for y in (thing.height, thing.height + tall):
        for z in (thing.position[1] - deep, thing.position[1] + deep):
            for x in (thing.position[0] - wide, thing.position[0] + wide):
                delta = (x - camera.position[0], y - camera.position[1], z - camera.position[2])
                depth = sum(a * b for a, b in zip(delta, forward, strict=True)) * camera.half_height
                across.append(sum(a * b for a, b in zip(delta, right, strict=True)) / depth)
                above.append(sum(a * b for a, b in zip(delta, up, strict=True)) / depth)
    return min(across), max(above), max(across), min(above)


def inside_frame(box: Box) -> bool:
    """Whether the box lies in the picture with a small margin."""
    return box[0] > -0.97 and box[2] < 0.97 and box[1] < 0.97 and box[3] > -0.97


def hidden_part(far: Box, near: Box) -> float:
    """How much of the far box the near box covers, 0 to 1."""
    across = min(far[2], near[2]) - max(far[0], near[0])
    above = min(far[1], near[1]) - max(far[3], near[3])
    if across <= 0 or above <= 0:
        return 0.0
    return across * above / ((far[2] - far[0]) * (far[1] - far[3]))
