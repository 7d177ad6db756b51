"""What a network's weights say about it: its description from the names and shapes of its tensors.

Files tell widths and depths, but neither the number of attention heads, which follows from conventions, nor the scale of latents,
which the family knows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from webui.errors import ModelFileError
from webui.nets.spec import TextSpec, UNetSpec, VAESpec

MOST_BLOCKS = 64  # in one half of a noise predictor; each is looked for among all keys


def _count(keys: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """Return how many different numbers stand in the pattern's group."""
    return len({match[1] for key in keys if (match := re.match(pattern, key))})


def _needed(shapes: Mapping[str, tuple[int, ...]], key: str, part: str, axes: int) -> tuple[int, ...]:
    if key not in shapes:
        raise ModelFileError(f"Its {part} is incomplete: {key} is missing.")
    if len(shapes[key]) != axes:
        raise ModelFileError(f"Its {part} is broken: {key} has the shape {list(shapes[key])}, not one of {axes} sides.")
    return shapes[key]


def _alike(values: list[int], what: str) -> int:
    if len(set(values)) != 1:
        raise ModelFileError(f"No known noise predictor has {what} that differ within a part of it ({values}).")
    return values[0]


def _usual(values: list[int]) -> int:
    """The value that most have, so that a single broken tensor is found by name and does not change what the file is."""
    return Counter(values).most_common(1)[0][0]


def unet_spec(shapes: Mapping[str, tuple[int, ...]]) -> UNetSpec:
    """Return the noise predictor's spec from the shapes of its weights (keys without prefix).

    Files do not tell the number of heads: networks whose projections are convolutions (SD 1) have 8, others heads of width 64,
    or, in networks too narrow for that, of width 8.
    """
    channels, in_channels = _needed(shapes, "input_blocks.0.0.weight", "noise predictor", 4)[:2]
    widths: list[list[int]] = [[]]
    depths: list[list[int]] = [[]]
    blocks = _count(shapes, r"input_blocks\.(\d+)\.")
    if blocks > MOST_BLOCKS:
        raise ModelFileError(f"No known noise predictor has {blocks} input blocks.")
    for block in range(1, blocks):
        if f"input_blocks.{block}.0.op.weight" in shapes or f"input_blocks.{block}.0.op.bias" in shapes:
            widths.append([])
            depths.append([])
            continue
        widths[-1].append(_needed(shapes, f"input_blocks.{block}.0.out_layers.3.weight", "noise predictor", 4)[0])
        depths[-1].append(_count(shapes, rf"input_blocks\.{block}\.1\.transformer_blocks\.(\d+)\."))
    per_level = [_alike(level, "widths") if level else 0 for level in widths]
    if any(width == 0 or width % channels for width in per_level):
        raise ModelFileError(f"No known noise predictor has levels of the widths {per_level} above {channels} channels.")
    cross = [shape[1] for key, shape in shapes.items() if key.endswith("attn2.to_k.weight") and len(shape) == 2]
    projections = [len(shape) for key, shape in shapes.items() if key.endswith("proj_in.weight")]
    if not cross or not projections:
        raise ModelFileError("Its noise predictor has no cross-attention, so it cannot follow a text.")
    linear = _usual(projections) == 2
    labelled = any(key.startswith("label_emb.") for key in shapes)
    guided = any(key.startswith("time_embedding.cond_proj.") for key in shapes)
    return UNetSpec(
        in_channels=in_channels,
        out_channels=_needed(shapes, "out.2.weight", "noise predictor", 4)[0],
        model_channels=channels,
        channel_mult=tuple(width // channels for width in per_level),
        res_blocks=_alike([len(level) for level in widths], "numbers of blocks"),
        transformer_depth=tuple(_alike(level, "depths") for level in depths),
        middle_depth=_count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        context_width=_usual(cross),
        heads=None if linear else 8,
        head_width=(64 if channels % 64 == 0 else 8) if linear else None,
        linear_projection=linear,
        label_width=_needed(shapes, "label_emb.0.0.weight", "noise predictor", 2)[1] if labelled else None,
        guidance_width=_needed(shapes, "time_embedding.cond_proj.weight", "noise predictor", 2)[1] if guided else None,
    )


def vae_spec(shapes: Mapping[str, tuple[int, ...]]) -> VAESpec:
    """Return the autoencoder's spec from the shapes of its weights (keys without prefix); `scale` is not in them."""
    channels, picture = _needed(shapes, "encoder.conv_in.weight", "autoencoder", 4)[:2]
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    widths = [_needed(shapes, f"encoder.down.{level}.block.0.conv2.weight", "autoencoder", 4)[0] for level in range(levels)]
    return VAESpec(
        channels=channels,
        channel_mult=tuple(width // channels for width in widths),
        res_blocks=_count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        latent_channels=_needed(shapes, "post_quant_conv.weight", "autoencoder", 4)[0],
        picture_channels=picture,
    )


def text_spec(family: TextSpec, shapes: Mapping[str, tuple[int, ...]]) -> TextSpec:
    """Return a text tower's spec from the shapes of its weights (keys without prefix); heads have width 64, four at least."""
    shapes = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}
    clip = family.kind == "clip"
    tokens = _needed(shapes, "embeddings.token_embedding.weight" if clip else "token_embedding.weight", "text tower", 2)
    positions = _needed(shapes, "embeddings.position_embedding.weight" if clip else "positional_embedding", "text tower", 2)
    layer = r"encoder\.layers\.(\d+)\." if clip else r"transformer\.resblocks\.(\d+)\."
    first = "encoder.layers.0.mlp.fc1.weight" if clip else "transformer.resblocks.0.mlp.c_fc.weight"
    if "text_projection" in shapes:
        projection: int | None = _needed(shapes, "text_projection", "text tower", 2)[1]
    elif "text_projection.weight" in shapes:
        projection = _needed(shapes, "text_projection.weight", "text tower", 2)[0]
    else:  # needed by whoever reads the pooled output; others' files may lack it
        projection = None if family.final_norm else family.projection
    return replace(
        family,
        vocabulary=tokens[0],
        width=tokens[1],
        heads=max(4, tokens[1] // 64),
        positions=positions[0],
        layers=_count(shapes, layer),
        hidden=_needed(shapes, first, "text tower", 2)[0],
        projection=projection,
    )
