"""The estimator's lesson: what it is shown, and what it ships as."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.builtin.recipe.estimator import (
    MIDDLE,
    SPREAD,
    THING_WEIGHT,
    estimator_loss,
    every_other,
    in_training_units,
    lowered,
    mirrored,
    new_estimator,
    rescaled,
    worn,
)
from webui.nets.depth_small import DEPTH_KEY, SmallDepthSpec
from webui.weights.files import read_header

SHIPPED = Path(__file__).parents[2] / "models" / "builtin" / "depth.safetensors"


@given(st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 1), st.integers(1, 5))
def test_the_pixels_compared_are_those_whose_depth_the_set_has(flips: list[bool], rows: int, half: int) -> None:
    """A picture whose every pixel holds its own depth, seen by perfect eyes, leaves nothing wrong."""
    turned = np.array(flips)
    depth = np.random.default_rng(half).uniform(6, 12, (len(flips), 2 * half, 2 * half)).astype(np.float32)
    pictures = torch.from_numpy(mirrored(depth[:, None], turned))
    found = every_other(lowered(pictures, rows)[:, 0], turned, rows)
    assert torch.equal(found, torch.from_numpy(mirrored(depth[:, ::2, ::2], turned)))


def test_mirrored_turns_some_and_changes_nothing_it_was_given() -> None:
    arrays = np.arange(12).reshape(2, 2, 3)
    found = mirrored(arrays, np.array([True, False]))
    assert found.tolist() == [arrays[0, :, ::-1].tolist(), arrays[1].tolist()]
    assert arrays.tolist() == np.arange(12).reshape(2, 2, 3).tolist()


def test_the_loss_is_nothing_for_the_truth_and_counts_things_more() -> None:
    true = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    things = torch.zeros(2, 6, 6, dtype=torch.bool)
    things[:, 2:4, 2:4] = True
    assert float(estimator_loss(true, true, things)["loss"]) == 0
    off = estimator_loss(true + 1, true, things)
    assert float(off["loss"]) == pytest.approx(1, abs=1e-6)  # a shift has no edges
    inside, outside = (true + where for where in (things.float(), (~things).float()))
    wrong = THING_WEIGHT * 8 / (THING_WEIGHT * 8 + 64)
    across = 2 * 2 * 2 * 2 / (2 * 6 * 5)  # two edges of two pixels each way in both pictures
    assert float(estimator_loss(inside, true, things)["loss"]) == pytest.approx(wrong + across, abs=1e-5)
    assert float(estimator_loss(outside, true, things)["loss"]) == pytest.approx(1 - wrong + across, abs=1e-5)
    disparity = true[:1] * SPREAD + MIDDLE
    expected = ((disparity + 0.1 * SPREAD - disparity) / disparity).abs().mean()
    found = estimator_loss(true[:1] + 0.1, true[:1], things[:1])["relative error"]
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_worn_pictures_are_pictures_each_worn_by_itself() -> None:
    pictures = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).expand(6, 3, 16, 16)
    found = worn(pictures, torch.Generator().manual_seed(1))
    assert found.shape == pictures.shape and float(found.min()) >= 0 and float(found.max()) <= 1
    assert len({round(float(each.std()), 4) for each in found}) == 6
    assert torch.equal(found, worn(pictures, torch.Generator().manual_seed(1)))
    assert float((found - pictures).abs().mean()) < 0.3


def test_what_ships_tells_disparity_and_goes_back_to_training_units() -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = new_estimator(torch.device("cpu"))(picture)
        shipped = rescaled(new_estimator(torch.device("cpu")), SPREAD, MIDDLE)
        assert torch.allclose(shipped(picture), plain * SPREAD + MIDDLE, atol=1e-6)
        assert torch.allclose(in_training_units(shipped)(picture), plain, atol=1e-4)


def test_the_file_that_ships_says_what_it_is() -> None:
    header = read_header(SHIPPED)
    assert SmallDepthSpec.from_json(json.loads(header.metadata[DEPTH_KEY])) == SmallDepthSpec()
    assert header.metadata["modelspec.title"] and header.metadata["modelspec.license"]
    assert {info.dtype for info in header.tensors.values()} == {"F16"}
    assert SHIPPED.stat().st_size == pytest.approx(1_050_000, rel=0.05)
