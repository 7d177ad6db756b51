"""A ControlNet for the model that ships, with random weights: nobody trained one, and it only shows that one steers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNET, LATENT = "model.diffusion_model.", "first_stage_model.post_quant_conv.bias"
HINT = (3, 16, 16, 32, 32, 96, 96, 256)
LOUD = 300.0  # times as much as at random: the picture then counts for as much as the latent
QUIET = 0.05  # of what is added, so that the model still draws what it was trained to


def make(models: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write it to models/ControlNet/example.safetensors, for a model whose weights have these shapes by published names."""
    from torch import Generator, randn

    from webui.extension.testing import write_tensors

    wanted = shapes_of(shapes)
    source = Generator().manual_seed(0)
    tensors: dict[str, Any] = {}
    for key, shape in wanted.items():
        width = 1
        for side in shape[1:]:
            width *= side
        tensors[key] = randn(shape, generator=source) * (width**-0.5 if len(shape) > 1 else 0.1)
        if key.startswith(("zero_convs.", "middle_block_out.")):
            tensors[key] *= QUIET
        elif len(shape) == 1 and key.endswith("weight"):
            tensors[key] += 1  # of norms
    tensors["input_hint_block.14.weight"] *= LOUD
    write_tensors(models / "ControlNet" / "example.safetensors", tensors)


def shapes_of(model: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The weights of a ControlNet for a model, by key: the first half of its noise predictor, and layers to the picture."""
    unet = {key.removeprefix(UNET): shape for key, shape in model.items() if key.startswith(UNET)}
    kept = ("time_embed.", "input_blocks.", "middle_block.")
    found = {key: shape for key, shape in unet.items() if key.startswith(kept)}
    channels = unet["input_blocks.0.0.weight"][0]
    found["input_blocks.0.0.weight"] = (channels, *model[LATENT], 3, 3)
    blocks = 1 + max(int(key.split(".")[1]) for key in found if key.startswith("input_blocks."))
    widths = [_width(unet, f"input_blocks.{number}.0") for number in range(blocks)]
    joining = {f"zero_convs.{number}.0": width for number, width in enumerate(widths)} | {"middle_block_out.0": widths[-1]}
    for name, width in joining.items():
        found |= {f"{name}.weight": (width, width, 1, 1), f"{name}.bias": (width,)}
    for number, (before, after) in enumerate(zip(HINT, (*HINT[1:], channels), strict=True)):
        name = f"input_hint_block.{2 * number}"
        found |= {f"{name}.weight": (after, before, 3, 3), f"{name}.bias": (after,)}
    return found


def _width(unet: Mapping[str, tuple[int, ...]], block: str) -> int:
    """How many channels come out of a block's first layer."""
    return next(unet[f"{block}{end}"][0] for end in (".out_layers.3.bias", ".op.bias", ".bias") if f"{block}{end}" in unet)
