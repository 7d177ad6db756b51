"""The generator of scenes: what stands where, drawn so that everything is seen and every relation is plain."""

from __future__ import annotations

import math

import numpy as np

from .layout import hidden_part, inside_frame, screen_box
from .things import Camera, Card, Light, Relation, Scene, Thing
from .vocabulary import FINISHES, FLOORS, RELATIONS, SCALE, SHAPES, SHOWN, SIZES, WALLS, WITHHELD

TOP_HEIGHT = {"cube": 1.12, "cylinder": 1.25}
"""Height of a flat top in unit size: the shapes a thing can stand on."""

COUNT_CHANCES = (0.05, 0.40, 0.40, 0.15)
"""How often a scene is a card, one thing, two things, three things."""

FINISH_CHANCES = (0.4, 0.3, 0.15, 0.15)
MAXIMUM_HIDDEN = {"behind": 0.34, "in front of": 0.34}
MAXIMUM_TRIES = 400


def sample_scene(
    rng: np.random.Generator, *, count: int | None = None, relation: str | None = None, withheld: bool = False
) -> Scene:
    """Draw a scene.

    `count` is 0 (a card), 1, 2 or 3; None draws it. `relation` fixes the relation of two things. With `withheld` one thing
    of the scene is a combination of `WITHHELD`; without, none is. Raises ValueError on an unknown count or relation.
    """
    if count is None and relation is not None:
        count = 2
    if count is None:
        count = int(rng.choice(4, p=COUNT_CHANCES)) if not withheld else 1 + int(rng.choice(3, p=(0.45, 0.4, 0.15)))
    if count not in (0, 1, 2, 3):
        raise ValueError(f"A scene can't have {count} things; give 0 (a card), 1, 2 or 3.")
    if relation is not None and (relation not in RELATIONS or count != 2):
        raise ValueError(f"Unknown relation '{relation}' of {count} things; known for two: {', '.join(RELATIONS)}.")
    if count == 0 and withheld:
        raise ValueError("A card has no withheld combination; give a count of 1, 2 or 3.")
    kind = relation
    if count == 2 and kind is None:
        kind = RELATIONS[int(rng.choice(5, p=(0.22, 0.22, 0.18, 0.18, 0.2)))]
    pairs = _pairs(rng, count, kind, withheld)
    finishes = [FINISHES[int(rng.choice(4, p=FINISH_CHANCES))] for _ in range(count)]
    # White on white would leave the outline to the shadow alone.
    floors = FLOORS if all(colour != "white" for colour, _ in pairs) else FLOORS[1:]
    floor, wall = floors[int(rng.integers(len(floors)))], WALLS[int(rng.integers(len(WALLS)))]
    light, camera, grain = _light(rng), _camera(rng, stacked=kind == "on top of"), int(rng.integers(1 << 16))
    if count == 0:
        card = Card(
            digit=int(rng.integers(10)),
            hand=int(rng.integers(1 << 31)),
            position=(_round(rng.uniform(-0.35, 0.35)), _round(rng.uniform(-0.3, 0.3))),
            rotation=_round(rng.uniform(-0.25, 0.25)),
        )
        return Scene(things=(), floor=floor, wall=wall, light=light, camera=camera, grain=grain, card=card)
    things = _arrange(rng, pairs, finishes, kind, camera)
    if things is None:  # three wide things, a few times in 100,000
        return sample_scene(rng, count=count, relation=kind, withheld=withheld)
    link = Relation(kind=kind, first=0, second=1) if kind is not None else None
    return Scene(things=things, floor=floor, wall=wall, light=light, camera=camera, grain=grain, relation=link)


def _round(number: float) -> float:
    """Four decimals, so that a scene's text form is exact."""
    return round(float(number), 4)


def _pairs(rng: np.random.Generator, count: int, kind: str | None, withheld: bool) -> list[tuple[str, str]]:
    """Draw different (colour, shape) pairs, one of them withheld where asked; a support has a flat top."""
    special = int(rng.integers(count)) if withheld and count else -1
    while True:
        pairs = []
        for index in range(count):
            known = WITHHELD if index == special else SHOWN
            # Shape first, so that shapes are as frequent as one another.
            shapes = tuple(TOP_HEIGHT) if kind == "on top of" and index == 1 else SHAPES
            shape = shapes[int(rng.integers(len(shapes)))]
            fitting = [pair for pair in known if pair[1] == shape]
            pairs.append(fitting[int(rng.integers(len(fitting)))])
        if len(set(pairs)) == count:
            return pairs


def _light(rng: np.random.Generator) -> Light:
    """Light from the upper left or upper right, before the scene."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    x, y, z = side * rng.uniform(0.5, 0.65), rng.uniform(0.85, 1.0), rng.uniform(-0.5, -0.3)
    length = math.sqrt(x * x + y * y + z * z)
    return Light(direction=(_round(x / length), _round(y / length), _round(z / length)))


def _camera(rng: np.random.Generator, *, stacked: bool) -> Camera:
    """A nearly fixed camera that looks down by about 19 degrees, a little higher where things are stacked."""
    position = (rng.uniform(-0.25, 0.25), rng.uniform(3.05, 3.35), -7.5 + rng.uniform(-0.1, 0.1))
    target = (rng.uniform(-0.05, 0.05), rng.uniform(0.6, 0.68) + (0.28 if stacked else 0.0), 0.1)
    x, y, z = map(_round, position)
    u, v, w = map(_round, target)
    return Camera(position=(x, y, z), target=(u, v, w), half_height=0.205)


def _rotation(rng: np.random.Generator, shape: str) -> float:
    """A ring shows its hole; everything else turns freely."""
    return _round(rng.uniform(-0.6, 0.6) if shape == "torus" else rng.uniform(-math.pi, math.pi))


def _sizes(rng: np.random.Generator, count: int, kind: str | None) -> list[str]:
    """Three things are small but for one at times; what stands on another is small."""
    if count == 3:
        sizes = ["small"] * 3
        if rng.random() < 0.35:
            sizes[int(rng.integers(3))] = "large"
        return sizes
    sizes = [SIZES[int(rng.random() < 0.5)] for _ in range(count)]
    if kind == "on top of":
        sizes = ["small", "large" if rng.random() < 0.7 else "small"]
    return sizes


def _places(rng: np.random.Generator, count: int, kind: str | None) -> list[tuple[float, float]]:
    """Draw floor positions that fit the relation; `_arrange` rejects those that hide or leave the frame."""
    if count == 1:
        return [(rng.uniform(-0.45, 0.45), rng.uniform(-0.4, 0.4))]
    if count == 3:
        order = rng.permutation(3)
        return [((order[i] - 1) * rng.uniform(0.95, 1.1) + rng.uniform(-0.1, 0.1), rng.uniform(-0.5, 1.0)) for i in range(3)]
    if kind == "on top of":
        x, z = rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.3)
        return [(x + rng.uniform(-0.05, 0.05), z + rng.uniform(-0.05, 0.05)), (x, z)]
    if kind in ("left of", "right of"):
        gap, middle, depth = rng.uniform(1.15, 1.75), rng.uniform(-0.15, 0.15), rng.uniform(-0.3, 0.4)
        left = (middle - gap / 2, depth + rng.uniform(-0.15, 0.15))
        right = (middle + gap / 2, depth + rng.uniform(-0.15, 0.15))
        return [left, right] if kind == "left of" else [right, left]
    offset, middle = rng.uniform(-0.5, 0.5), rng.uniform(-0.25, 0.25)
    near = (middle - offset / 2, rng.uniform(-1.1, -0.7))
    far = (middle + offset / 2, near[1] + rng.uniform(1.6, 2.2))
    return [far, near] if kind == "behind" else [near, far]


def _arrange(
    rng: np.random.Generator, pairs: list[tuple[str, str]], finishes: list[str], kind: str | None, camera: Camera
) -> tuple[Thing, ...] | None:
    """Place the things so that all are in the frame and hardly hide each other, at sizes drawn with the places.

    None where that fails too often: there is no room for these shapes.
    """
    for _ in range(MAXIMUM_TRIES):
        sizes = _sizes(rng, len(pairs), kind)
        places = _places(rng, len(pairs), kind)
        things = []
        for index, (colour, shape) in enumerate(pairs):
            height = 0.0
            if kind == "on top of" and index == 0:
                height = _round(TOP_HEIGHT[pairs[1][1]] * SCALE[sizes[1]])
            x, z = places[index]
            things.append(
                Thing(
                    shape=shape,
                    colour=colour,
                    finish=finishes[index],
                    size=sizes[index],
                    position=(_round(x), _round(z)),
                    height=height,
                    rotation=_rotation(rng, shape),
                )
            )
        if _fits(things, kind, camera):
            return tuple(things)
    return None


def _fits(things: list[Thing], kind: str | None, camera: Camera) -> bool:
    """Whether all things are inside the frame, apart on the floor, and visible enough for their relation."""
    boxes = [screen_box(thing, camera) for thing in things]
    if not all(inside_frame(box) for box in boxes):
        return False
    if kind == "on top of":
        return True
    limit = MAXIMUM_HIDDEN.get(kind or "", 0.0)
    # The boxes of three things may touch: things fill their boxes only in part.
    hidden = limit if len(things) == 2 else 0.08
    for i in range(len(things)):
        for j in range(i):
            near, far = (i, j) if things[i].position[1] < things[j].position[1] else (j, i)
            if hidden_part(boxes[far], boxes[near]) > hidden:
                return False
            distance = math.dist(things[i].position, things[j].position)
            if distance < 0.75 * (SCALE[things[i].size] + SCALE[things[j].size]):
                return False
            overlap = min(boxes[i][2], boxes[j][2]) - max(boxes[i][0], boxes[j][0])
            if limit == 0.0 and overlap > (-0.03 if len(things) == 2 else 0.08):
                return False
    return True
