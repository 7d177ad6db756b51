"""Masks: grown by discs, blurred as a Gaussian, boxed, and as cells of a latent; colours that run into them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from webui.pipeline.masks import blurred, bounds, cells, grown, spread, surroundings

SIDE = st.integers(1, 24)


def mask_of(width: int, height: int, seed: int, share: float = 0.1) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return (torch.rand(height, width, generator=source) < share).float()


def distances(mask: Tensor) -> np.ndarray:
    """From each pixel to the next that is painted; infinite where none is."""
    painted = np.argwhere(mask.numpy() > 0)
    if not len(painted):
        return np.full(mask.shape, math.inf)
    rows, columns = np.indices(mask.shape)
    apart = (rows[..., None] - painted[:, 0]) ** 2 + (columns[..., None] - painted[:, 1]) ** 2
    return np.sqrt(apart.min(-1))


@given(width=SIDE, height=SIDE, pixels=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_mask_grows_by_a_disc_and_shrinks_as_its_opposite_grows(width: int, height: int, pixels: int, seed: int) -> None:
    mask = mask_of(width, height, seed)
    assert torch.equal(grown(mask, pixels), torch.from_numpy(distances(mask) <= pixels).float())
    assert torch.equal(grown(1 - mask, -pixels), 1 - grown(mask, pixels))


def test_shades_grow_too_and_a_full_mask_does_not_shrink_at_the_edge_of_the_picture() -> None:
    mask = torch.zeros(9, 9)
    mask[4, 4] = 0.25
    assert float(grown(mask, 2)[4, 2]) == 0.25 and float(grown(mask, 2)[2, 2]) == 0
    assert torch.equal(grown(torch.ones(5, 7), -4), torch.ones(5, 7))


@pytest.mark.parametrize("value", [0.0, 1.0])
@given(width=SIDE, height=SIDE, deviation=st.integers(0, 64))
@settings(max_examples=20, deadline=None)
def test_an_even_mask_stays_itself_under_any_blur(value: float, width: int, height: int, deviation: int) -> None:
    assert torch.equal(blurred(torch.full((height, width), value), deviation), torch.full((height, width), value))


@given(seed=st.integers(0, 99), deviation=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_a_blur_is_a_gaussian_that_ends_and_keeps_shades_of_bytes(seed: int, deviation: int) -> None:
    mask = torch.zeros(41, 37)
    mask[10:30, 9:28] = mask_of(19, 20, seed, 0.3)
    found = blurred(mask, deviation)
    reach = int(2.5 * deviation + 0.5)
    rows, columns = np.indices((2 * reach + 1, 2 * reach + 1)) - reach
    kernel = np.exp(-(rows**2 + columns**2) / (2 * deviation**2))
    padded = np.pad(mask.numpy().astype(float), reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    expected = np.einsum("hwij,ij->hw", windows, kernel / kernel.sum())
    assert np.abs(found.numpy() - expected).max() <= 0.51 / 255
    assert torch.equal((found * 255).round() / 255, found)
    assert not (found.numpy()[distances(mask) > math.sqrt(2) * reach] > 0).any()


@given(width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_cell_acts_where_any_of_its_pixels_is_masked(width: int, height: int, seed: int) -> None:
    mask = mask_of(width, height, seed, 0.02)
    found = cells(mask, 8)
    assert found.shape == (1, -(-height // 8), -(-width // 8))
    for row, column in mask.nonzero().tolist():
        assert float(found[0, row // 8, column // 8]) == 1
    inside = {(row // 8, column // 8) for row, column in mask.nonzero().tolist()}
    assert int(found.sum()) == len(inside)


@given(
    seed=st.integers(0, 99), width=st.integers(4, 60), height=st.integers(4, 60), padding=st.integers(0, 40),
    shape=st.sampled_from([0.25, 1.0, 1.5, 4.0]),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_box_holds_the_mask_and_its_padding_and_has_the_shape_where_there_is_room(
    seed: int, width: int, height: int, padding: int, shape: float
) -> None:
    mask = mask_of(width, height, seed, 0.02)
    own = bounds(mask)
    if own is None:
        assert not bool((mask > 0).any())
        return
    outside = mask.clone()
    outside[own[1] : own[3], own[0] : own[2]] = 0
    assert not bool((outside > 0).any())
    left, top, right, bottom = surroundings(own, padding, shape, width, height)
    assert 0 <= left <= max(own[0] - padding, 0) and 0 <= top <= max(own[1] - padding, 0)
    assert min(own[2] + padding, width) <= right <= width and min(own[3] + padding, height) <= bottom <= height
    across, down = right - left, bottom - top
    full = across == width or down == height
    assert full or abs(across - down * shape) <= max(1, shape)


@given(seed=st.integers(0, 99), width=st.integers(1, 40), height=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_colours_run_inwards_and_leave_the_rest(seed: int, width: int, height: int) -> None:
    picture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    mask = mask_of(width, height, seed, 0.6)
    found = spread(picture, mask)
    known = mask == 0
    assert torch.equal(found[:, known], picture[:, known])
    if bool(known.any()):
        for channel in range(3):
            low, high = float(picture[channel][known].min()), float(picture[channel][known].max())
            assert low - 1e-5 <= float(found[channel].min()) and float(found[channel].max()) <= high + 1e-5
    else:
        assert torch.equal(found, torch.full_like(found, 0.5))


def test_what_is_masked_gets_the_colour_that_is_near() -> None:
    picture = torch.zeros(3, 16, 64)
    picture[0, :, :32], picture[2, :, 32:] = 1, 1
    mask = torch.zeros(16, 64)
    mask[4:12, 4:12], mask[4:12, 52:60] = 1, 1
    picture[:, mask > 0] = 0.5
    found = spread(picture, mask)
    assert float(found[0, 8, 8]) > 0.9 > 0.1 > float(found[2, 8, 8])
    assert float(found[2, 8, 56]) > 0.9 > 0.1 > float(found[0, 8, 56])


@pytest.mark.parametrize("pixels", [3, -3, 40, -40])
@pytest.mark.parametrize("levels", [255, 65535])
def test_growing_makes_no_shade_that_was_not_there(levels: int, pixels: int) -> None:
    """Whether a mask's values are those of bytes, which are grown as such, or finer ones; and the finer are grown alike."""
    mask = torch.randint(0, levels + 1, (23, 31), generator=torch.Generator().manual_seed(1)) / levels
    found = grown(mask, pixels)
    if levels == 255 or pixels > 0:
        assert set(found.unique().tolist()) <= set(mask.unique().tolist())
    nudged = mask.clone()
    nudged[0, 0] = (nudged[0, 0] - 1e-4).abs()  # no byte's value any more
    assert torch.allclose(grown(nudged, pixels), found, atol=2e-4)
