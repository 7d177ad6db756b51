"""Noise against recorded draws of torch's CPU generator, and independence of a picture from its batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from webui.pipeline.noise import initial, per_step
from webui.pipeline.protocol import Moment

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "noise.json").read_text())
SHAPE = (4, 8, 8)
AT = Moment(sigma=1.0, step=0, steps=2)


def first(tensor: Tensor, count: int) -> list[float]:
    return tensor.flatten()[:count].tolist()


@pytest.mark.parametrize("seed", sorted(map(int, RECORDED["torch_cpu"])))
def test_a_seed_gives_the_recorded_noise(seed: int) -> None:
    recorded = RECORDED["torch_cpu"][str(seed)]
    assert first(initial(seed, (4, 64, 64)), 8) == recorded["first8_call0"]
    assert first(per_step(seed, (4, 64, 64))(AT, 0.5), 8) == recorded["first8_call1"]


def test_a_batch_has_the_recorded_noise_of_its_pictures_alone() -> None:
    recorded = RECORDED["image_rng"]["CPU/seeds[1,2] shape(4,8,8)"]
    steps = [per_step(seed, SHAPE) for seed in (1, 2)]
    draws = [[initial(seed, SHAPE) for seed in (1, 2)], *([noise(AT, 0.5) for noise in steps] for _ in range(2))]
    for pictures, (*values, total) in zip(draws, recorded, strict=True):
        assert first(pictures[0], 6) == values
        assert sum(float(picture.abs().sum(dtype=torch.float64)) for picture in pictures) == pytest.approx(total, rel=1e-6)


def test_a_seed_delta_changes_the_steps_and_not_the_start() -> None:
    recorded = RECORDED["image_rng"]["CPU/seed1 ENSD31337"]
    noise = per_step(1, SHAPE, seed_delta=31337)
    for tensor, (*values, _) in zip((initial(1, SHAPE), noise(AT, 0.5), noise(AT, 0.5)), recorded, strict=True):
        assert first(tensor, 6) == values


def test_others_who_draw_between_change_nothing() -> None:
    alone = per_step(5, SHAPE)
    expected = [alone(AT, 0.5) for _ in range(3)]
    mine, other = per_step(5, SHAPE), per_step(6, SHAPE)
    torch.manual_seed(99)
    for tensor in expected:
        other(AT, 0.5)
        initial(5, SHAPE)
        torch.randn(3)
        assert torch.equal(mine(AT, 0.5), tensor)


def test_the_state_of_torch_itself_is_left_alone() -> None:
    before = torch.get_rng_state()
    initial(3, SHAPE)
    per_step(3, SHAPE)(AT, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_is_single_precision_whatever_the_default() -> None:
    expected = initial(3, SHAPE)
    torch.set_default_dtype(torch.float64)
    try:
        found = initial(3, SHAPE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_noise_goes_where_it_is_asked_for() -> None:
    assert initial(3, SHAPE, device="meta").device.type == "meta"
    assert per_step(3, SHAPE, device="meta")(AT, 0.5).device.type == "meta"


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**64 - 1])
def test_seeds_at_the_edge_of_64_bits_are_seeds(seed: int) -> None:
    assert torch.equal(initial(seed, SHAPE), initial(seed, SHAPE)) and initial(seed, SHAPE).isfinite().all()
    assert not torch.equal(per_step(seed, SHAPE, seed_delta=31337)(AT, 0.5), initial(seed, SHAPE))
