"""Files that hold an autoencoder alone: where their weights go, and whether it fits a model.

They use the names of single files, with or without the prefix, or diffusers'; training state beside the weights is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.spec import VAESpec
from webui.weights import layouts
from webui.weights.files import Header
from webui.weights.plans import Given
from webui.weights.rules import Rule, translate
from webui.weights.shapes import vae_spec

LEFT_OUT = re.compile(
    r"(loss|model_ema|discriminator|optimizer_states|lr_schedulers|callbacks|loops)(\..*)?|logvar|epoch|global_step"
)
BLOCK = re.compile(r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.")
PLAIN = (Rule("{rest}", "{rest}"),)

BESIDE = (".vae.safetensors", ".vae.pt", ".vae.ckpt")  # what an autoencoder's file is called after its checkpoint's stem


def vae_beside(checkpoint: Path) -> Path | None:
    """The autoencoder that lies beside a checkpoint and has its name, as `x.vae.pt` beside `x.ckpt`; None where there is none."""
    stem = checkpoint.name if checkpoint.is_dir() else checkpoint.stem
    candidates = (checkpoint.with_name(stem + ending) for ending in BESIDE)
    return next((each for each in candidates if each.is_file()), None)


def offered(header: Header, path: Path) -> tuple[Given, ...]:
    """What a file offers to an autoencoder; of a whole checkpoint only the autoencoder in it is seen."""
    return tuple(_offers(header, path))


def _offers(header: Header, path: Path) -> Iterator[Given]:
    within = any(key.startswith(layouts.VAE) for key in header.tensors)
    names = {key: key.removeprefix(layouts.VAE) for key in header.tensors if not within or key.startswith(layouts.VAE)}
    names = {key: name for key, name in names.items() if not LEFT_OUT.fullmatch(name)}
    rules = diffusers_rules(tuple(names.values())) or PLAIN
    for key, name in names.items():
        for piece in translate(rules, name, "an autoencoder (VAE) of diffusers"):
            yield Given(part="vae", file=path, key=key, piece=piece, info=header.tensors[key])


def diffusers_rules(keys: tuple[str, ...]) -> tuple[Rule, ...] | None:
    """The rules from diffusers' names, for the levels and blocks that the keys tell of; None where the names are others."""
    found = [(int(match[1]), int(match[2])) for key in keys if (match := BLOCK.match(key))]
    if not found:
        return None
    levels, blocks = (max(numbers) + 1 for numbers in zip(*found, strict=True))
    return layouts.diffusers_vae(levels, blocks)


def fitting(offers: tuple[Given, ...], like: VAESpec) -> VAESpec:
    """The description of an autoencoder that stands in for one like `like`; `ModelFileError` says why it cannot."""
    shapes = {given.piece.key: given.piece.shape(given.info.shape) for given in offers}
    if "decoder.conv_in.weight" not in shapes:
        raise ModelFileError("It holds no autoencoder (VAE); choose a file from models/VAE.")
    found = replace(vae_spec(shapes), scale=like.scale, shift=like.shift, groups=like.groups)
    if found.latent_channels != like.latent_channels:
        raise ModelFileError(
            f"It is for other models: its latents have {found.latent_channels} channels, the model's {like.latent_channels}."
        )
    if (found.factor, found.picture_channels) != (like.factor, like.picture_channels):
        raise ModelFileError(
            f"It is for other models: it makes {found.factor} pixels a side and {found.picture_channels} colours of one latent "
            f"pixel, the model's own {like.factor} and {like.picture_channels}."
        )
    return found
