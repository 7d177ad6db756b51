"""Pictures, depth and masks show the scene that was asked for."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
import pytest
import torch

from models.builtin.recipe.captions import mirror
from models.builtin.recipe.layout import screen_box
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.shapes import DISTANCES, KINDS
from models.builtin.recipe.things import Scene
from models.builtin.recipe.tracer import inverse_depth, render
from models.builtin.recipe.world import build_world, to_local

HUES = {"red": 0, "orange": 28, "yellow": 52, "green": 120, "blue": 225, "purple": 285}


def draw(number: int, seed: int, **wishes: object) -> list[Scene]:
    return [sample_scene(np.random.default_rng((seed, index)), **wishes) for index in range(number)]


def test_the_same_scenes_give_the_same_pictures_in_any_company() -> None:
    scenes = draw(12, 1)
    together = render(scenes, 64)
    again = render(scenes[::-1], 64)
    alone = render(scenes[5:6], 64)
    assert together.pictures.shape == (12, 3, 64, 64)
    assert together.pictures.dtype == torch.uint8
    assert torch.equal(together.masks, again.masks.flip(0))
    assert torch.equal(together.masks[5], alone.masks[0])
    for one, two in ((together.pictures, again.pictures.flip(0)), (together.pictures[5], alone.pictures[0])):
        assert (one.int() - two.int()).abs().max() <= 1


@pytest.mark.parametrize("relation", ["left of", "right of"])
def test_left_and_right_agree_with_the_masks(relation: str) -> None:
    scenes = draw(16, 2, relation=relation)
    for mask in render(scenes, 64, samples=1).masks:
        first, second = ((mask == index).nonzero()[:, 1].float() for index in (1, 2))
        assert (first.max() < second.min()) if relation == "left of" else (first.min() > second.max())


@pytest.mark.parametrize("relation", ["behind", "in front of", "on top of"])
def test_other_relations_agree_with_depth_and_masks(relation: str) -> None:
    result = render(draw(16, 3, relation=relation), 64, samples=1)
    for mask, depth in zip(result.masks, result.depth, strict=True):
        first, second = mask == 1, mask == 2
        if relation == "on top of":
            assert first.nonzero()[:, 0].float().mean() < second.nonzero()[:, 0].float().mean() - 5
        else:
            assert (depth[first].mean() > depth[second].mean()) == (relation == "behind")


def test_masks_stay_in_their_boxes_and_nothing_is_mostly_hidden() -> None:
    scenes = draw(40, 4)
    masks = render(scenes, 64, samples=1).masks
    for scene, mask in zip(scenes, masks, strict=True):
        for index, thing in enumerate(scene.things, 1):
            rows, columns = (mask == index).nonzero().unbind(1)
            left, top, right, bottom = screen_box(thing, scene.camera)
            assert columns.min() >= (left + 1) * 32 - 1.5
            assert columns.max() <= (right + 1) * 32 + 0.5
            assert rows.min() >= (1 - top) * 32 - 1.5
            assert rows.max() <= (1 - bottom) * 32 + 0.5
        seen = alone = 0
        if len(scene.things) == 2:
            for index, thing in enumerate(scene.things, 1):
                single = render([dataclasses.replace(scene, things=(thing,), relation=None)], 64, samples=1).masks
                seen, alone = int((mask == index).sum()), int(single.sum())
                assert seen > 0.62 * alone


def test_depth_is_where_the_distances_vanish() -> None:
    """What a pixel shows lies on the surface of the thing that its mask names (an independent reading of depth)."""
    scenes = draw(24, 5)
    result = render(scenes, 64, samples=1)
    world = build_world(scenes, "cpu")
    axis = (torch.arange(64) + 0.5) / 32 - 1
    for number in range(len(scenes)):
        lens = world.lens[:, number, None, None]
        direction = lens[9:12] + axis[None, None, :] * lens[3:6] - axis[None, :, None] * lens[6:9]
        point = lens[:3] + result.depth[number] * direction
        for slot in range(len(scenes[number].things)):
            chosen = result.masks[number] == slot + 1
            column = slot * len(scenes) + number
            local, _ = to_local(world.frame[:, column, None], point[:, chosen], point[:, chosen])
            assert DISTANCES[int(world.kind[column])](local).abs().max() < 6e-3
        behind = result.masks[number] == 0
        assert torch.minimum(point[1].abs(), (point[2] - 3.6).abs())[behind].max() < 2e-3


@pytest.mark.parametrize("finish", ["matte", "shiny", "metal", "striped"])
def test_colours_have_their_hue(finish: str) -> None:
    for colour, hue in HUES.items():
        scenes = draw(60, 6, count=1)
        chosen = [s for s in scenes if s.things[0].shape in ("sphere", "cylinder", "cone")][:4]
        painted = [
            dataclasses.replace(s, things=(dataclasses.replace(s.things[0], colour=colour, finish=finish),)) for s in chosen
        ]
        result = render(painted, 64)
        for picture, mask in zip(result.pictures, result.masks, strict=True):
            pixels = picture[:, mask == 1].double() / 255
            vivid = pixels[:, (pixels.amax(0) - pixels.amin(0)) > 0.25]
            assert vivid.shape[1] > 0.4 * pixels.shape[1]
            found = colorsys.rgb_to_hsv(*vivid.mean(1).tolist())[0] * 360
            assert abs((found - hue + 180) % 360 - 180) < 13


def test_a_mirrored_scene_is_the_mirrored_picture() -> None:
    # Planks and the stripes of rings are not symmetric.
    scenes = [s for s in draw(30, 7) if s.card is None and s.floor != "wooden"]
    scenes = [s for s in scenes if all(t.finish != "striped" for t in s.things)]
    straight, flipped = render(scenes, 64), render([mirror(scene) for scene in scenes], 64)
    gap = (straight.pictures.int() - flipped.pictures.flip(3).int()).abs()
    # The four points in a pixel are not symmetric, so edges differ a little.
    assert gap.float().mean() < 0.5
    assert (straight.pictures.int() - flipped.pictures.int()).abs().float().mean() > 3
    assert (straight.masks != flipped.masks.flip(2)).float().mean() < 0.002


def test_digits_are_written_and_hands_differ() -> None:
    scene = sample_scene(np.random.default_rng(8), count=0)
    assert scene.card is not None
    cards = [dataclasses.replace(scene, card=dataclasses.replace(scene.card, digit=d, hand=h)) for h in (1, 2) for d in range(10)]
    result = render(cards, 64)
    grey = result.pictures.float().mean(1)
    for index in range(20):
        ink = (grey[index] < 90) & (result.masks[index] == 1)
        assert 30 < int(ink.sum()) < 500
    gaps = (grey[:, None] - grey[None]).abs().mean((2, 3)) + 99 * torch.eye(20)
    assert gaps.min() > 0.3


def test_shadows_fall_away_from_the_light() -> None:
    scene = next(s for s in draw(60, 9, count=1) if s.floor == "white" and s.things[0].shape == "sphere")
    empty = render([dataclasses.replace(scene, things=())], 64)
    full = render([scene], 64)
    darker = (empty.pictures.float() - full.pictures.float()).mean(1)[0] * (full.masks[0] == 0)
    columns = darker.clamp(min=0).sum(0)
    shade = float((columns * torch.arange(64)).sum() / columns.sum())
    thing = (full.masks[0] == 1).nonzero()[:, 1].float().mean()
    assert darker.max() > 40
    assert (shade > thing) == (scene.light.direction[0] < 0)


def test_inverse_depth_is_white_near() -> None:
    values = inverse_depth(torch.tensor([5.5, 7.0, 12.0]))
    assert values[0] == 1
    assert values[2] == 0
    assert 0 < values[1] < 1


def test_smoothing_only_touches_edges() -> None:
    scene = draw(1, 10, count=1)
    rough, smooth = render(scene, 64, samples=1), render(scene, 64)
    changed = (rough.pictures != smooth.pictures).any(1).float().mean()
    assert 0.01 < changed < 0.3
    with pytest.raises(ValueError, match="samples"):
        render(scene, 64, samples=3)


def test_kinds_cover_the_vocabulary() -> None:
    assert len(KINDS) == len(DISTANCES) == 7
