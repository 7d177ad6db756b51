"""ControlNets with random weights for tests: ours, their files in every layout, and diffusers' with the same weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import ControlNetModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from torch import Tensor

from tests.nets.families import SD1, SD2, SDXL, UNET
from tests.nets.references import unet_config
from tests.random_weights import weight
from webui.nets.controlnet import ControlNet
from webui.nets.controlnet_spec import ControlSpec
from webui.nets.spec import UNetSpec
from webui.weights.controlnet_layouts import diffusers_rules
from webui.weights.rules import restored

PREFIX = "control_model."
HINT = (4, 4, 8, 8, 12, 12, 16)  # the picture's layers of tiny ControlNets
SMALL = dataclasses.replace(SDXL, transformer_depth=(0, 0, 0), middle_depth=0)  # as diffusers published one for SDXL
CONTROLS: dict[str, UNetSpec] = {"sd15-tiny": SD1, "sd21-base-tiny": SD2, "sdxl-tiny": SDXL, "sdxl-small-tiny": SMALL}


def spec_of(unet: UNetSpec, hint: tuple[int, ...] = HINT) -> ControlSpec:
    """A ControlNet for a noise predictor."""
    return ControlSpec(unet=unet, hint_widths=hint)


def control_weights(spec: ControlSpec, gain: float = 1.0) -> dict[str, Tensor]:
    """Random weights by our names; the joining layers, which start at zero, are random too."""
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in ControlNet(spec).state_dict().items()}
    return {key: weight(UNET + key, shape, gain=gain) for key, shape in shapes.items()}


def controlnet(spec: ControlSpec, gain: float = 1.0) -> ControlNet:
    """Ours; a strict load."""
    network = ControlNet(spec)
    network.load_state_dict(control_weights(spec, gain))
    return network.eval().requires_grad_(False)


def as_diffusers(spec: ControlSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as diffusers names them: by its own converter, which knows no network without attention in its middle."""
    if spec.unet.middle_depth:
        converted: dict[str, Tensor] = convert_controlnet_checkpoint(dict(weights), their_config(spec))
        sizes = {1: "label_emb.0.0", 2: "label_emb.0.2"} if spec.unet.label_width else {}  # it forgets them
        return converted | {
            f"add_embedding.linear_{place}.{kind}": weights[f"{layer}.{kind}"]
            for place, layer in sizes.items() for kind in ("weight", "bias")
        }  # fmt: skip
    return restored(diffusers_rules(spec.unet.levels, spec.unet.res_blocks), weights, "diffusers' ControlNet")


def their_config(spec: ControlSpec) -> dict[str, Any]:
    """What diffusers builds the same ControlNet from."""
    config = unet_config(spec.unet)
    kept = {key: value for key, value in config.items() if key not in ("out_channels", "up_block_types", "time_cond_proj_dim")}
    widths = spec.hint_widths
    middle = "UNetMidBlock2DCrossAttn" if spec.unet.middle_depth else "UNetMidBlock2D"
    layers = [depth or spec.unet.middle_depth or 1 for depth in spec.unet.transformer_depth]
    more = {"conditioning_embedding_out_channels": (widths[0], widths[2], widths[4], widths[6]), "mid_block_type": middle}
    return kept | more | {"transformer_layers_per_block": layers, "conditioning_channels": spec.picture_channels}


def their_model(spec: ControlSpec) -> ControlNetModel:
    """diffusers' ControlNet without memory for its weights."""
    with torch.device("meta"):
        return ControlNetModel(**their_config(spec))


def their_controlnet(spec: ControlSpec, weights: Mapping[str, Tensor]) -> ControlNetModel:
    """diffusers' ControlNet; `weights` are by our names."""
    network = their_model(spec)
    network.load_state_dict(as_diffusers(spec, weights), assign=True)
    return network.eval().requires_grad_(False)


def picture(batch: int = 2, height: int = 128, width: int = 128) -> Tensor:
    """Random pictures [B, 3, H, W] in [0, 1]."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(3))
