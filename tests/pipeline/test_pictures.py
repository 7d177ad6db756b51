"""Pictures on the host: what is transparent, drawings over them, and how they are fitted into a size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.pipeline.answering import coloured, in_bytes
from webui.pipeline.pictures import SMOOTH, Fit, blended, laid_over, opaque, unit, whole_cells
from webui.tasks import CROP, FILL, LATENT, STRETCH

SIDE = st.integers(1, 40)
MODES = [STRETCH, CROP, FILL, LATENT]


def test_bytes_are_the_same_after_a_trip_through_numbers() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16).expand(3, 16, 16)
    assert torch.equal(in_bytes(unit(every)), every)


def test_what_is_transparent_lies_on_white_paper() -> None:
    picture = coloured(5, 4)
    assert torch.equal(opaque(picture), picture[:3])
    picture[3] = 0
    assert bool((opaque(picture) == 255).all())
    picture[3], picture[:3] = 51, 100
    assert bool((opaque(picture) == 224).all())  # 100 / 5 + 255 * 4 / 5


def test_a_drawing_lies_over_the_picture_at_its_size() -> None:
    picture, sketch = coloured(8, 6), torch.zeros(4, 3, 4, dtype=torch.uint8)
    assert torch.equal(laid_over(picture, sketch), picture)
    sketch[:, :, :2] = torch.tensor([200, 10, 30, 255], dtype=torch.uint8)[:, None, None]
    found = laid_over(picture, sketch)
    assert found[:, 3, 0].tolist() == [200, 10, 30, 255] and torch.equal(found[:, :, 7], picture[:, :, 7])


@given(own_width=SIDE, own_height=SIDE, width=SIDE, height=SIDE, mode=st.sampled_from(MODES))
@settings(max_examples=80, deadline=None)
def test_every_fit_has_the_size_asked_for_and_leaves_even_pictures_even(
    own_width: int, own_height: int, width: int, height: int, mode: str
) -> None:
    fit = Fit.of(mode, width, height, own_width, own_height)
    even = torch.full((3, own_height, own_width), 77, dtype=torch.uint8)
    assert torch.equal(fit(even), torch.full((3, height, width), 77, dtype=torch.uint8))
    assert torch.equal(fit(torch.ones(own_height, own_width)), torch.ones(height, width))


@pytest.mark.parametrize("mode", MODES)
def test_a_picture_that_has_the_size_is_not_touched(mode: str) -> None:
    picture = coloured(13, 9)[:3]
    assert torch.equal(Fit.of(mode, 13, 9, 13, 9)(picture), picture)


def test_stretching_is_lanczos() -> None:
    picture = coloured(13, 9)[:3]
    theirs = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((20, 30), Image.Resampling.LANCZOS)
    assert np.array_equal(Fit.of(STRETCH, 20, 30, 13, 9)(picture).permute(1, 2, 0).numpy(), np.array(theirs))


def test_cropping_keeps_the_middle_and_filling_keeps_all() -> None:
    picture = torch.zeros(3, 10, 30, dtype=torch.uint8)
    picture[0, :, :10], picture[1, :, 10:20], picture[2, :, 20:] = 255, 255, 255
    crop = Fit.of(CROP, 10, 10, 30, 10)(picture)
    assert torch.equal(crop, picture[:, :, 10:20])
    fill = Fit.of(FILL, 30, 50, 30, 10)(picture)
    assert torch.equal(fill[:, 20:30], picture)
    assert torch.equal(fill[:, 0], picture[:, 0]) and torch.equal(fill[:, -1], picture[:, 0])


def test_a_mask_of_another_size_is_fitted_to_the_same_place() -> None:
    mask = torch.zeros(20, 60)
    mask[:, 20:40] = 1  # the middle third, at twice the picture's size
    found = Fit.of(CROP, 10, 10, 30, 10)(mask, SMOOTH)
    assert torch.equal(found[:, 1:-1], torch.ones(10, 8)) and float(found.min()) > 0.8


@given(width=st.integers(4, 40), height=st.integers(4, 40), own_width=SIDE, own_height=SIDE)
@settings(max_examples=40, deadline=None)
def test_what_was_filled_up_is_taken_off_again(width: int, height: int, own_width: int, own_height: int) -> None:
    fit = Fit.of(FILL, width, height, own_width, own_height)
    left, top, right, bottom = fit.inner
    drawn = torch.zeros(3, height, width)
    drawn[:, top:bottom, left:right] = 0.5
    assert torch.equal(fit.back(drawn, own_width, own_height), torch.full((3, own_height, own_width), 0.5))


@given(width=SIDE, height=SIDE)
@settings(max_examples=30, deadline=None)
def test_cells_are_whole_and_what_is_added_continues_the_edge(width: int, height: int) -> None:
    picture = unit(coloured(width, height)[:3])
    found = whole_cells(picture, 8)
    assert found.shape[-1] % 8 == found.shape[-2] % 8 == 0 and found.shape[-1] - width < 8 > found.shape[-2] - height
    assert torch.equal(found[:, :height, :width], picture)
    assert torch.equal(found[:, :height, width:], picture[:, :, -1:].expand(3, height, found.shape[-1] - width))


def test_blending_happens_in_between_alone() -> None:
    old, new = torch.rand(3, 4, 5), torch.rand(3, 4, 5)
    mask = torch.tensor([[0.0, 1e-3, 0.5, 0.999, 1.0]]).expand(4, 5)
    found = blended(old, new, mask)
    assert torch.equal(found[..., 0], old[..., 0]) and torch.equal(found[..., 4], new[..., 4])
    assert torch.allclose(found[..., 2], (old[..., 2] + new[..., 2]) / 2)
    poisoned = blended(old, torch.full_like(new, float("nan")), torch.zeros(4, 5))
    assert torch.equal(poisoned, old)
