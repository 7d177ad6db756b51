"""Captions: true sentences about a scene, in varied words and order."""

from __future__ import annotations

import dataclasses

import numpy as np

from .things import Camera, Light, Scene, Thing
from .vocabulary import COLOURS, MIRRORED, OPPOSITE

SHAPE_WORDS = {
    "sphere": ("ball", "sphere"),
    "cube": ("cube", "box"),
    "cylinder": ("cylinder",),
    "cone": ("cone",),
    "torus": ("ring", "torus"),
    "pyramid": ("pyramid",),
}
FINISH_WORDS = {"matte": ("matte",), "shiny": ("shiny", "glossy"), "metal": ("metal", "metallic"), "striped": ("striped",)}
SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
COLOUR_WORDS = {colour: (colour,) if colour != "grey" else ("grey", "gray") for colour in COLOURS}
FLOOR_WORDS = {
    "white": ("white",),
    "grey": ("grey", "gray"),
    "sand": ("sand", "sandy"),
    "wooden": ("wooden", "wood"),
    "teal": ("teal",),
    "pink": ("pink",),
}
WALL_WORDS = {"white": ("white",), "grey": ("grey", "gray"), "beige": ("beige",)}
GROUND_WORDS = ("floor", "ground", "table")
RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "behind": ("behind",),
    "in front of": ("in front of",),
    "on top of": ("on top of", "on"),
}
OPENINGS = ("a photo of", "a picture of", "a still life with", "a render of")
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COUNT_WORDS = {2: ("two objects", "two things"), 3: ("three objects", "three things")}
OTHER_WORDS = ("a", "an", "the", "and", "with", "before", "wall", "there is", "from left to right", "next to", "under")
CARD_WORDS = ("card", "handwritten", "digit", "number", "written")


def _all_words() -> tuple[str, ...]:
    """Every word of the tables above, once, in order."""
    tables = (SHAPE_WORDS, FINISH_WORDS, SIZE_WORDS, COLOUR_WORDS, FLOOR_WORDS, WALL_WORDS, RELATION_WORDS, COUNT_WORDS)
    phrases = [phrase for table in tables for words in table.values() for phrase in words]
    phrases += [*GROUND_WORDS, *OPENINGS, *DIGIT_WORDS, *map(str, range(10)), *OTHER_WORDS, *CARD_WORDS]
    return tuple(dict.fromkeys(word for phrase in phrases for word in phrase.split()))


WORDS = _all_words()
"""Every word a caption may use, for the tokenizer's cut."""

MARKS = (",", ":", ".")
"""Every mark a caption may use."""


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Describe the scene truly; what is said, in which words and in which order, is drawn from `rng`.

    Colour and shape of everything are always said; finish, size, floor and wall often are not; the relation of two things
    nearly always is.
    """
    ground = _ground(scene, rng)
    if scene.card is not None:
        body = _card(scene.card.digit, rng)
    elif len(scene.things) == 1:
        body = article(noun(scene.things[0], rng))
    elif len(scene.things) == 2:
        body = _two(scene, rng)
    else:
        body = _three(scene, rng)
    opening = rng.random()
    if ground.startswith(","):
        text = body + ground
    elif opening > 0.95 and len(scene.things) == 1 and ground:
        return f"{ground.strip()} there is {body}"
    else:
        text = f"{body}{ground}"
    if opening < 0.12 and not text.startswith(("two", "three", "from")):
        text = f"{_pick(OPENINGS, rng)} {text}"
    return text + ("." if rng.random() < 0.05 else "")


def noun(thing: Thing, rng: np.random.Generator) -> str:
    """Adjectives and noun of a thing, without an article, such as "small shiny blue cube"."""
    words = []
    if rng.random() < 0.5:
        words.append(_pick(SIZE_WORDS[thing.size], rng))
    # What is most visible is most often said.
    if rng.random() < {"matte": 0.25, "shiny": 0.5, "metal": 0.85, "striped": 0.9}[thing.finish]:
        words.append(_pick(FINISH_WORDS[thing.finish], rng))
    words.append(_pick(COLOUR_WORDS[thing.colour], rng, first=0.8))
    if len(words) > 1 and words[-2] in FINISH_WORDS["striped"] + FINISH_WORDS["metal"] and rng.random() < 0.3:
        words[-2:] = [words[-1], words[-2]]
    words.append(_pick(SHAPE_WORDS[thing.shape], rng))
    return " ".join(words)


def article(phrase: str) -> str:
    """The phrase with "a" or "an"."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _pick(words: tuple[str, ...], rng: np.random.Generator, first: float = 0.6) -> str:
    """One of the words, the first most often."""
    return words[0] if len(words) == 1 or rng.random() < first else str(words[1 + int(rng.integers(len(words) - 1))])


def _ground(scene: Scene, rng: np.random.Generator) -> str:
    """The floor and wall as an ending: "", " on a wooden table", ", grey floor, white wall"."""
    floor = _pick(FLOOR_WORDS[scene.floor], rng, first=0.8)
    ground = f"{floor} {GROUND_WORDS[int(rng.integers(3))]}"
    wall = f"{_pick(WALL_WORDS[scene.wall], rng, first=0.8)} wall"
    draw, with_wall = rng.random(), rng.random() < 0.15
    if draw < 0.3:
        return ""
    if draw < 0.45:
        return f", {ground}, {wall}" if with_wall else f", {ground}"
    ending = f" on {'the' if rng.random() < 0.1 else 'a'} {ground}"
    # Where one thing stands on another, a second "on" could be read as the top thing's place.
    if scene.relation is not None and scene.relation.kind == "on top of":
        ending = f", {ground}"
    return f"{ending} before a {wall}" if with_wall and not ending.startswith(",") else ending


def _card(digit: int, rng: np.random.Generator) -> str:
    """The card and its digit."""
    name = str(digit) if rng.random() < 0.7 else DIGIT_WORDS[digit]
    forms = (
        "a card with a handwritten {}",
        "a card with the digit {}",
        "a white card with the number {}",
        "the handwritten digit {} on a card",
        "a card with a {} written on the card",
    )
    index = int(rng.choice(5, p=(0.4, 0.25, 0.15, 0.15, 0.05)))
    text = forms[index].format(name)
    return text.replace("a eight", "an eight").replace("a 8", "an 8")


def _two(scene: Scene, rng: np.random.Generator) -> str:
    """Two things with their relation, told from either side."""
    relation = scene.relation
    assert relation is not None
    first, second = (article(noun(scene.things[index], rng)) for index in (relation.first, relation.second))
    draw = rng.random()
    if draw < 0.06:
        pair = f"{first} and {second}" if rng.random() < 0.5 else f"{second} and {first}"
        return f"{_pick(COUNT_WORDS[2], rng)}: {pair}" if rng.random() < 0.4 else pair
    kind = relation.kind
    if kind in ("left of", "right of") and draw < 0.10:
        return f"{first} next to {second}"
    if rng.random() < 0.5:
        if kind in OPPOSITE:
            first, second, kind = second, first, OPPOSITE[kind]
        elif rng.random() < 0.3:
            return f"{second} under {first}"
    text = f"{first} {_pick(RELATION_WORDS[kind], rng, first=0.7)} {second}"
    return f"{_pick(COUNT_WORDS[2], rng)}: {text}" if rng.random() < 0.05 else text


def _three(scene: Scene, rng: np.random.Generator) -> str:
    """Three things in a list, often in the order in which they stand."""
    ordered = rng.random() < 0.6
    order = list(np.argsort([thing.position[0] for thing in scene.things])) if ordered else list(rng.permutation(3))
    first, second, third = (article(noun(scene.things[index], rng)) for index in order)
    text = f"{first}, {second} and {third}"
    draw = rng.random()
    if ordered and draw < 0.6:
        return f"{text} from left to right" if draw < 0.2 else f"from left to right: {text}"
    return f"{_pick(COUNT_WORDS[3], rng)}: {text}" if draw > 0.75 else text


def mirror(scene: Scene) -> Scene:
    """The scene of the left-right flipped picture, so that its caption stays true.

    Flipping a card would turn its digit over: don't flip pictures of cards (raises ValueError).
    """
    if scene.card is not None:
        raise ValueError("A card's digit can't be read mirrored; flip only scenes without a card.")
    relation = scene.relation
    if relation is not None:
        relation = dataclasses.replace(relation, kind=MIRRORED.get(relation.kind, relation.kind))
    camera, light = scene.camera, scene.light.direction
    return dataclasses.replace(
        scene,
        things=tuple(
            dataclasses.replace(thing, position=(-thing.position[0], thing.position[1]), rotation=-thing.rotation)
            for thing in scene.things
        ),
        light=Light(direction=(-light[0], light[1], light[2])),
        camera=Camera(
            position=(-camera.position[0], *camera.position[1:]),
            target=(-camera.target[0], *camera.target[1:]),
            half_height=camera.half_height,
        ),
        relation=relation,
    )
