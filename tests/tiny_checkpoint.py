"""A whole checkpoint file of some 100,000 random weights, for tests of what comes after loading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from webui.nets.spec import ModelSpec, TextSpec, UNetSpec, VAESpec
from webui.weights.model import save_checkpoint
from webui.weights.source import build

MERGES = ("a b</w>",)
SPEC = ModelSpec(
    family="tiny", title="Tiny", native_size=64, prediction="v",
    unet=UNetSpec(
        model_channels=16, channel_mult=(1, 2), res_blocks=1, transformer_depth=(0, 1), context_width=16, heads=2, groups=8,
        in_channels=4,
    ),
    vae=VAESpec(channels=8, channel_mult=(1, 1, 1, 1), res_blocks=1, groups=4),
    text=(TextSpec(width=16, layers=1, heads=2, hidden=32, vocabulary=2 * 256 + len(MERGES) + 2, padding=0),),
)  # fmt: skip


DEPTH = replace(SPEC, family="tiny-depth", title="Tiny depth", unet=replace(SPEC.unet, in_channels=5), no_map=0.0)


def write(path: Path, seed: int = 0, metadata: Mapping[str, str] | None = None, spec: ModelSpec = SPEC) -> Path:
    """Write one; another `seed` is another model. Returns the path."""
    generator = torch.Generator().manual_seed(seed)
    networks = build(spec)
    for network in networks.values():
        network.to_empty(device="cpu")
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, spec, networks["unet"], networks["vae"], [networks["text0"]], MERGES, metadata=metadata)
    return path
