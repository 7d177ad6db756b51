"""The noise predictor and the autoencoder equal diffusers' with the same weights, and the recorded outputs of others."""
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL as TheirAutoencoder
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.latent_consistency_models.pipeline_latent_consistency_text2img import LatentConsistencyModelPipeline
from torch import Tensor

from tests.nets.families import GAINS, SD1, TINY, TINY_VAE, UNET, VAE, assert_same, autoencoder, inputs, recorded, unet
from tests.random_weights import checkpoint, weight
from webui.nets.spec import UNetSpec
from webui.nets.unet import UNetModel

SIZE_WIDTH = 256  # diffusers embeds each of SDXL's sizes in so many numbers


def their_config(spec: UNetSpec) -> dict[str, Any]:
    kinds = ["CrossAttn" if depth else "" for depth in spec.transformer_depth]
    widths = [mult * spec.model_channels for mult in spec.channel_mult]
    config: dict[str, Any] = {
        "in_channels": spec.in_channels,
        "out_channels": spec.out_channels,
        "block_out_channels": widths,
        "layers_per_block": spec.res_blocks,
        "down_block_types": [f"{kind}DownBlock2D" for kind in kinds],
        "up_block_types": [f"{kind}UpBlock2D" for kind in reversed(kinds)],
        "transformer_layers_per_block": [depth or spec.middle_depth for depth in spec.transformer_depth],
        "cross_attention_dim": spec.context_width,
        "attention_head_dim": [spec.heads_at(width) for width in widths],
        "use_linear_projection": spec.linear_projection,
        "time_cond_proj_dim": spec.guidance_width,
    }
    if spec.label_width is not None:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": SIZE_WIDTH,
            "projection_class_embeddings_input_dim": spec.label_width,
        }
    return config


def their_unet(spec: UNetSpec, weights: dict[str, Tensor]) -> UNet2DConditionModel:
    config = their_config(spec)
    network = UNet2DConditionModel(**config)
    network.load_state_dict(convert_ldm_unet_checkpoint(dict(weights), config))
    return network.eval().requires_grad_(False)


def their_vector(spec: UNetSpec, batch: int) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """Our y, and what diffusers makes it from."""
    if spec.label_width is None:
        return None, None
    sizes, pooled = divmod(spec.label_width, SIZE_WIDTH)
    numbers = torch.arange(batch * sizes).view(batch, sizes) * 100.0
    text = torch.randn(batch, pooled, generator=torch.Generator().manual_seed(5))
    embedded = get_timestep_embedding(numbers.flatten(), SIZE_WIDTH, flip_sin_to_cos=True, downscale_freq_shift=0)
    return torch.cat([text, embedded.view(batch, -1)], dim=1), {"text_embeds": text, "time_ids": numbers}


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", TINY)
def test_noise_predictor_equals_diffusers(name: str, gain: float) -> None:
    spec = TINY[name]
    x, t, context, _ = inputs(spec)
    y, added = their_vector(spec, 2)
    theirs = their_unet(spec, checkpoint(name, gain=gain, prefix=UNET))
    expected = theirs(x, t, context, added_cond_kwargs=added).sample
    assert_same(unet(name, gain)(x, t, context, y), expected)


def test_sides_that_do_not_halve_evenly_equal_diffusers() -> None:
    x, t, context, _ = inputs(SD1)
    x = x[..., :9, :13]
    theirs = their_unet(SD1, checkpoint("sd15-tiny", prefix=UNET))
    assert_same(unet()(x, t, context), theirs(x, t, context).sample)


def test_guidance_embedding_equals_diffusers() -> None:
    spec = dataclasses.replace(SD1, guidance_width=32)
    key = "time_embedding.cond_proj.weight"
    projection = weight(key, (spec.model_channels, 32))
    weights = checkpoint("sd15-tiny", prefix=UNET)
    ours = UNetModel(spec)
    ours.load_state_dict({name.removeprefix(UNET): value for name, value in weights.items()} | {key: projection})
    theirs = UNet2DConditionModel(**their_config(spec))
    theirs.load_state_dict(convert_ldm_unet_checkpoint(weights, their_config(spec)) | {key: projection})
    x, t, context, _ = inputs(spec)
    scale = torch.tensor([7.5, 0.5])
    embedded = LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, scale, embedding_dim=32)  # type: ignore[arg-type]
    with torch.no_grad():
        result = ours(x, t, context, guidance=scale)
        assert_same(result, theirs(x, t, context, timestep_cond=embedded).sample)
        assert (result - ours(x, t, context)).abs().max() > 1e-2


@pytest.mark.parametrize("case", ["a", "fracT_long", "nonsquare"])
@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny"])
def test_noise_predictor_equals_recorded_outputs(name: str, case: str) -> None:
    given = {key.removeprefix(f"unet.{case}."): value for key, value in recorded(name).items()}
    assert_same(unet(name)(given["x"], given["t"], given["ctx"], given.get("y")), given["out"])


@pytest.mark.parametrize("gain", GAINS)
def test_autoencoder_equals_diffusers(gain: float) -> None:
    levels = len(TINY_VAE.channel_mult)
    config: dict[str, Any] = {
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [mult * TINY_VAE.channels for mult in TINY_VAE.channel_mult],
        "layers_per_block": TINY_VAE.res_blocks,
        "latent_channels": TINY_VAE.latent_channels,
    }
    theirs = TheirAutoencoder(**config)
    theirs.load_state_dict(convert_ldm_vae_checkpoint(checkpoint("sd15-tiny", gain=gain, prefix=VAE), config))
    ours = autoencoder(gain=gain)
    source = torch.Generator().manual_seed(0)
    picture, z = torch.randn(1, 3, 48, 32, generator=source), torch.randn(1, 4, 6, 4, generator=source)
    with torch.no_grad():
        expected = theirs.encode(picture).latent_dist
        moments = ours.encode(picture)
        assert_same(moments.mean, expected.mean)
        assert_same(moments.logvar, expected.logvar)
        assert_same(ours.decode(z), theirs.decode(z).sample)


@pytest.mark.parametrize("case", ["64x64", "72x40"])
@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny"])
def test_autoencoder_equals_recorded_outputs(name: str, case: str) -> None:
    given = {key.removeprefix(f"vae.{case}."): value for key, value in recorded(name).items()}
    ours = autoencoder(name)
    moments = ours.encode(given["img"])
    assert_same(moments.mean, given["mean"])
    assert_same(moments.logvar, given["logvar"])
    assert_same(ours.decode(given["z"]), given["dec"])
