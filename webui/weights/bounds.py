"""What the numbers of a model's description may be: far beyond every known model, and within what can be built and drawn with.

A file may carry its own description, and the sizes of its weights say the rest. Both come from whoever made the file, so both are
checked before a network is built, and before a person waits for a picture that cannot come out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from webui.drawing import Drawing
from webui.errors import UserError, quoted
from webui.nets.spec import Activation, Layout, ModelSpec, Prediction, TextSpec, UNetSpec, VAESpec
from webui.params import LARGEST_SIDE

Range = tuple[int, int]
LONGEST_NAME = 100  # characters of a family's name or title
LEAST_ALPHA = 2.0**-24  # of the last training step but one; below it noise levels are all alike (see pipeline/noise_table.py)
BETAS = (1e-6, 0.5)
TOWERS = 2
VAE_LEVELS = 4  # one more, and 8 pixels, the step of a picture's sides, would be less than one of its latent

# Whole numbers by field, their least and greatest; of a row's entries where the field is a row.
UNET: Mapping[str, Range] = {
    "in_channels": (1, 128), "out_channels": (1, 128), "model_channels": (2, 4096), "channel_mult": (1, 16), "res_blocks": (1, 4),
    "transformer_depth": (0, 16), "middle_depth": (0, 16), "context_width": (1, 32_768), "heads": (1, 1024),
    "head_width": (1, 4096), "label_width": (1, 32_768), "guidance_width": (4, 32_768), "groups": (1, 1024),
}  # fmt: skip
VAE: Mapping[str, Range] = {
    "channels": (1, 4096), "channel_mult": (1, 16), "res_blocks": (1, 4), "latent_channels": (1, 128), "picture_channels": (3, 3),
    "groups": (1, 1024),
}  # fmt: skip
TEXT: Mapping[str, Range] = {
    "width": (1, 16_384), "layers": (1, 128), "heads": (1, 1024), "hidden": (1, 131_072), "projection": (1, 16_384),
    "vocabulary": (3, 1_000_000), "positions": (3, 4096), "padding": (0, 999_999), "skip": (1, 128),
}  # fmt: skip
MODEL: Mapping[str, Range] = {"train_steps": (2, 10_000), "native_size": (64, LARGEST_SIDE)}
ROWS: Mapping[str, int] = {"channel_mult": 6, "transformer_depth": 6}  # fields that are rows, and their most entries
OPTIONAL = frozenset({"heads", "head_width", "label_width", "guidance_width", "projection"})


def checked(spec: ModelSpec) -> ModelSpec:
    """The same spec; a ValueError says in a sentence which field is not what a model can have."""
    for name in ("family", "title"):
        _name(name, getattr(spec, name))
    _parts(spec)
    _wholes("", spec, MODEL)
    _wholes("unet.", spec.unet, UNET)
    _wholes("vae.", spec.vae, VAE)
    _unet(spec.unet)
    _vae(spec.vae)
    for tower in spec.text:
        _wholes("text.", tower, TEXT)
        _tower(tower)
    _choice("prediction", spec.prediction, get_args(Prediction))
    _flag("zero_terminal_snr", spec.zero_terminal_snr)
    _schedule(spec)
    _together(spec)
    return spec


def _parts(spec: ModelSpec) -> None:
    """The parts are specs themselves, which JSON alone does not make them."""
    if not isinstance(spec.unet, UNetSpec) or not isinstance(spec.vae, VAESpec):
        raise ValueError("unet and vae must be descriptions of networks.")
    towers = spec.text if isinstance(spec.text, tuple) else ()
    if not 1 <= len(towers) <= TOWERS or not all(isinstance(tower, TextSpec) for tower in towers):
        raise ValueError(f"text must be a row of one to {TOWERS} descriptions of text towers.")


def _wholes(part: str, owner: object, ranges: Mapping[str, Range]) -> None:
    """Check every whole number of one part."""
    for name, (least, greatest) in ranges.items():
        value, where = getattr(owner, name), part + name
        if value is None and name in OPTIONAL:
            continue
        row = name in ROWS
        if row and not (isinstance(value, tuple) and 1 <= len(value) <= ROWS[name]):
            raise ValueError(f"{where} is {_shown(value)}; it must be a row of 1 to {ROWS[name]} whole numbers.")
        for number in value if row else (value,):
            if type(number) is not int or not least <= number <= greatest:
                raise ValueError(f"{where} is {_shown(value)}; it must be a whole number from {least:,} to {greatest:,}.")


def _unet(spec: UNetSpec) -> None:
    """The noise predictor's channels divide into its groups and heads, and halve into cosines and sines of the time."""
    _flag("unet.linear_projection", spec.linear_projection)
    _divides("unet.model_channels", spec.model_channels, 2, "cosines and sines")
    if spec.guidance_width is not None:
        _divides("unet.guidance_width", spec.guidance_width, 2, "sines and cosines")
    _divides("unet.model_channels", spec.model_channels, spec.groups, "groups")
    depths = (*spec.transformer_depth, spec.middle_depth)
    for mult, depth in zip((*spec.channel_mult, spec.channel_mult[-1]), depths, strict=True):
        if depth > 0:
            _divides("a level of unet", mult * spec.model_channels, spec.heads or spec.head_width or 1, "attention heads")


def _vae(spec: VAESpec) -> None:
    """The autoencoder's channels divide into its groups, and its latents have a scale."""
    if len(spec.channel_mult) > VAE_LEVELS:
        raise ValueError(f"vae.channel_mult is {_shown(spec.channel_mult)}; it must be a row of 1 to {VAE_LEVELS} whole numbers.")
    _divides("vae.channels", spec.channels, spec.groups, "groups")
    _number("vae.scale", spec.scale, 1e-6, 1e6)
    _number("vae.shift", spec.shift, -1e6, 1e6)


def _tower(spec: TextSpec) -> None:
    """A text tower's width divides into its heads; the layer read and the padding are among those it has."""
    _choice("text.kind", spec.kind, get_args(Layout))
    _choice("text.activation", spec.activation, get_args(Activation))
    _flag("text.final_norm", spec.final_norm)
    _divides("text.width", spec.width, spec.heads, "attention heads")
    for name, value, greatest in (("skip", spec.skip, spec.layers), ("padding", spec.padding, spec.vocabulary - 1)):
        if value > greatest:
            raise ValueError(f"text.{name} is {value}; it must be at most {greatest}.")


def _schedule(spec: ModelSpec) -> None:
    """Noise levels rise from one training step to the next, to the last."""
    if not isinstance(spec.betas, tuple) or len(spec.betas) != 2:
        raise ValueError(f"betas is {_shown(spec.betas)}; it must be two numbers.")
    for value in spec.betas:
        _number("betas", value, *BETAS)
    first, last = (math.sqrt(beta) for beta in spec.betas)
    if first > last:
        raise ValueError(f"betas is {_shown(spec.betas)}; the first must not be above the second.")
    steps = spec.train_steps - 1
    log_alpha = sum(math.log1p(-((first + (last - first) * step / steps) ** 2)) for step in range(steps))
    if log_alpha < math.log(LEAST_ALPHA):
        raise ValueError(f"betas {spec.betas} over {spec.train_steps} steps leave nothing of the picture before the last step.")


def _together(spec: ModelSpec) -> None:
    """The networks fit each other, and the native size is one that a person could ask for."""
    width = sum(tower.width for tower in spec.text)
    if width != spec.unet.context_width:
        raise ValueError(f"the text towers give tokens of width {width}; the noise predictor needs {spec.unet.context_width}.")
    if spec.unet.out_channels != spec.vae.latent_channels or spec.unet.in_channels < spec.vae.latent_channels:
        found = f"{spec.unet.in_channels} and gives {spec.unet.out_channels}"
        raise ValueError(f"the noise predictor takes {found} channels; latents have {spec.vae.latent_channels}.")
    try:
        Drawing(width=spec.native_size, height=spec.native_size)
    except UserError as error:
        raise ValueError(f"native_size does not do: {error}") from error


def _divides(where: str, channels: int, parts: int, what: str) -> None:
    if channels % parts:
        raise ValueError(f"{where} has {channels} channels, which {parts} {what} cannot share.")


def _number(where: str, value: Any, least: float, greatest: float) -> None:
    if type(value) not in (int, float) or not least <= value <= greatest:  # NaN is in no range
        raise ValueError(f"{where} is {_shown(value)}; it must be a number from {least:g} to {greatest:g}.")


def _choice(where: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{where} is {_shown(value)}; it must be one of: {', '.join(known)}.")


def _flag(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{where} is {_shown(value)}; it must be true or false.")


def _name(where: str, value: Any) -> None:
    # Printable, because it is shown on terminals, which obey other characters.
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{where} is {_shown(value)}; it must be 1 to {LONGEST_NAME} printable characters.")


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else quoted(repr(value))[1:-1]
