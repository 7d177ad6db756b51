"""The generator of scenes: reproducible, unambiguous, and without the withheld combinations."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest

from models.builtin.recipe import scenes
from models.builtin.recipe.layout import hidden_part, inside_frame, screen_box
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.things import Scene, from_dict, to_dict
from models.builtin.recipe.vocabulary import COLOURS, RELATIONS, SHAPES, SHOWN, WITHHELD


def draw(number: int, seed: int, **wishes: object) -> list[Scene]:
    return [sample_scene(np.random.default_rng((seed, index)), **wishes) for index in range(number)]


def combinations_of(scene: Scene) -> set[tuple[str, str]]:
    return {(thing.colour, thing.shape) for thing in scene.things}


def test_the_withheld_list_touches_every_colour_and_shape() -> None:
    assert {colour for colour, _ in WITHHELD} == set(COLOURS)
    assert {shape for _, shape in WITHHELD} == set(SHAPES)
    assert set(WITHHELD) | set(SHOWN) == {(colour, shape) for colour in COLOURS for shape in SHAPES}


def test_withheld_combinations_never_leave_the_training_generator() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(20000):
        # Every scene's things come from here; drawing whole scenes would take ten seconds.
        seen |= set(scenes._pairs(rng, 1 + int(rng.integers(3)), None, False))
    assert seen == set(SHOWN)
    whole = set().union(*(combinations_of(scene) for scene in draw(400, 1)))
    assert whole <= set(SHOWN)
    assert not whole & set(WITHHELD)


def test_evaluation_scenes_have_exactly_one_withheld_thing() -> None:
    for scene in draw(200, 2, withheld=True):
        assert len(combinations_of(scene) & set(WITHHELD)) == 1


def test_a_seed_gives_the_same_scene_and_json_keeps_it() -> None:
    for first, second in zip(draw(100, 3), draw(100, 3), strict=True):
        assert first == second
        assert from_dict(json.loads(json.dumps(to_dict(first)))) == first
    assert draw(5, 3) != draw(5, 4)


def test_counts_are_as_published() -> None:
    found = np.bincount([len(scene.things) for scene in draw(800, 5)], minlength=4) / 800
    assert np.abs(found - scenes.COUNT_CHANCES).max() < 0.06


@pytest.mark.parametrize("relation", RELATIONS)
def test_relations_agree_with_the_geometry(relation: str) -> None:
    for scene in draw(60, 6, relation=relation):
        assert scene.relation is not None
        assert scene.relation.kind == relation
        first, second = scene.things[scene.relation.first], scene.things[scene.relation.second]
        across, away = first.position[0] - second.position[0], first.position[1] - second.position[1]
        if relation in ("left of", "right of"):
            assert (across < 0) == (relation == "left of")
            assert abs(across) > 2 * abs(away)
        elif relation == "on top of":
            assert second.shape in ("cube", "cylinder")
            assert first.height > 0 == second.height
            assert first.size == "small"
        else:
            assert (away > 0) == (relation == "behind")
            assert abs(away) > 2 * abs(across)


def test_everything_is_in_the_frame_and_hardly_hidden() -> None:
    for scene in draw(300, 7):
        boxes = [screen_box(thing, scene.camera) for thing in scene.things]
        assert all(inside_frame(box) for box in boxes)
        if scene.relation is not None and scene.relation.kind == "on top of":
            continue
        for (one, first), (two, second) in combinations(zip(scene.things, boxes, strict=True), 2):
            far, near = (first, second) if one.position[1] > two.position[1] else (second, first)
            assert hidden_part(far, near) <= 0.35


def test_things_never_look_the_same() -> None:
    for scene in draw(300, 8):
        assert len(combinations_of(scene)) == len(scene.things)


@pytest.mark.parametrize("wishes", [{"count": 4}, {"relation": "above"}, {"count": 1, "relation": "behind"}])
def test_impossible_wishes_are_refused(wishes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"give|known"):
        sample_scene(np.random.default_rng(0), **wishes)
    with pytest.raises(ValueError, match="card"):
        sample_scene(np.random.default_rng(0), count=0, withheld=True)


def test_a_scene_without_room_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    places, failures = scenes._arrange, [None, None]
    monkeypatch.setattr(scenes, "_arrange", lambda *given: failures.pop() if failures else places(*given))
    scene = sample_scene(np.random.default_rng(0), count=2, relation="behind", withheld=True)
    assert failures == []
    assert len(scene.things) == 2 and scene.relation is not None and scene.relation.kind == "behind"
    assert sum((thing.colour, thing.shape) in WITHHELD for thing in scene.things) == 1
