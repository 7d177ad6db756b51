"""The tables of weights are those of the networks themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import ModelSpec, UNetSpec, VAESpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.weights.expected import expected, text_weights, unet_weights, vae_weights
from webui.weights.families import FAMILIES


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def distinct(name: str) -> list[Any]:
    """The different values of a part among all families: each network is built once."""
    found: list[Any] = []
    for spec in FAMILIES.values():
        for part in getattr(spec, name) if name == "text" else (getattr(spec, name),):
            if part not in found:
                found.append(part)
    return found


@pytest.mark.parametrize("spec", distinct("unet"), ids=lambda spec: f"{spec.context_width}-{spec.in_channels}")
def test_every_known_noise_predictor(spec: UNetSpec) -> None:
    with torch.device("meta"):
        assert dict(unet_weights(spec)) == shapes(UNetModel(spec))


@pytest.mark.parametrize("spec", [*distinct("vae"), VAESpec(channels=8, channel_mult=(1, 2), res_blocks=1, groups=4)])
def test_every_known_autoencoder(spec: VAESpec) -> None:
    with torch.device("meta"):
        assert dict(vae_weights(spec)) == shapes(AutoencoderKL(spec))


@pytest.mark.parametrize("spec", distinct("text"))
def test_every_known_text_tower(spec: Any) -> None:
    with torch.device("meta"):
        assert dict(text_weights(spec)) == shapes(TextTower(replace(spec, layers=2))) | dict(text_weights(spec))
        assert dict(text_weights(replace(spec, layers=2))) == shapes(TextTower(replace(spec, layers=2)))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_noise_predictor(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 4))
    spec = UNetSpec(
        in_channels=data.draw(st.integers(1, 9)), out_channels=data.draw(st.integers(1, 8)), model_channels=8, groups=4,
        channel_mult=tuple(data.draw(st.lists(st.integers(1, 3), min_size=levels, max_size=levels))),
        transformer_depth=tuple(data.draw(st.lists(st.integers(0, 2), min_size=levels, max_size=levels))),
        res_blocks=data.draw(st.integers(1, 3)), middle_depth=data.draw(st.integers(0, 2)), context_width=6, head_width=4,
        linear_projection=data.draw(st.booleans()), label_width=data.draw(st.sampled_from([None, 12])),
        guidance_width=data.draw(st.sampled_from([None, 16])),
    )  # fmt: skip
    with torch.device("meta"):
        assert dict(unet_weights(spec)) == shapes(UNetModel(spec))


@pytest.mark.parametrize("spec", FAMILIES.values(), ids=lambda spec: spec.family)
def test_the_parts_of_a_family(spec: ModelSpec) -> None:
    parts = expected(spec)
    assert list(parts) == ["unet", "vae", "text0", "text1"][: 2 + len(spec.text)]
    assert parts["vae"] == dict(vae_weights(spec.vae)) and parts["text0"] == dict(text_weights(spec.text[0]))
