"""ControlNets equal diffusers' on the same random weights, and so does our noise predictor with what they compute."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.nets.controlling import CONTROLS, control_weights, controlnet, picture, spec_of, their_controlnet
from tests.nets.families import GAINS, SD1, SDXL, TINY, UNET, assert_same, inputs, unet
from tests.nets.references import their_unet, their_vector
from tests.random_weights import checkpoint
from webui.nets.controlnet import ControlNet
from webui.nets.controlnet_spec import ControlSpec
from webui.weights.families import FAMILIES

HEIGHT, WIDTH = 16, 24  # of the latents


def given(spec: ControlSpec) -> tuple[Tensor, Tensor, Tensor, Tensor | None, dict[str, Tensor] | None, Tensor]:
    """Latent, time, text, vector (and what diffusers makes it of) and a picture."""
    x, t, context, _ = inputs(spec.unet, side=WIDTH)
    y, added = their_vector(spec.unet, len(x))
    return x[..., :HEIGHT, :], t, context, y, added, picture(len(x), 8 * HEIGHT, 8 * WIDTH)


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", CONTROLS)
@torch.no_grad()
def test_residuals_equal_diffusers(name: str, gain: float) -> None:
    spec = spec_of(CONTROLS[name])
    x, t, context, y, added, seen = given(spec)
    ours = controlnet(spec, gain)(x, t, context, y, picture=seen)
    theirs = their_controlnet(spec, control_weights(spec, gain))
    down, middle = theirs(x, t, context, seen, added_cond_kwargs=added, return_dict=False)
    assert len(ours) == spec.sites
    for mine, other in zip(ours, (*down, middle), strict=True):
        assert mine.std() > 1e-4
        assert_same(mine, other)


@pytest.mark.parametrize("name", ["sd15-tiny", "sd21-base-tiny", "sdxl-tiny"])
@torch.no_grad()
def test_a_noise_predictor_with_residuals_equals_diffusers(name: str) -> None:
    spec = spec_of(CONTROLS[name])
    x, t, context, y, added, seen = given(spec)
    residuals = controlnet(spec)(x, t, context, y, picture=seen)
    steered = unet(name)(x, t, context, y, residuals=residuals)
    theirs = their_unet(TINY[name], checkpoint(name, prefix=UNET))
    down, middle = their_controlnet(spec, control_weights(spec))(
        x, t, context, seen, added_cond_kwargs=added, return_dict=False
    )
    expected = theirs(
        x, t, context, added_cond_kwargs=added, down_block_additional_residuals=down, mid_block_additional_residual=middle
    ).sample
    assert_same(steered, expected)
    assert (steered - unet(name)(x, t, context, y)).abs().mean() > 1e-2


@torch.no_grad()
def test_one_time_for_all_is_a_number_and_seamless_pictures_have_no_edges() -> None:
    spec = spec_of(SD1)
    ours = controlnet(spec)
    x, _, context, _ = inputs(SD1)
    seen = picture()
    for one, other in zip(
        ours(x, 500.5, context, picture=seen), ours(x, torch.full((2,), 500.5), context, picture=seen), strict=True
    ):
        assert torch.equal(one, other)
    here = ours(x, 500.5, context, picture=seen, padding="circular")
    rolled = ours(x.roll((8, 8), (2, 3)), 500.5, context, picture=seen.roll((64, 64), (2, 3)), padding="circular")
    assert_same(rolled[0].roll((-8, -8), (2, 3)), here[0], 1e-5, 1e-5)
    assert not torch.allclose(here[0], ours(x, 500.5, context, picture=seen)[0], atol=1e-3)


def test_a_new_one_changes_nothing() -> None:
    torch.manual_seed(0)
    x, t, context, _ = inputs(SD1)
    assert not any(each.any() for each in ControlNet(spec_of(SD1))(x, t, context, picture=picture()))


def test_it_says_whether_it_wants_sizes() -> None:
    x, t, context, y = inputs(SDXL)
    with pytest.raises(ValueError, match="needs a vector"):
        controlnet(spec_of(SDXL))(x, t, context, picture=picture())
    with pytest.raises(ValueError, match="takes no vector"):
        controlnet(spec_of(dataclasses.replace(SDXL, label_width=None)))(x, t, context, y, picture=picture())


def test_it_fits_noise_predictors_that_it_was_made_for_and_no_others() -> None:
    one, two, xl = (FAMILIES[name].unet for name in ("sd15", "sd21-base", "sdxl-base"))
    small = dataclasses.replace(xl, transformer_depth=(0, 0, 0), middle_depth=0)
    for mine, theirs in ((one, "sd15-inpaint"), (one, "sd15-ip2p"), (two, "sd2-depth"), (two, "sd21-v"), (xl, "sdxl-lcm"),
                         (small, "sdxl-base"), (xl, "sdxl-inpaint"), (one, "sd15")):  # fmt: skip
        assert ControlSpec(unet=mine).fits(FAMILIES[theirs].unet, 4)
    for mine, theirs in ((one, "sd21-base"), (two, "sd15"), (xl, "sd15"), (one, "sdxl-base"), (xl, "sdxl-refiner")):
        assert not ControlSpec(unet=mine).fits(FAMILIES[theirs].unet, 4)
    assert not ControlSpec(unet=one).fits(one, 8)
    assert ControlSpec(unet=one).factor == 8 and ControlSpec(unet=one).sites == 13 and ControlSpec(unet=xl).sites == 10
    with pytest.raises(ValueError, match="8 layers"):
        ControlSpec(unet=one, hint_widths=(16, 32))
