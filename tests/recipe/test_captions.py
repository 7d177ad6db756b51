"""Captions are true, say what they must, and use only the published words."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.builtin.recipe import captions
from models.builtin.recipe.captions import MARKS, WORDS, caption, mirror
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.things import Scene, Thing
from models.builtin.recipe.vocabulary import MIRRORED

MEANING = {
    **{word: ("shape", name) for name, words in captions.SHAPE_WORDS.items() for word in words},
    **{word: ("finish", name) for name, words in captions.FINISH_WORDS.items() for word in words},
    **{word: ("size", name) for name, words in captions.SIZE_WORDS.items() for word in words},
    **{word: ("colour", name) for name, words in captions.COLOUR_WORDS.items() for word in words},
}


def draw(number: int, seed: int, **wishes: object) -> list[Scene]:
    return [sample_scene(np.random.default_rng((seed, index)), **wishes) for index in range(number)]


def read_things(text: str) -> list[dict[str, str]]:
    """The things a caption speaks of: the words from an article to a shape."""
    found = []
    for phrase in re.findall(
        r"\ban? ([a-z ]+?)(?=,|:|\.|$| and | on | in | left | right | to | behind | under | next | before )", text
    ):
        said = dict(MEANING[word] for word in phrase.split() if word in MEANING)
        if "shape" in said:
            found.append(said)
    return found


def is_true_of(said: dict[str, str], thing: Thing) -> bool:
    return all(getattr(thing, name) == value for name, value in said.items())


def test_every_thing_is_told_once_with_colour_and_shape() -> None:
    for index, scene in enumerate(draw(300, 1)):
        text = caption(scene, np.random.default_rng((2, index)))
        told = read_things(text)
        assert len(told) == len(scene.things), text
        left = list(scene.things)
        for said in told:
            assert {"colour", "shape"} <= said.keys(), text
            match = next((thing for thing in left if is_true_of(said, thing)), None)
            assert match is not None, text
            left.remove(match)


def test_floor_wall_and_digit_are_true() -> None:
    for index, scene in enumerate(draw(300, 3)):
        text = caption(scene, np.random.default_rng((4, index))).rstrip(".")
        for word, _ in re.findall(r"(\w+) (floor|ground|table)", text):
            assert word in captions.FLOOR_WORDS[scene.floor], text
        for word in re.findall(r"(\w+) wall", text):
            assert word in captions.WALL_WORDS[scene.wall], text
        if scene.card is not None:
            names = (str(scene.card.digit), captions.DIGIT_WORDS[scene.card.digit])
            assert set(text.replace(",", "").split()) & set(names), text
            assert "card" in text


def holds(kind: str, first: Thing, second: Thing) -> bool:
    across, away = first.position[0] - second.position[0], first.position[1] - second.position[1]
    on_top = first.height > second.height
    return {
        "left of": across < -0.4,
        "right of": across > 0.4,
        "behind": away > 0.8,
        "in front of": away < -0.8,
        "on top of": on_top,
        "on": on_top,
        "under": second.height > first.height,
        "next to": abs(across) > 0.4,
    }[kind]


@pytest.mark.parametrize("mirrored", [False, True])
def test_told_relations_hold_in_the_scene(mirrored: bool) -> None:
    silent = 0
    for index, scene in enumerate(draw(250, 5, count=2)):
        shown = mirror(scene) if mirrored else scene
        text = caption(shown, np.random.default_rng((6, index)))
        first, second = (next(thing for thing in shown.things if is_true_of(said, thing)) for said in read_things(text))
        if first is second:
            # Too little is said to tell two things apart by looking alone.
            second = next(thing for thing in shown.things if thing is not first)
        said = re.search(
            r"left of|right of|behind|in front of|on top of|under|next to|\bon an? [a-z ]*(?:cube|box|cylinder)", text
        )
        if said is None:
            silent += 1
            continue
        assert holds("on" if said.group().startswith("on a") else said.group(), first, second), text
    assert 0 < silent < 0.14 * 250


def test_left_to_right_lists_are_in_order() -> None:
    told = 0
    for index, scene in enumerate(draw(120, 7, count=3)):
        text = caption(scene, np.random.default_rng((8, index)))
        if "from left to right" not in text:
            continue
        told += 1
        places = [[t.position[0] for t in scene.things if is_true_of(said, t)] for said in read_things(text)]
        assert min(places[0]) < max(places[1]), text
        assert min(places[1]) < max(places[2]), text
    assert told > 25


def test_only_published_words_and_all_of_them() -> None:
    used = set()
    for index, scene in enumerate(draw(700, 9) + draw(100, 9, count=0)):
        text = caption(scene, np.random.default_rng((10, index)))
        for mark in MARKS:
            text = text.replace(mark, "")
        used |= set(text.split())
    assert used == set(WORDS)


def test_short_captions_are_common_and_wording_varies() -> None:
    scenes = draw(150, 11, count=1)
    texts = [caption(scene, np.random.default_rng((12, index))) for index, scene in enumerate(scenes)]
    assert sum(len(text.split()) <= 4 for text in texts) > 15
    assert len({caption(scenes[0], np.random.default_rng(seed)) for seed in range(50)}) > 25
    assert caption(scenes[0], np.random.default_rng(1)) == caption(scenes[0], np.random.default_rng(1))


def test_mirroring_twice_is_nothing() -> None:
    for scene in draw(50, 13):
        if scene.card is not None:
            with pytest.raises(ValueError, match="mirrored"):
                mirror(scene)
            continue
        flipped = mirror(scene)
        assert mirror(flipped) == scene
        if scene.relation is not None and flipped.relation is not None:
            assert flipped.relation.kind == MIRRORED.get(scene.relation.kind, scene.relation.kind)
