"""The figures of depth: perfect eyes on perfect pictures reach the top, other scenes' pictures do not, and colours are new."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.structure import (
    SEED,
    THRESHOLDS,
    Trials,
    choose_threshold,
    correlation,
    likeness,
    make_trials,
    overlap,
    recoloured,
    relative_error,
)
from models.builtin.recipe.vocabulary import WITHHELD


class Oracle(nn.Module):
    """Knows the true depth of each picture of some trials, whatever colours it has."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self.known = {picture.numpy().tobytes(): depth for picture, depth in zip(trials.pictures, trials.depth, strict=True)}

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.stack([1 / self.known[(255 * picture).round().to(torch.uint8).numpy().tobytes()] for picture in pictures])


@pytest.fixture(scope="module")
def trials() -> Trials:
    return make_trials(6, seed=3)


def test_new_colours_are_new_allowed_and_leave_the_rest() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3) * 20:
        scene = sample_scene(rng, count=count)
        other = recoloured(scene, rng)
        assert not {thing.colour for thing in scene.things} & {thing.colour for thing in other.things}
        pairs = [(thing.colour, thing.shape) for thing in other.things]
        assert not set(pairs) & set(WITHHELD) and len(set(pairs)) == count
        assert [(thing.shape, thing.position, thing.size) for thing in other.things] == [
            (thing.shape, thing.position, thing.size) for thing in scene.things
        ]
        assert other.camera == scene.camera and other.floor == scene.floor
        assert not (other.floor == "white" and any(thing.colour == "white" for thing in other.things))


def test_trials_are_scenes_of_things_with_captions_of_their_new_colours(trials: Trials) -> None:
    assert {prompt.count for prompt in trials.prompts} <= {1, 2, 3}
    for prompt in trials.prompts:
        assert all(thing.colour.replace("grey", "gr") in prompt.text.replace("gray", "grey") for thing in prompt.things)
    assert bool((trials.empty >= trials.depth - 1e-4).all())
    assert bool((trials.empty == trials.depth)[~trials.masks].all())
    assert all(mask.any() for mask in trials.masks)
    assert float(trials.maps.min()) >= 0 and float(trials.maps.max()) <= 1
    assert bool(trials.maps[trials.depth < 7].mean() > trials.maps[trials.depth > 10].mean())


def test_perfect_eyes_see_true_pictures_as_they_are_and_others_as_they_are_not(trials: Trials) -> None:
    oracle = Oracle(trials)
    assert relative_error(oracle, trials) < 0.01  # type: ignore[arg-type]
    alike, shared = likeness(oracle, trials.pictures, trials, 0.1)  # type: ignore[arg-type]
    assert alike > 0.999 and shared > 0.9
    other, less = likeness(oracle, trials.pictures.roll(1, dims=0), trials, 0.1)  # type: ignore[arg-type]
    assert other < 0.3 and less < 0.5


def test_the_threshold_is_the_one_whose_masks_agree_best(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_trials(4, seed=5)
    monkeypatch.setattr("models.builtin.recipe.structure.make_trials", lambda count, seed: made)
    found = choose_threshold(Oracle(made))  # type: ignore[arg-type]
    scores = {each: float(overlap(made.empty - made.depth > each, made.masks).mean()) for each in THRESHOLDS}
    assert scores[found] == max(scores.values())


def test_overlap_and_correlation_are_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.normal(size=(3, 5, 5))) for _ in range(2))
    where = torch.from_numpy(rng.random((3, 5, 5)) < 0.6)
    for index in range(3):
        expected = np.corrcoef(a[index][where[index]], b[index][where[index]])[0, 1]
        assert float(correlation(a, b, where)[index]) == pytest.approx(expected, abs=1e-9)
        one, two = a[index] > 0, b[index] > 0
        assert float(overlap(a > 0, b > 0)[index]) == pytest.approx(float((one & two).sum() / (one | two).sum()))
    flat = torch.zeros(1, 5, 5)
    assert float(correlation(flat, a[:1], where[:1])) == 0 and float(overlap(flat > 0, flat > 0)) == 0


def test_the_seed_is_no_other_sets() -> None:
    from models.builtin.recipe.evaluate import HELD_OUT_SEED
    from models.builtin.recipe.fitting import SEED as TRAINED_ON

    assert len({SEED, HELD_OUT_SEED, TRAINED_ON}) == 3
