"""The lesson with depth maps: maps follow the rule of depth networks, and a widened network begins as the one before it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from models.builtin.recipe.dataset import DataSet
from models.builtin.recipe.depth import GAMMA, MAP_DROPOUT, NO_MAP, Maps, at_size, channel, maps_of, narrow_down, widen
from models.builtin.recipe.networks import model_spec
from webui.nets.spec import UNetSpec
from webui.nets.unet import UNetModel
from webui.pipeline.depth import depth_channel

CPU = torch.device("cpu")
NARROW = UNetSpec(
    in_channels=2, out_channels=2, model_channels=8, channel_mult=(1, 2), res_blocks=1, transformer_depth=(0, 1), context_width=8,
    heads=2, groups=4,
)  # fmt: skip
WIDE = dataclasses.replace(NARROW, in_channels=3)


def network(spec: UNetSpec, seed: int) -> UNetModel:
    """A network none of whose layers is zero, as after training."""
    torch.manual_seed(seed)
    made = UNetModel(spec).requires_grad_(False)
    for parameter in made.parameters():
        parameter += 0.05 * torch.randn(parameter.shape)
    return made


def answer(unet: UNetModel, latent: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    predicted: Tensor = unet(latent, torch.tensor([300.0] * len(latent)), torch.randn(len(latent), 3, 8, generator=generator))
    return predicted


def test_a_widened_network_answers_as_before_whatever_the_map_shows() -> None:
    before, wide = network(NARROW, 0), network(WIDE, 1)
    widen(wide, before)
    latent = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    for map_ in (torch.zeros(2, 1, 8, 8), torch.randn(2, 1, 8, 8)):
        assert torch.allclose(answer(wide, torch.cat([latent, map_], dim=1)), answer(before, latent), atol=1e-6)


def test_a_network_narrowed_down_answers_as_the_wide_one_without_a_map() -> None:
    wide, narrow = network(WIDE, 3), network(NARROW, 4)
    narrow_down(narrow, wide)
    latent = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(5))
    without = torch.cat([latent, torch.full((2, 1, 8, 8), NO_MAP)], dim=1)
    assert torch.allclose(answer(narrow, latent), answer(wide, without), atol=1e-6)
    with_map = torch.cat([latent, torch.randn(2, 1, 8, 8)], dim=1)
    assert not torch.allclose(answer(narrow, latent), answer(wide, with_map), atol=1e-2)


@given(st.integers(0, 1000), st.floats(0.001, 50), st.floats(-20, 20), st.floats(-GAMMA, GAMMA))
def test_a_channel_goes_from_far_to_near_whatever_the_maps_scale(seed: int, scale: float, shift: float, gamma: float) -> None:
    disparity = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    powers = torch.full((2,), np.exp(gamma), dtype=torch.float64)
    found = channel(scale * disparity + shift, powers)
    assert torch.allclose(found, channel(disparity, powers), atol=1e-4)
    assert torch.equal(found.amin(dim=(1, 2, 3)), torch.tensor([-1.0, -1.0], dtype=torch.float64))
    assert torch.allclose(found.amax(dim=(1, 2, 3)), torch.tensor([1.0, 1.0], dtype=torch.float64))
    assert torch.equal(found.flatten(1).argsort(dim=1), disparity.flatten(1).argsort(dim=1))


def test_one_map_does_not_change_another_and_a_flat_one_is_no_trouble() -> None:
    maps = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    beside = torch.cat([maps[:1], 100 * maps[1:], torch.full((1, 1, 4, 4), 7.0)])
    found = channel(beside, torch.ones(3))
    assert torch.equal(found[:1], channel(maps[:1], torch.ones(1)))
    assert found.isfinite().all() and found[2].unique().numel() == 1


def test_maps_are_sampled_where_a_smaller_picture_would_have_its_pixels() -> None:
    ramp = torch.arange(32, dtype=torch.float32).expand(1, 1, 32, 32)
    small = at_size(ramp, 8)[0, 0, 4]
    assert torch.allclose(small[2:-2], torch.arange(8)[2:-2] * 4 + 1.5, atol=1e-4)


def test_the_product_shows_the_network_what_training_did() -> None:
    depth = torch.rand(128, 128, generator=torch.Generator().manual_seed(0))
    taught = channel(at_size(depth[None, None], 16), torch.ones(1))[0]
    assert torch.allclose(depth_channel(depth, model_spec(700), 16, 16, "cpu"), taught, atol=1e-5)


def a_set(depth: np.ndarray) -> DataSet:
    return DataSet(shard=len(depth), pictures=[], masks=[], depth=[depth], scenes=())


def test_maps_of_a_set_are_disparity_and_mirror_with_their_pictures() -> None:
    depth = np.random.default_rng(0).uniform(6, 12, (3, 16, 16)).astype(np.float16)
    maps = maps_of(a_set(depth), 4, CPU)
    assert maps.disparity.shape == (3, 1, 4, 4)
    assert torch.allclose(maps.disparity.float(), at_size(1 / torch.from_numpy(depth).float()[:, None], 4), atol=1e-4)
    seeds = [seed for seed in range(40) if (np.random.default_rng(seed).uniform(size=4)[2:] > MAP_DROPOUT).all()]
    turned = np.random.default_rng(seeds[0])
    one, other = maps.take(np.array([1, 2]), np.array([False, True]), turned)
    plain, mirrored = maps.take(np.array([1, 2]), np.array([True, False]), np.random.default_rng(seeds[0]))
    assert torch.equal(one, plain.flip(-1)) and torch.equal(other, mirrored.flip(-1))
    assert not torch.equal(one, plain) and not torch.equal(other, mirrored)


def test_maps_are_left_out_as_often_as_they_should_and_whole() -> None:
    maps = Maps(disparity=torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).half())
    taken = maps.take(np.zeros(2000, dtype=int), np.zeros(2000, dtype=bool), np.random.default_rng(2))
    empty = (taken == NO_MAP).flatten(1).all(dim=1)
    assert float(empty.float().mean()) == pytest.approx(MAP_DROPOUT, abs=0.04)
    assert bool((taken[~empty].amax(dim=(1, 2, 3)) == 1).all())
    middles = taken[~empty].flatten(1).median(dim=1).values
    assert float(middles.std()) > 0.02  # each has a power of its own
