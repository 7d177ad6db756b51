"""The published sizes, with --slow: noise predictors and autoencoder equal diffusers' with the same random weights."""
from __future__ import annotations

import math

import pytest
import torch
from diffusers import AutoencoderKL as TheirAutoencoder
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from tests.nets.families import FULL, GAINS, UNET, VAE, assert_same, inputs, part
from tests.nets.references import their_vector
from tests.nets.references import unet_config as their_config
from tests.random_weights import checkpoint, header
from webui.facts import memory_sizes
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import VAESpec
from webui.nets.unet import UNetModel

BYTES = 4  # of a weight in float32
ROOM = 1.5  # times the weights' bytes: they are held once, a large one twice for a moment

pytestmark = pytest.mark.slow


def need_memory(name: str, prefix: str) -> None:
    """Skip where the weights do not fit into what is free."""
    gigabytes = ROOM * BYTES * sum(math.prod(shape) for key, (shape, _) in header(name).items() if key.startswith(prefix)) / 1e9
    free = memory_sizes()[1]
    if free is not None and free < gigabytes:
        pytest.skip(f"{name} needs {gigabytes:.0f} GB of memory; {free:.0f} GB are free")


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", FULL)
def test_noise_predictor_of_full_size_equals_diffusers(name: str, gain: float) -> None:
    need_memory(name, UNET)
    spec, weights = FULL[name], part(name, UNET, gain)
    with torch.device("meta"):  # both take the same tensors, so that there is memory for them
        ours, theirs = UNetModel(spec), UNet2DConditionModel(**their_config(spec))
    ours.load_state_dict(weights, assign=True)
    converted = convert_ldm_unet_checkpoint({UNET + key: weights.pop(key) for key in list(weights)}, their_config(spec))
    theirs.load_state_dict(converted, assign=True)
    x, t, context, _ = inputs(spec, batch=1)
    y, added = their_vector(spec, 1)
    with torch.no_grad():
        assert_same(ours.eval()(x, t, context, y), theirs.eval()(x, t, context, added_cond_kwargs=added).sample)


@pytest.mark.parametrize("gain", GAINS)
def test_autoencoder_of_full_size_equals_diffusers(gain: float) -> None:
    need_memory("sd15-full", VAE)
    config = {
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    }  # fmt: skip
    ours, theirs = AutoencoderKL(VAESpec()), TheirAutoencoder(**config)
    ours.load_state_dict(part("sd15-full", VAE, gain))
    theirs.load_state_dict(convert_ldm_vae_checkpoint(checkpoint("sd15-full", gain=gain, prefix=VAE), config))
    source = torch.Generator().manual_seed(0)
    picture, z = torch.randn(1, 3, 64, 48, generator=source), torch.randn(1, 4, 8, 6, generator=source)
    with torch.no_grad():
        assert_same(ours.eval().encode(picture).mean, theirs.eval().encode(picture).latent_dist.mean)
        assert_same(ours.decode(z), theirs.decode(z).sample)
