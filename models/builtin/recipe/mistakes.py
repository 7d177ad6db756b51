"""Captions that are nearly right: the words of a scene with two things' places or colours exchanged.

Without them a contrastive text tower may treat a caption as a bag of words, because hardly any batch holds two captions that
differ in order alone (Yuksekgonul et al. 2023, arXiv 2210.01936).
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from .captions import GROUND_WORDS, RELATION_WORDS, caption
from .things import Scene
from .vocabulary import WITHHELD

TRIES = 20
ORDERED = ("from left to right", "under", *(phrase for phrases in RELATION_WORDS.values() for phrase in phrases))
"""What a caption says where it tells places."""
STANDS = re.compile(rf" on (?:a|the) \w+ (?:{'|'.join(GROUND_WORDS)})(?: before .*)?\.?$")
"""The end of a caption that tells on what everything stands."""


def mistaken(scene: Scene, rng: np.random.Generator) -> str | None:
    """A false caption of a scene of two or three things; None where there is nothing to exchange, as with one thing or a card.

    It never says a withheld combination.
    """
    if len(scene.things) < 2:
        return None
    if rng.random() < 0.5:
        scene = places_exchanged(scene, rng)
        for _ in range(TRIES):
            text = caption(scene, rng)
            if tells_places(text):
                return text
        return None
    exchanged = colours_exchanged(scene, rng)
    return caption(exchanged, rng) if exchanged is not None else None


def tells_places(text: str) -> bool:
    """Whether a caption says where things are to each other, and not only on what they stand."""
    words = f" {STANDS.sub('', text)} "
    return any(f" {phrase} " in words for phrase in ORDERED) or text.startswith("from left to right")


def places_exchanged(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with two of its things standing where the other did."""
    one, other = (int(index) for index in rng.permutation(len(scene.things))[:2])
    things = list(scene.things)
    things[one] = replace(scene.things[one], position=scene.things[other].position)
    things[other] = replace(scene.things[other], position=scene.things[one].position)
    relation = scene.relation
    if relation is not None:
        relation = replace(relation, first=relation.second, second=relation.first)
    return replace(scene, things=tuple(things), relation=relation)


def colours_exchanged(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """The scene with two of its things in each other's colour; None where that changes nothing or makes what is withheld."""
    one, other = (int(index) for index in rng.permutation(len(scene.things))[:2])
    first, second = scene.things[one], scene.things[other]
    if first.colour == second.colour or first.shape == second.shape:
        return None
    if (first.colour, second.shape) in WITHHELD or (second.colour, first.shape) in WITHHELD:
        return None
    things = list(scene.things)
    things[one], things[other] = replace(first, colour=second.colour), replace(second, colour=first.colour)
    return replace(scene, things=tuple(things))
