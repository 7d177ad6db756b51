"""Captions that are nearly right are false, differ in order alone, and never say what is withheld."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from models.builtin.recipe.batches import with_mirrored
from models.builtin.recipe.captions import COLOUR_WORDS, RELATION_WORDS, SHAPE_WORDS, mirror
from models.builtin.recipe.dataset import build, load
from models.builtin.recipe.mistakes import colours_exchanged, mistaken, places_exchanged, tells_places
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.things import Scene
from models.builtin.recipe.vocabulary import WITHHELD

KINDS = {phrase: kind for kind, phrases in RELATION_WORDS.items() for phrase in phrases} | {"under": "under"}
INVERSE = {
    "left of": "right of",
    "right of": "left of",
    "behind": "in front of",
    "in front of": "behind",
    "on top of": "under",
    "under": "on top of",
}
NOUN = re.compile(
    rf"({'|'.join(w for words in COLOUR_WORDS.values() for w in words)})(?: striped| metal| metallic)?"
    rf" ({'|'.join(w for words in SHAPE_WORDS.values() for w in words)})\b"
)
COLOUR_OF = {word: name for name, words in COLOUR_WORDS.items() for word in words}
SHAPE_OF = {word: name for name, words in SHAPE_WORDS.items() for word in words}

Pair = tuple[str, str]


def draw(number: int, seed: int, **wishes: object) -> list[Scene]:
    return [sample_scene(np.random.default_rng((seed, index)), **wishes) for index in range(number)]


def pairs_of(scene: Scene) -> Counter[Pair]:
    return Counter((thing.colour, thing.shape) for thing in scene.things)


def told(text: str) -> list[Pair]:
    """Colour and shape of each thing, in the order of the text."""
    return [(COLOUR_OF[colour], SHAPE_OF[shape]) for colour, shape in NOUN.findall(text)]


def relation_of(text: str) -> str | None:
    """The relation between the two nouns of a text."""
    between = NOUN.split(text)[3]
    found = [kind for phrase, kind in KINDS.items() if re.search(rf"\b{phrase}\b", between)]
    return found[0] if found else None


def is_true(scene: Scene, text: str) -> bool:
    """Whether a caption of two things is true of the scene."""
    things, relation = told(text), relation_of(text)
    assert len(things) == 2, text
    if Counter(things) != pairs_of(scene):
        return False
    if relation is None:
        return True
    assert scene.relation is not None
    kind, first = scene.relation.kind, scene.things[scene.relation.first]
    said = things[0] if relation == kind else things[1] if INVERSE[relation] == kind else None
    return said == (first.colour, first.shape)


def test_a_mistaken_caption_of_two_things_is_false_but_has_their_words() -> None:
    made = 0
    for index, scene in enumerate(draw(300, 31, count=2)):
        text = mistaken(scene, np.random.default_rng((32, index)))
        if text is None:
            continue
        made += 1
        assert not is_true(scene, text), (text, scene.things, scene.relation)
        assert sorted(colour for colour, _ in told(text)) == sorted(thing.colour for thing in scene.things)
        assert sorted(shape for _, shape in told(text)) == sorted(thing.shape for thing in scene.things)
        assert not set(told(text)) & set(WITHHELD), text
    assert made > 210


def test_a_mistaken_caption_of_three_things_is_false() -> None:
    for index, scene in enumerate(draw(150, 33, count=3)):
        text = mistaken(scene, np.random.default_rng((34, index)))
        if text is None:
            continue
        standing = [(thing.colour, thing.shape) for thing in sorted(scene.things, key=lambda thing: thing.position[0])]
        assert Counter(told(text)) != Counter(standing) or ("from left to right" in text and told(text) != standing), text
        assert not set(told(text)) & set(WITHHELD), text


def test_one_thing_and_a_card_have_no_mistake() -> None:
    rng = np.random.default_rng(0)
    assert [mistaken(scene, rng) for scene in draw(20, 35, count=1) + draw(5, 36, count=0)] == [None] * 25


def test_exchanging_twice_is_nothing() -> None:
    for index, scene in enumerate(draw(60, 37, count=2)):
        assert places_exchanged(places_exchanged(scene, np.random.default_rng(1)), np.random.default_rng(1)) == scene
        other = colours_exchanged(scene, np.random.default_rng(index))
        if other is not None:
            assert colours_exchanged(other, np.random.default_rng(index)) == scene and pairs_of(other) != pairs_of(scene)


def test_a_floor_is_no_place() -> None:
    assert tells_places("a red ball on a blue cube on a wooden table")
    assert tells_places("a red ball on a blue cube, grey floor.")
    assert tells_places("from left to right: a red ball, a grey cone and a blue cube")
    assert not tells_places("a red ball and a blue cube on a wooden table.")
    assert not tells_places("a red ball next to a blue cube on the sandy ground before a white wall")


def test_the_last_of_a_batch_are_the_first_mirrored(tmp_path: Path) -> None:
    build(tmp_path, 40, seed=5, size=32, shard=40)
    data = load(tmp_path)
    indices = np.arange(40)
    flips = np.random.default_rng(0).random(40) < 0.5
    taken, turned = with_mirrored(data, indices, flips, 3)
    assert len(taken) == len(turned) == 40
    assert list(taken[-3:]) == list(taken[:3]) and list(turned[-3:]) == list(~turned[:3])
    assert len(set(taken[:-3])) == 37
    for scene, other in zip(data.seen(taken[:3], turned[:3]), data.seen(taken[-3:], turned[-3:]), strict=True):
        assert other == mirror(scene) and scene.relation is not None and scene.relation.kind in ("left of", "right of")
    assert torch.equal(torch.from_numpy(taken), torch.from_numpy(with_mirrored(data, indices, flips, 3)[0]))
