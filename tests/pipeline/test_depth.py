"""Depth maps: where they come from, what is done to them, and what a depth network reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from tests.pipeline.answering import REQUEST, Engine, coloured, made, spec_of, with_channels
from tests.tiny_checkpoint import SPEC
from webui.errors import UserError
from webui.pipeline.depth import adjusted, depth_channel, spanned
from webui.pipeline.generate import depth_map
from webui.pipeline.given import Given
from webui.pipeline.pictures import Fit, unit
from webui.pipeline.protocol import Call, EncodePicture, Rows
from webui.tasks import CROP

DEPTH = replace(REQUEST, task="depth")
MODEL = with_channels(5)
SIDE = st.integers(1, 40)


def ramp(width: int, height: int) -> Tensor:
    return torch.linspace(0, 1, width).expand(height, width).contiguous()


@given(width=SIDE, height=SIDE, value=st.floats(-1e4, 1e4), seed=st.integers(0, 9), flat=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_channel_is_finite_and_from_minus_1_to_1_whatever_the_map(
    width: int, height: int, value: float, seed: int, flat: bool
) -> None:
    values = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) * (0 if flat else 3) + value
    found = depth_channel(values, SPEC, 4, 5, "cpu")
    assert found.shape == (1, 4, 5) and bool(found.isfinite().all())
    if flat or (width, height) == (1, 1):
        assert torch.equal(found, torch.full_like(found, -1.0))
    else:
        assert float(found.min()) == -1 and float(found.max()) == 1


def test_a_channel_is_the_map_resized_first_and_normalised_then() -> None:
    depth = torch.rand(32, 64, generator=torch.Generator().manual_seed(1))
    small = interpolate(depth[None, None], size=(4, 8), mode="bicubic", align_corners=False)[0]
    expected = 2 * (small - small.min()) / (small.max() - small.min()) - 1
    assert torch.allclose(depth_channel(depth, SPEC, 4, 8, "cpu"), expected, atol=1e-6)


def test_a_network_that_was_taught_with_smoothed_maps_is_shown_such_a_one() -> None:
    depth = torch.zeros(64, 64)
    depth[:, ::8] = 1  # lines that single pixels in the middle of cells do not show
    depth[:, :8] = 1
    plain, smooth = (depth_channel(depth, replace(SPEC, smooth_map=each), 8, 8, "cpu") for each in (False, True))
    small = interpolate(depth[None, None], size=(8, 8), mode="bicubic", align_corners=False, antialias=True)[0]
    assert torch.allclose(smooth, 2 * (small - small.min()) / (small.max() - small.min()) - 1, atol=1e-6)
    assert (smooth - plain).abs().max() > 0.1


@given(scale=st.floats(0.01, 1e4), shift=st.floats(-100, 100))
@settings(max_examples=30, deadline=None)
def test_an_estimator_s_scale_does_not_matter(scale: float, shift: float) -> None:
    assert torch.allclose(spanned(ramp(9, 3) * scale + shift), ramp(9, 3), atol=1e-2 if abs(shift) > 1e3 * scale else 1e-3)


def test_a_map_is_inverted_first_and_clipped_then() -> None:
    depth = ramp(11, 2)
    assert torch.equal(adjusted(depth, DEPTH), depth)
    assert torch.equal(adjusted(depth, replace(DEPTH, depth_invert=True)), 1 - depth)
    near = adjusted(depth, replace(DEPTH, depth_invert=True, depth_near=0.5))
    assert torch.allclose(near, ((1 - depth) * 2).clamp(max=1))
    both = adjusted(depth, replace(DEPTH, depth_near=0.75, depth_far=0.25))
    assert float(both[0, 0]) == 0 and float(both[0, -1]) == 1 and abs(float(both[0, 5]) - 0.5) < 1e-6
    swapped = adjusted(depth, replace(DEPTH, depth_near=0.0, depth_far=1.0))
    assert torch.allclose(swapped, 1 - depth)
    step = adjusted(depth, replace(DEPTH, depth_near=0.5, depth_far=0.5))
    assert step.unique().tolist() == [0, 1]


def test_every_row_gets_the_map_that_is_given_and_nothing_is_estimated() -> None:
    engine, depth = Engine(), torch.rand(32, 64, generator=torch.Generator().manual_seed(2))
    picture = made(replace(DEPTH, loops=2), Given(picture=coloured(64, 32), depth=depth), engine, MODEL, estimator="depth:a")
    assert torch.equal(picture.maps["depth"], depth) and not engine.of(Call)
    expected = depth_channel(depth, SPEC, 4, 8, "cpu")
    for ask in engine.of(Rows):
        first, second = ask.rows
        assert first.channels is second.channels and torch.equal(first.channels, expected)


@given(width=st.integers(16, 60), height=st.integers(16, 60), loops=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_a_map_is_made_of_the_fitted_picture_once(width: int, height: int, loops: int) -> None:
    engine, picture = Engine(), coloured(50, 40)
    wanted = replace(DEPTH, width=width, height=height, loops=loops, resize_mode=CROP)
    result = made(wanted, Given(picture=picture), engine, MODEL, estimator="depth:a")
    (ask,) = engine.of(Call)
    fitted = unit(Fit.of(CROP, width, height, 50, 40)(picture[:3]))
    assert ask.network == "depth:a" and torch.equal(ask.inputs["picture"], fitted)
    assert torch.equal(result.maps["depth"], spanned(fitted.mean(0) * 7 - 3)) and result.pixels.shape == (3, height, width)


def test_a_map_alone_is_enough_and_is_fitted_as_a_picture_would_be() -> None:
    engine = Engine()
    depth = torch.zeros(20, 60)
    depth[:, 20:40] = ramp(20, 20)
    result = made(replace(DEPTH, width=48, height=48, resize_mode=CROP, strength=0.3), Given(depth=depth), engine, MODEL)
    assert result.pixels.shape == (3, 48, 48) and not engine.of(EncodePicture) and len(engine.rows) == DEPTH.steps
    middle = result.maps["depth"][24]
    assert result.maps["depth"].shape == (48, 48) and bool((middle[1:-2].diff() > 0).all())


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_below_full_strength_the_picture_is_noised_too(strength: float) -> None:
    engine = Engine()
    made(replace(DEPTH, strength=strength), Given(picture=coloured(64, 32)), engine, MODEL, estimator="depth:a")
    assert len(engine.of(EncodePicture)) == (strength < 1) and len(engine.of(Call)) == 1


@pytest.mark.parametrize(("no_map", "value"), [(None, -1.0), (0.0, 0.0), (0.25, 0.25)])
@pytest.mark.parametrize("task", ["txt2img", "img2img", "inpaint", "depth"])
def test_without_a_map_the_channel_holds_what_the_model_takes_for_none(task: str, no_map: float | None, value: float) -> None:
    engine, model = Engine(), with_channels(5, no_map=no_map)
    brought = Given(picture=coloured(64, 32), mask=torch.ones(32, 64))
    result = made(replace(REQUEST, task=task), brought, engine, model)
    assert not result.maps and engine.rows
    for row in engine.rows:
        assert torch.equal(row.channels, torch.full((1, 4, 8), value))


def test_models_that_cannot_are_refused_with_a_sentence() -> None:
    with pytest.raises(UserError, match=r"takes no depth map\. Choose a depth model"):
        made(DEPTH, Given(depth=ramp(9, 9)))
    with pytest.raises(UserError, match=r"8 channels.*another model"):
        made(REQUEST, model=with_channels(8))
    assert spec_of().beside == "nothing"


def test_the_map_of_a_picture_by_itself_has_the_picture_s_size() -> None:
    engine, picture = Engine(), coloured(37, 21)
    found = engine.run(depth_map(replace(REQUEST, task="map"), Given(picture=picture), estimator="depth:a"))
    expected = spanned(unit(picture[:3]).mean(0) * 7 - 3)
    assert torch.equal(found.maps["depth"], expected) and torch.equal(found.pixels, expected.expand(3, 21, 37))
    brought = engine.run(depth_map(replace(REQUEST, task="map", depth_invert=True), Given(depth=expected)))
    assert torch.equal(brought.maps["depth"], 1 - expected) and len(engine.of(Call)) == 1
    with pytest.raises(UserError, match="no picture"):
        engine.run(depth_map(replace(REQUEST, task="map"), Given(), estimator="depth:a"))
