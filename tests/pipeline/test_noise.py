"""Noise against recorded draws of all sources, and independence of a picture from its batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pipeline.answering import REQUEST
from webui.pipeline.noise import Seeds, between, centred, drawing, initial, per_step, seeds_of
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


@pytest.mark.parametrize("source", ["CPU", "NV"])
def test_a_batch_has_the_recorded_noise_of_its_pictures_alone(source: str) -> None:
    assert_recorded(f"{source}/seeds[1,2] shape(4,8,8)", [Seeds(1, source), Seeds(2, source)])


RECORDED_SEEDS = {
    "seed1 subseed7 strength0.3": {"variation_seed": 7, "variation_strength": 0.3},
    "seed1 resize_from 32x48 (hxw px) to 64x64 px": {"cells": (4, 6)},
    "seed1 resize_from 96x96 px to 64x64 px": {"cells": (12, 12)},
    "seed1 ENSD31337": {"delta": 31337},
}


@pytest.mark.parametrize("source", ["CPU", "NV", "GPU"])
@pytest.mark.parametrize("name", sorted(RECORDED_SEEDS))
def test_everything_that_changes_a_seed_s_noise_gives_what_was_recorded(source: str, name: str) -> None:
    where = "NV" if source == "GPU" else source  # what a GPU draws, computed where there is none
    assert_recorded(f"{where}/{name}", [Seeds(1, source, **RECORDED_SEEDS[name])])


def test_every_recorded_value_is_tested() -> None:
    ours = {f"{source}/{name}" for source in ("CPU", "NV") for name in ("seeds[1,2] shape(4,8,8)", *RECORDED_SEEDS)}
    assert ours == set(RECORDED["image_rng"])


def assert_recorded(name: str, pictures: list[Seeds]) -> None:
    """Fail unless pictures of these seeds have the first six numbers and the sums of the three recorded draws."""
    steps = [per_step(seeds, SHAPE) for seeds in pictures]
    draws = [[initial(seeds, SHAPE) for seeds in pictures], *([noise(AT, 0.5) for noise in steps] for _ in range(2))]
    for drawn, (*values, total) in zip(draws, RECORDED["image_rng"][name], strict=True):
        assert first(drawn[0], 6) == values
        assert sum(float(each.abs().sum(dtype=torch.float64)) for each in drawn) == pytest.approx(total, rel=1e-6)


SOURCES = st.sampled_from(["CPU", "NV", "GPU"])


@given(source=SOURCES, seed=st.integers(0, 2**64 - 1))
@settings(max_examples=30, deadline=None)
def test_a_variation_of_no_strength_or_of_the_same_seed_is_none(source: str, seed: int) -> None:
    plain = initial(Seeds(seed, source), SHAPE)
    assert torch.equal(initial(Seeds(seed, source, variation_seed=7, variation_strength=0.0), SHAPE), plain)
    same = initial(Seeds(seed, source, variation_seed=seed, variation_strength=0.4), SHAPE)
    torch.testing.assert_close(same, plain)
    other = initial(Seeds(seed, source, variation_seed=9, variation_strength=1.0), SHAPE)
    torch.testing.assert_close(other, initial(Seeds(9, source), SHAPE), rtol=0, atol=1e-5)


@given(part=st.floats(0.05, 0.95), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_noise_between_two_lies_on_the_circle_through_both(part: float, seed: int) -> None:
    one, other = (each / each.norm(dim=-2, keepdim=True) for each in torch.randn(2, *SHAPE, generator=torch.manual_seed(seed)))
    found = between(one, other, part)
    torch.testing.assert_close(found.norm(dim=-2), torch.ones(4, 8))
    angle, whole = ((one * each).sum(-2).clamp(-1, 1).acos() for each in (found, other))
    torch.testing.assert_close(angle, part * whole, rtol=1e-3, atol=2e-3)


def test_columns_in_one_line_go_straight() -> None:
    one = torch.ones(1, 2, 1)
    assert torch.equal(between(one, one * 3, 0.5), one * 2) and torch.equal(between(one, -one, 0.25), one * 0.5)
    assert torch.equal(between(torch.zeros(1, 2, 1), one, 0.5), one * 0.5)  # there is no direction in nothing


@given(own=st.tuples(st.integers(1, 9), st.integers(1, 9)), room=st.tuples(st.integers(1, 9), st.integers(1, 9)))
@settings(max_examples=60, deadline=None)
def test_noise_of_another_size_lies_in_the_middle(own: tuple[int, int], room: tuple[int, int]) -> None:
    noise, around = torch.arange(1.0, 1 + own[0] * own[1]).view(1, *own), torch.zeros(1, *room)
    found = centred(noise, around)[0]
    wanted = [size if size <= space else size + 2 * ((space - size) // 2) for size, space in zip(own, room, strict=True)]
    for axis in (0, 1):
        filled = (found != 0).any(1 - axis).nonzero().flatten().tolist()
        start = max((room[axis] - own[axis]) // 2, 0)
        assert filled == (list(range(start, start + wanted[axis])) if min(wanted) > 0 else [])
    if own == room:
        assert torch.equal(found, noise[0])
    values = found[found != 0]
    assert len(values.unique()) == len(values)


def test_the_seeds_of_a_request_are_its_own() -> None:
    assert seeds_of(REQUEST, 8) == Seeds(5, "CPU", cells=(4, 8))
    more = replace(
        REQUEST, rng="NV", ensd=3, variation_seed=7, variation_strength=0.3, seed_width=128,
    )  # fmt: skip
    assert seeds_of(more, 8) == Seeds(5, "NV", 3, 7, 0.3, (4, 16))
    assert torch.equal(initial(seeds_of(REQUEST, 8), (4, 4, 8)), initial(5, (4, 4, 8)))


@pytest.mark.parametrize("source", ["CPU", "NV", "GPU"])
def test_a_generator_goes_on_and_is_nobody_else_s(source: str) -> None:
    one, again = drawing(source, 3, "cpu"), drawing(source, 3, "cpu")
    draws = [one(SHAPE) for _ in range(3)]
    assert all(torch.equal(again(SHAPE), each) for each in draws)
    assert not torch.equal(draws[0], draws[1]) and draws[0].dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("seed", [0, 42, 2**32 + 5])
def test_what_is_computed_is_what_a_gpu_draws(seed: int) -> None:
    theirs, ours = drawing("GPU", seed, "cuda"), drawing("NV", seed, "cuda")
    for _ in range(3):
        torch.testing.assert_close(theirs((4, 64, 64)).cpu(), ours((4, 64, 64)), rtol=0, atol=2e-5)


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
    for seeds in (Seeds(3), Seeds(3, "NV"), Seeds(3, "GPU"), Seeds(3, cells=(4, 4))):
        assert initial(seeds, SHAPE, device="meta").device.type == "meta"
    assert per_step(3, SHAPE, device="meta")(AT, 0.5).device.type == "meta"


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**64 - 1])
def test_seeds_at_the_edge_of_64_bits_are_seeds(seed: int) -> None:
    assert torch.equal(initial(seed, SHAPE), initial(seed, SHAPE)) and initial(seed, SHAPE).isfinite().all()
    for source in ("CPU", "NV"):
        shifted = per_step(Seeds(seed, source, delta=31337), SHAPE)(AT, 0.5)
        assert not torch.equal(shifted, initial(Seeds(seed, source), SHAPE))
        assert torch.equal(initial(Seeds(seed, source), SHAPE), initial(Seeds(seed % 2**64, source), SHAPE))
