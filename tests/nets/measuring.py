"""How far each part of each family is from the reference, small and in the published sizes: for tests and benchmarks/parity.py.

Small networks come by way of a file in its real layout. The published sizes take their random weights one network at a time, and
the reference takes the same tensors, so that the largest, SDXL's 10 GB in float32, needs little more than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tests.nets.families import UNET, VAE, Difference
from tests.nets.references import (
    autoencoder_differences,
    noise_predictor_difference,
    text_differences,
    text_weights,
    token_ids,
    written,
)
from tests.random_weights import checkpoint, weight
from webui.nets.autoencoder import AutoencoderKL
from webui.nets.spec import TextSpec, UNetSpec
from webui.nets.text import TextTower
from webui.nets.unet import UNetModel
from webui.weights import layouts
from webui.weights.families import FAMILIES
from webui.weights.model import load
from webui.weights.rules import translate

# Families whose noise predictors differ in the channels of their first layer only share all other weights.
PREDICTORS: Mapping[str, tuple[str, ...]] = {
    "sd15": ("sd15", "sd15-inpaint", "sd15-ip2p"),
    "sd21-base": ("sd21-base", "sd2-inpaint", "sd2-depth"),
    "sdxl-base": ("sdxl-base", "sdxl-inpaint"),
    "sdxl-refiner": ("sdxl-refiner",),
}
TOWERS = {  # name -> header, family, which of its towers
    "CLIP-L": ("sd15-full", "sd15", 0),
    "OpenCLIP-H": ("sd21-v-full", "sd21-v", 0),
    "OpenCLIP-G": ("sdxl-full", "sdxl-base", 1),
}
FIRST_LAYER = "input_blocks.0.0.weight"
Rows = Iterator[tuple[str, str, Difference]]  # family, part, how far


def small(name: str, gain: float, folder: Path) -> Rows:
    """All parts of a small checkpoint, loaded from its file."""
    model = load(written(name, folder, gain))
    spec = model.spec
    yield name, "UNet", noise_predictor_difference(spec.unet, model.unet, checkpoint(name, gain=gain, prefix=UNET))
    for part, found in autoencoder_differences(model.vae, checkpoint(name, gain=gain, prefix=VAE)).items():
        yield name, part, found
    for index, tower in enumerate(model.text):
        given = text_weights(name, spec.unet, index, spec.text[index], gain)
        for part, found in text_differences(tower, given).items():
            yield name, part.replace("text", spec.text[index].kind, 1), found


def predictor_bytes(group: str) -> int:
    """What the weights of a group's noise predictor take in float32."""
    return 4 * sum(math.prod(shape) for shape in shapes_of(UNetModel, FAMILIES[group].unet).values())


def full_noise_predictors(group: str, gain: float) -> Rows:
    """The noise predictors of the published size in a group."""
    first, *_ = PREDICTORS[group]
    shapes = shapes_of(UNetModel, FAMILIES[first].unet)
    weights = {UNET + key: weight(UNET + key, shape, gain=gain) for key, shape in shapes.items()}
    for family in PREDICTORS[group]:
        spec = FAMILIES[family].unet
        shape = (spec.model_channels, spec.in_channels, 3, 3)
        weights[UNET + FIRST_LAYER] = weight(UNET + FIRST_LAYER, shape, gain=gain)
        with torch.device("meta"):
            ours = UNetModel(spec)
        ours.load_state_dict({key.removeprefix(UNET): value for key, value in weights.items()}, assign=True)
        found = noise_predictor_difference(spec, ours.eval().requires_grad_(False), weights, batch=1)
        yield family, "UNet", found


def full_autoencoder(gain: float) -> Rows:
    """The autoencoder of the published size, which all families share but for the scale."""
    weights = checkpoint("sd15-full", gain=gain, prefix=VAE)
    with torch.device("meta"):
        ours = AutoencoderKL(FAMILIES["sd15"].vae)
    ours.load_state_dict({key.removeprefix(VAE): value for key, value in weights.items()}, assign=True)
    for part, found in autoencoder_differences(ours.eval().requires_grad_(False), weights, side=64).items():
        yield "all", part, found


def full_tower(which: str) -> Rows:
    """A text tower of the published size."""
    name, family, index = TOWERS[which]
    spec = FAMILIES[family]
    tower = spec.text[index]
    weights = text_weights(name, spec.unet, index, tower)
    with torch.device("meta"):
        ours = TextTower(tower)
    ours.load_state_dict(by_rules(tower, weights), assign=True)
    ids = token_ids(tower, (12,))
    for part, found in text_differences(ours.eval().requires_grad_(False), weights, ids).items():
        yield which, part, found


def by_rules(tower: TextSpec, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tower's weights by our own rules for its layout."""
    given: dict[str, Tensor] = {}
    for key, value in weights.items():
        for piece in translate(layouts.TEXT[tower.kind], key, "a text tower"):
            given[piece.key] = piece.take(value)
    return given


def shapes_of(kind: type[nn.Module], spec: UNetSpec) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of a network's weights."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in kind(spec).state_dict().items()}
