"""Files that hold a ControlNet: which one, from names and shapes alone, and where its weights go. Needs no torch.

Three ways of naming one network are in use: the first release's, which is ours, in `control_model.` and often beside a whole
checkpoint; the same bare; and diffusers'.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError
from webui.nets.controlnet_spec import HINT_WIDTHS, ControlSpec
from webui.weights.expected import Weights, unet_weights
from webui.weights.files import Header
from webui.weights.layouts import unet_rules
from webui.weights.plans import Given
from webui.weights.rules import Rule, translate
from webui.weights.shapes import MOST_BLOCKS, unet_spec

PART = "controlnet"
PREFIX = "control_model."
HINT, OUT = "input_hint_block", "middle_block_out.0"
WITHOUT_TEXT = 2048  # the width of texts beside which small ControlNets of SDXL are used, which do not look at them
TITLES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
NOT_BUILT_IN = {  # what only they have, as keys begin without a prefix
    "is a union of several ControlNets": r"task_embedding|transformer_layes\.|spatial_ch_projs\.|control_add_embedding\.",
    "is a Control-LoRA": r"lora_controlnet",
    "holds the difference between a ControlNet and a model": r"difference",
    "was made for a model that is not built in": r"controlnet_blocks\.|double_blocks\.|transformer_blocks\.|pos_embed\.",
}
OURS = (Rule("{rest}", "{rest}"),)


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """A ControlNet's file: what network it holds, what it offers to it, and by which rules its keys became ours."""

    spec: ControlSpec
    offers: tuple[Given, ...]
    rules: tuple[Rule, ...]


def described(header: Header, path: Path) -> Described:
    """What a ControlNet's file holds; `ModelFileError` says what else it is, or why it cannot be used."""
    around = PREFIX if any(key.startswith(PREFIX) for key in header.tensors) else ""
    names = {key.removeprefix(around): key for key in header.tensors if key.startswith(around)}
    for what, keys in NOT_BUILT_IN.items():
        if any(re.match(keys, name) for name in names):
            raise ModelFileError(f"It {what}, which is not built in; choose a ControlNet of Stable Diffusion 1, 2 or XL.")
    if not any(re.match(r"zero_convs\.|controlnet_down_blocks\.", name) for name in names):
        raise ModelFileError("It is no ControlNet: it has no layers that join a noise predictor.")
    rules: tuple[Rule, ...] = OURS
    if "controlnet_cond_embedding.conv_in.weight" in names:
        rules = diffusers_rules(_count(names, r"down_blocks\.(\d+)\."), _count(names, r"down_blocks\.0\.resnets\.(\d+)\."))
    offers = tuple(
        Given(part=PART, file=path, key=key, piece=piece, info=header.tensors[key])
        for name, key in names.items()
        for piece in translate(rules, name, "a ControlNet")
    )
    shapes = {given.piece.key: given.piece.shape(given.info.shape) for given in offers}
    return Described(spec=control_spec(shapes), offers=offers, rules=rules)


def diffusers_rules(levels: int, blocks: int) -> tuple[Rule, ...]:
    """The rules from diffusers' `ControlNetModel`, of so many levels and residual blocks in each, to our names."""
    if levels * blocks > MOST_BLOCKS:
        raise ModelFileError(f"No known ControlNet has {levels} levels of {blocks} blocks.")
    return (
        Rule("controlnet_cond_embedding.conv_in.{p}", f"{HINT}.0.{{p}}"),
        *(Rule(f"controlnet_cond_embedding.blocks.{n}.{{p}}", f"{HINT}.{2 * n + 2}.{{p}}") for n in range(len(HINT_WIDTHS) - 1)),
        Rule("controlnet_cond_embedding.conv_out.{p}", f"{HINT}.{2 * len(HINT_WIDTHS)}.{{p}}"),
        Rule("controlnet_down_blocks.{n}.{p}", "zero_convs.{n}.0.{p}"),
        Rule("controlnet_mid_block.{p}", f"{OUT}.{{p}}"),
        *unet_rules(levels, blocks, (0,) * levels),
    )


def control_spec(shapes: Mapping[str, tuple[int, ...]]) -> ControlSpec:
    """The ControlNet that has weights of these shapes, by our keys; `ModelFileError` where none has."""
    try:
        channels, latent = shapes["input_blocks.0.0.weight"][:2]
        hint = [shapes[f"{HINT}.{2 * number}.weight"] for number in range(len(HINT_WIDTHS))]
        known = {**shapes, "out.2.weight": (latent, channels, 3, 3)}  # a noise predictor would say so at its end
        if not any(key.endswith("attn2.to_k.weight") for key in shapes):
            known |= {"attn2.to_k.weight": (channels, WITHOUT_TEXT), "proj_in.weight": (channels, channels)}
        return ControlSpec(unet=unet_spec(known), picture_channels=hint[0][1], hint_widths=tuple(each[0] for each in hint))
    except KeyError as error:
        raise ModelFileError(f"The ControlNet is incomplete: {error.args[0]} is missing. Download it again.") from error
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelFileError(f"Its weights have shapes that no ControlNet has ({error}); the file may be damaged.") from error


def title(spec: ControlSpec) -> str:
    """What a ControlNet is, in words that end a sentence."""
    return f"a ControlNet for {made_for(spec)}"


def made_for(spec: ControlSpec) -> str:
    """Which models a ControlNet was made for, in words."""
    width = spec.unet.context_width
    return TITLES.get(width, f"models with texts of width {width}")


def control_weights(spec: ControlSpec) -> Weights:
    """Yield key and shape of every weight of a ControlNet."""
    unet = spec.unet
    without = ("output_blocks.", "out.") if unet.middle_depth else ("output_blocks.", "out.", "middle_block.1.")
    yield from ((key, shape) for key, shape in unet_weights(unet) if not key.startswith(without))
    widths = [unet.model_channels]
    for level, mult in enumerate(unet.channel_mult):
        widths += [mult * unet.model_channels] * (unet.res_blocks + (level < unet.levels - 1))
    for name, width in ((f"zero_convs.{number}.0", width) for number, width in enumerate(widths)):
        yield from _layer(name, width, width, 1)
    yield from _layer(OUT, widths[-1], widths[-1], 1)
    through = (spec.picture_channels, *spec.hint_widths, unet.model_channels)
    for number in range(len(through) - 1):
        yield from _layer(f"{HINT}.{2 * number}", through[number + 1], through[number], 3)


def _layer(name: str, after: int, before: int, side: int) -> Weights:
    yield f"{name}.weight", (after, before, side, side)
    yield f"{name}.bias", (after,)


def _count(names: Collection[str], pattern: str) -> int:
    return len({match[1] for name in names if (match := re.match(pattern, name))})
