"""Autoencoders of their own files: every way they are named, what lies beside the weights, and those for other models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.random_weights import checkpoint
from webui.errors import ModelFileError
from webui.nets.spec import VAESpec
from webui.weights import layouts
from webui.weights.files import save
from webui.weights.rules import restored
from webui.weights.source import open_model, open_vae
from webui.weights.vae_files import vae_beside

PREFIX = "first_stage_model."


@cache
def autoencoder() -> Mapping[str, Tensor]:
    """Weights by their plain names."""
    return {key.removeprefix(PREFIX): value for key, value in checkpoint("sdxl-tiny", prefix=PREFIX).items()}


@pytest.fixture
def like(tmp_path: Path) -> VAESpec:
    save(tmp_path / "model.safetensors", checkpoint("sd15-tiny"))
    return open_model(tmp_path / "model.safetensors").spec.vae


def diffusers(old: bool) -> dict[str, Tensor]:
    rules = layouts.diffusers_vae(4, 2)
    named = restored(rules, autoencoder(), "diffusers")
    if not old:
        return {key: value.flatten(1) if value.shape[2:] == (1, 1) and "attn" in key else value for key, value in named.items()}
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    return {renamed(key, names): value for key, value in named.items()}


def renamed(key: str, names: Mapping[str, str]) -> str:
    for new, old in names.items():
        key = key.replace(f".{new}.", f".{old}.")
    return key


LEFT_OVER = {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.ones(1), "loss.perceptual_loss.lin0.weight": torch.ones(2)}
WAYS: dict[str, dict[str, Tensor]] = {
    "plain.safetensors": dict(autoencoder()),
    "prefixed.safetensors": {PREFIX + key: value for key, value in autoencoder().items()},
    "training.vae.pt": {"state_dict": {**autoencoder(), **LEFT_OVER}, "epoch": 3},  # type: ignore[dict-item]
    "diffusers.safetensors": diffusers(old=False),
    "older.bin": diffusers(old=True),
    "whole.safetensors": checkpoint("sdxl-tiny"),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_way_of_writing_one_gives_the_same_weights(name: str, tmp_path: Path, like: VAESpec) -> None:
    path = tmp_path / name
    if path.suffix == ".safetensors":
        save(path, WAYS[name])
    else:
        torch.save(WAYS[name], path)
    source = open_vae(path, like)
    read = dict(source.read("vae"))
    assert source.parts == ("vae",) and (source.spec.scale, source.spec.shift) == (like.scale, like.shift)
    assert read.keys() == autoencoder().keys()
    assert all(torch.equal(value, read[key]) for key, value in autoencoder().items())
    source.build("vae").load_state_dict(read, assign=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"post_quant_conv.weight": torch.zeros(16, 16, 1, 1), "post_quant_conv.bias": torch.zeros(16)},
            "latents have 16 channels, the model's 4",
        ),
        (
            {"encoder.conv_in.weight": torch.zeros(32, 1, 3, 3), "decoder.conv_out.weight": torch.zeros(1, 32, 3, 3)},
            "1 colours",
        ),
        ({"encoder.down.4.block.0.conv2.weight": torch.zeros(128, 128, 3, 3)}, "16 pixels a side"),
        ({"quant_conv.bias": torch.zeros(3)}, r"quant_conv\.bias of the autoencoder has the shape \[3\], expected \[8\]"),
        ({"strange.weight": torch.zeros(3)}, r"1 weights that a model of its kind does not have: strange\.weight"),
        ({"decoder.conv_in.weight": None}, "holds no autoencoder"),
        ({"quant_conv.weight": None}, r"lacks 1 of 248 weights: quant_conv\.weight"),
    ],
)
def test_one_that_does_not_fit_is_refused_with_the_reason(
    change: Mapping[str, Tensor | None], said: str, tmp_path: Path, like: VAESpec
) -> None:
    changed = {**autoencoder(), **change}
    save(tmp_path / "v.safetensors", {key: value for key, value in changed.items() if value is not None})
    with pytest.raises(ModelFileError, match=rf"v\.safetensors: .*{said}"):
        open_vae(tmp_path / "v.safetensors", like)


def test_one_beside_a_checkpoint_has_its_name(tmp_path: Path) -> None:
    checkpoint = tmp_path / "one.two.ckpt"
    (tmp_path / "one.vae.pt").write_bytes(b"")
    (tmp_path / "one.two.vae.safetensors").mkdir()
    assert vae_beside(checkpoint) is None
    for ending in (".vae.ckpt", ".vae.pt"):
        (tmp_path / f"one.two{ending}").write_bytes(b"")
        assert vae_beside(checkpoint) == tmp_path / f"one.two{ending}"
    (tmp_path / "folder.x").mkdir()
    (tmp_path / "folder.x.vae.pt").write_bytes(b"")
    assert vae_beside(tmp_path / "folder.x") == tmp_path / "folder.x.vae.pt"
    assert vae_beside(tmp_path / f"{'long' * 62}.ckpt") is None
