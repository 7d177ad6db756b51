"""diffusers' names against recorded maps and against diffusers' own networks."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import UNetSpec, VAESpec
from webui.weights import layouts
from webui.weights.families import REFINER_UNET, SD1_UNET, SD2_UNET, SDXL_UNET
from webui.weights.rules import Piece, converted, translate
from webui.weights.shapes import unet_spec

DATA = Path(__file__).parents[1] / "data"
RECORDED = json.loads(gzip.decompress((DATA / "keys_diffusers_to_single_file.json.gz").read_bytes()))
SPECS = {"sd15": SD1_UNET, "sd21-v": SD2_UNET, "sdxl": SDXL_UNET, "sdxl-refiner": REFINER_UNET}


@pytest.mark.parametrize("name", RECORDED)
def test_unet_keys_of_diffusers_are_the_recorded_ones_both_ways(name: str) -> None:
    rules = layouts.diffusers_unet(SPECS[name.removesuffix("-tiny")])
    for theirs, ours in RECORDED[name].items():
        assert translate(rules, theirs, "diffusers") == (Piece(ours),)
        assert next(undone for rule in rules if (undone := rule.undo(ours)))[0] == theirs


def test_lcm_keeps_the_name_of_its_guidance_embedding() -> None:
    key = "time_embedding.cond_proj.weight"
    assert translate(layouts.diffusers_unet(SD1_UNET), key, "diffusers") == (Piece(key),)


def test_a_vae_of_diffusers_gives_the_same_pictures_here() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.AutoencoderKL(
        block_out_channels=(32, 64, 64), down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=2, latent_channels=4,
    ).eval()  # fmt: skip
    ours = AutoencoderKL(VAESpec(channels=32, channel_mult=(1, 2, 2))).eval()
    weights = converted(layouts.diffusers_vae(3, 2), theirs.state_dict(), "diffusers")
    shapes = {key: value.shape for key, value in ours.state_dict().items()}
    ours.load_state_dict({key: value.reshape(shapes[key]) for key, value in weights.items()})
    picture = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        latent = theirs.encode(picture).latent_dist.mean
        assert torch.allclose(ours.encode(picture).mean, latent, atol=1e-5)
        assert torch.allclose(ours.decode(latent), theirs.decode(latent).sample, atol=1e-5)


def test_buffers_of_noise_schedules_are_ignored_and_weights_are_not() -> None:
    for key in ("betas", "alphas_cumprod_prev", "sqrt_recipm1_alphas_cumprod", "model_ema.decay", "posterior_mean_coef2"):
        assert layouts.IGNORED.fullmatch(key)
    for key in ("model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.weight", "xbetas", "cond_stage_model.x"):
        assert not layouts.IGNORED.fullmatch(key)


def test_specs_are_read_from_the_shapes_of_the_networks_they_build() -> None:
    from webui.nets.unet import UNetModel

    odd = UNetSpec(
        in_channels=8, out_channels=8, model_channels=64, channel_mult=(1, 2, 3), res_blocks=1, transformer_depth=(1, 0, 2),
        middle_depth=1, context_width=24, head_width=64, linear_projection=True, guidance_width=16,
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in UNetModel(odd).state_dict().items()}
    assert unet_spec(shapes) == odd
