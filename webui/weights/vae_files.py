"""Files that hold an autoencoder alone: where their weights go, and whether it fits a model.

They use the names of single files, with or without the prefix, or diffusers'; training state beside the weights is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.spec import VAESpec
from webui.weights import folders, layouts
from webui.weights.files import Header, read_header
from webui.weights.plans import Given
from webui.weights.rules import Rule, translate
from webui.weights.shapes import vae_spec

LEFT_OUT = re.compile(
    r"(loss|model_ema|discriminator|optimizer_states|lr_schedulers|callbacks|loops)(\..*)?|logvar|epoch|global_step"
)
PLAIN = (Rule("{rest}", "{rest}"),)

BESIDE = (".vae.safetensors", ".vae.pt", ".vae.ckpt")  # what an autoencoder's file is called after its checkpoint's stem


def vae_beside(checkpoint: Path) -> Path | None:
    """The autoencoder that lies beside a checkpoint and has its name, as `x.vae.pt` beside `x.ckpt`; None where there is none."""
    stem = checkpoint.name if checkpoint.is_dir() else checkpoint.stem
    candidates = (checkpoint.with_name(stem + ending) for ending in BESIDE)
    return next((each for each in candidates if os.path.isfile(each)), None)


def headers_at(path: Path) -> dict[Path, Header]:
    """The headers of an autoencoder's files: a single one, diffusers' folder of one, or the vae/ of a whole model's folder."""
    if not path.is_dir():
        return {path: read_header(path)}
    folder = path / folders.VAE if folders.is_folder(path) else path
    return {file: read_header(file) for file in folders.weight_files(folder, path)}


def offered(headers: Mapping[Path, Header]) -> tuple[Given, ...]:
    """What files offer to an autoencoder; of a whole checkpoint only the autoencoder in it is seen."""
    return tuple(_offers(headers))


def _offers(headers: Mapping[Path, Header]) -> Iterator[Given]:
    keys = [(path, key) for path, header in headers.items() for key in header.tensors]
    within = any(key.startswith(layouts.VAE) for _, key in keys)
    named = [(path, key, key.removeprefix(layouts.VAE)) for path, key in keys if not within or key.startswith(layouts.VAE)]
    named = [each for each in named if not LEFT_OUT.fullmatch(each[2])]
    rules = diffusers_rules(tuple(name for *_, name in named)) or PLAIN
    for path, key, name in named:
        for piece in translate(rules, name, "an autoencoder (VAE) of diffusers"):
            yield Given(part="vae", file=path, key=key, piece=piece, info=headers[path].tensors[key])


def diffusers_rules(names: tuple[str, ...]) -> tuple[Rule, ...] | None:
    """The rules from diffusers' names, for the levels and blocks that they tell of; None where the names are others."""
    return folders.rules_of(folders.VAE, names) if any(map(folders.VAE_BLOCK.match, names)) else None


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
