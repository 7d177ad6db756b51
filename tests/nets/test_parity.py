"""Every family's networks, loaded from a file in its real layout, equal diffusers' and transformers' and recorded outputs."""
from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import cache

import pytest
import torch

from tests.nets.families import (
    GAINS,
    HALF_GATES,
    SD1,
    TINY,
    UNET,
    VAE,
    assert_same,
    autoencoder,
    difference,
    inputs,
    recorded,
    unet,
)
from tests.nets.references import (
    assert_accepted,
    autoencoder_differences,
    noise_predictor_difference,
    text_differences,
    text_weights,
    their_unet,
    written,
)
from tests.random_weights import checkpoint, weight
from webui.nets.unet import UNetModel
from webui.weights.model import LoadedModel, load

Open = Callable[[str, float], LoadedModel]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A checkpoint by name and gain, loaded from its file once."""
    folder = tmp_path_factory.mktemp("models")
    return cache(lambda name, gain: load(written(name, folder, gain)))


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", TINY)
def test_noise_predictor_equals_diffusers(name: str, gain: float, opened: Open) -> None:
    ours = opened(name, gain)
    assert ours.spec.unet == TINY[name]
    found = noise_predictor_difference(TINY[name], ours.unet, checkpoint(name, gain=gain, prefix=UNET))
    assert_accepted({"noise predictor": found})


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", TINY)
def test_autoencoder_equals_diffusers(name: str, gain: float, opened: Open) -> None:
    assert_accepted(autoencoder_differences(opened(name, gain).vae, checkpoint(name, gain=gain, prefix=VAE)))


@pytest.mark.parametrize("name", TINY)
def test_text_towers_equal_transformers(name: str, opened: Open) -> None:
    ours = opened(name, 1.0)
    for index, tower in enumerate(ours.text):
        found = text_differences(tower, text_weights(name, ours.spec.unet, index, ours.spec.text[index]))
        assert len(found) == 10
        assert_accepted(found)


# Half precision on a CPU takes most of a minute a family, bfloat16 a tenth of a second.
@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TINY)
def test_half_precision_stays_near_float32(name: str, dtype: torch.dtype, opened: Open) -> None:
    model = opened(name, 1.0)
    x, t, context, y = inputs(model.spec.unet)
    z = x[:, : model.spec.vae.latent_channels]
    halves = copy.deepcopy(model.unet).to(dtype), copy.deepcopy(model.vae).to(dtype)
    found = halves[0](x.to(dtype), t, context.to(dtype), y)
    assert found.dtype == dtype and difference(found.float(), model.unet(x, t, context, y)).rms < HALF_GATES[dtype]
    assert difference(halves[1].decode(z.to(dtype)).float(), model.vae.decode(z)).rms < HALF_GATES[dtype]
    picture = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert difference(halves[1].encode(picture.to(dtype)).mean.float(), model.vae.encode(picture).mean).rms < HALF_GATES[dtype]


def test_sides_that_do_not_halve_evenly_equal_diffusers() -> None:
    x, t, context, _ = inputs(SD1)
    x = x[..., :9, :13]
    theirs = their_unet(SD1, checkpoint("sd15-tiny", prefix=UNET))
    assert_same(unet()(x, t, context), theirs(x, t, context).sample)


def test_guidance_embedding_equals_diffusers() -> None:
    spec = dataclasses.replace(SD1, guidance_width=32)
    key = "time_embedding.cond_proj.weight"
    weights = checkpoint("sd15-tiny", prefix=UNET) | {UNET + key: weight(key, (spec.model_channels, 32))}
    ours = UNetModel(spec)
    ours.load_state_dict({name.removeprefix(UNET): value for name, value in weights.items()})
    ours.eval().requires_grad_(False)
    assert_accepted({"with guidance": noise_predictor_difference(spec, ours, weights)})
    x, t, context, _ = inputs(spec)
    plain, guided = ours(x, t, context), ours(x, t, context, guidance=torch.tensor([7.5, 0.5]))
    assert (guided - plain).abs().max() > 1e-2


@pytest.mark.parametrize("case", ["a", "fracT_long", "nonsquare"])
@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny"])
def test_noise_predictor_equals_recorded_outputs(name: str, case: str) -> None:
    given = {key.removeprefix(f"unet.{case}."): value for key, value in recorded(name).items()}
    assert_same(unet(name)(given["x"], given["t"], given["ctx"], given.get("y")), given["out"])


@pytest.mark.parametrize("case", ["64x64", "72x40"])
@pytest.mark.parametrize("name", ["sd15-tiny", "sdxl-tiny"])
def test_autoencoder_equals_recorded_outputs(name: str, case: str) -> None:
    given = {key.removeprefix(f"vae.{case}."): value for key, value in recorded(name).items()}
    ours = autoencoder(name)
    moments = ours.encode(given["img"])
    assert_same(moments.mean, given["mean"])
    assert_same(moments.logvar, given["logvar"])
    assert_same(ours.decode(given["z"]), given["dec"])
