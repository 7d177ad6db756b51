"""Frozen descriptions of still lifes: things, light, camera, card, and the scene they make.

World axes: x to the right, y up, z away from the viewer, in metres; the floor is y = 0.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Thing:
    """One thing: what it is and where; `position` is (x, z) of its centre, `height` the y of its base, `rotation` a yaw in
    radians."""

    shape: str
    colour: str
    finish: str
    size: str
    position: tuple[float, float]
    height: float
    rotation: float


@dataclass(frozen=True, kw_only=True)
class Light:
    """A distant light: the unit vector from the scene towards it."""

    direction: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera: where it is, what it looks at, and half the picture's height at distance 1."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    half_height: float


@dataclass(frozen=True, kw_only=True)
class Card:
    """A white card with a digit written on it; `hand` seeds the handwriting."""

    digit: int
    hand: int
    position: tuple[float, float]
    rotation: float


@dataclass(frozen=True, kw_only=True)
class Relation:
    """Thing `first` is `kind` thing `second`, as in "left of"; both are indices into the scene's things."""

    kind: str
    first: int
    second: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A still life: one to three things, or one card, on a floor before a wall; `grain` seeds the floor's planks."""

    things: tuple[Thing, ...]
    floor: str
    wall: str
    light: Light
    camera: Camera
    grain: int
    card: Card | None = None
    relation: Relation | None = None


def to_dict(scene: Scene) -> dict[str, Any]:
    """The scene as plain values for JSON; `from_dict` gives exactly the same scene back."""
    return dataclasses.asdict(scene)


def from_dict(values: dict[str, Any]) -> Scene:
    """The scene of `to_dict`'s values, before or after a trip through JSON."""
    card, relation = values["card"], values["relation"]
    camera = values["camera"]
    return Scene(
        things=tuple(Thing(**{**thing, "position": tuple(thing["position"])}) for thing in values["things"]),
        floor=values["floor"],
        wall=values["wall"],
        light=Light(direction=tuple(values["light"]["direction"])),
        camera=Camera(position=tuple(camera["position"]), target=tuple(camera["target"]), half_height=camera["half_height"]),
        grain=values["grain"],
        card=Card(**{**card, "position": tuple(card["position"])}) if card else None,
        relation=Relation(**relation) if relation else None,
    )
