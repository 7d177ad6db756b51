"""The networks' state dicts have exactly the keys and shapes of published single files, tiny and full size."""
from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from tests.nets.families import FULL, SD1, TINY, TINY_VAE, UNET, VAE
from tests.random_weights import header
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import TextSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel

CLIP_L = TextSpec(width=768, layers=12, heads=12, hidden=3072)


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def published(name: str, prefix: str) -> dict[str, list[int]]:
    return {key.removeprefix(prefix): list(shape) for key, (shape, _) in header(name).items() if key.startswith(prefix)}


@pytest.mark.parametrize("name", TINY | FULL)
def test_noise_predictor_has_the_published_keys(name: str) -> None:
    with torch.device("meta"):
        assert shapes(UNetModel((TINY | FULL)[name])) == published(name, UNET)


@pytest.mark.parametrize("name", TINY | FULL)
def test_autoencoder_has_the_published_keys(name: str) -> None:
    with torch.device("meta"):
        assert shapes(AutoencoderKL(VAESpec() if name in FULL else TINY_VAE)) == published(name, VAE)


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("sd15-full", "cond_stage_model.transformer.text_model."), ("sdxl-full", "conditioner.embedders.0.transformer.text_model.")],
)
def test_text_tower_has_the_published_keys(name: str, prefix: str) -> None:
    expected = published(name, prefix)
    expected.pop("embeddings.position_ids")  # a table 0, 1, 2, ... that no tower needs
    with torch.device("meta"):
        assert shapes(TextTower(CLIP_L)) == expected


def test_guidance_projection_is_a_key_of_its_own() -> None:
    with torch.device("meta"):
        more = set(shapes(UNetModel(dataclasses.replace(SD1, guidance_width=256)))) - set(shapes(UNetModel(SD1)))
    assert more == {"time_embedding.cond_proj.weight"}


def test_networks_built_on_the_meta_device_hold_nothing_but_their_keys() -> None:
    with torch.device("meta"):
        networks = [UNetModel(SD1), AutoencoderKL(TINY_VAE), TextTower(CLIP_L)]
    for network in networks:
        assert not list(network.buffers())
        assert all(value.is_meta for value in network.state_dict().values())
