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

MOST_BLOCKS = 64  # in one half of a noise predictor
TRANSFORMER = re.compile(r"(input_blocks\.\d+)\.1\.transformer_blocks\.(\d+)\.")


def _count(keys: Mapping[str, tuple[int, ...]], pattern: str) -> int:
    """Return how many different numbers stand in the pattern's group."""
    return len({match[1] for key in keys if (match := re.match(pattern, key))})


def _agreed(shapes: Mapping[str, tuple[int, ...]], part: str, *places: tuple[str, int]) -> int:
    """The size that most of these sides (keys and axes) have: a single broken tensor is unlike the rest, and found by name."""
    found = [shapes[key][axis] for key, axis in places if key in shapes and len(shapes[key]) > axis]
    if not found:
        raise ModelFileError(f"Its {part} is incomplete: {places[0][0]} is missing.")
    return Counter(found).most_common(1)[0][0]


def _alike(values: list[int], what: str) -> int:
    if len(set(values)) != 1:
        raise ModelFileError(f"No known noise predictor has {what} that differ within a part of it ({values}).")
    return values[0]


def unet_spec(shapes: Mapping[str, tuple[int, ...]]) -> UNetSpec:
    """Return the noise predictor's spec from the shapes of its weights (keys without prefix).

    Files do not tell the number of heads: networks whose projections are convolutions (SD 1) have 8, others heads of width 64,
    or, in networks too narrow for that, of width 8.
    """
    part = "noise predictor"
    channels = _agreed(shapes, part, ("input_blocks.0.0.weight", 0), ("out.0.weight", 0), ("time_embed.0.weight", 1))
    widths: list[list[int]] = [[]]
    depths: list[list[int]] = [[]]
    blocks = _count(shapes, r"input_blocks\.(\d+)\.")
    if blocks > MOST_BLOCKS:
        raise ModelFileError(f"No known noise predictor has {blocks} input blocks.")
    layers: dict[str, set[str]] = {}
    for match in filter(None, map(TRANSFORMER.match, shapes)):
        layers.setdefault(match[1], set()).add(match[2])
    for block in (f"input_blocks.{number}" for number in range(1, blocks)):
        if f"{block}.0.op.weight" in shapes or f"{block}.0.op.bias" in shapes:
            widths.append([])
            depths.append([])
            continue
        outer, inner, norm = f"{block}.0.out_layers.3.weight", f"{block}.0.in_layers.2.weight", f"{block}.0.out_layers.0.weight"
        widths[-1].append(_agreed(shapes, part, (outer, 0), (inner, 0), (norm, 0)))
        depths[-1].append(len(layers.get(block, ())))
    per_level = [_alike(level, "widths") if level else 0 for level in widths]
    if any(width == 0 or width % channels for width in per_level):
        raise ModelFileError(f"No known noise predictor has levels of the widths {per_level} above {channels} channels.")
    cross = [(key, 1) for key, shape in shapes.items() if key.endswith("attn2.to_k.weight")]
    projections = Counter(len(shape) for key, shape in shapes.items() if key.endswith("proj_in.weight"))
    if not cross or not projections:
        raise ModelFileError("Its noise predictor has no cross-attention, so it cannot follow a text.")
    linear = projections.most_common(1)[0][0] == 2
    labelled = any(key.startswith("label_emb.") for key in shapes)
    guided = any(key.startswith("time_embedding.cond_proj.") for key in shapes)
    return UNetSpec(
        in_channels=_agreed(shapes, part, ("input_blocks.0.0.weight", 1)),
        out_channels=_agreed(shapes, part, ("out.2.weight", 0), ("out.2.bias", 0)),
        model_channels=channels,
        channel_mult=tuple(width // channels for width in per_level),
        res_blocks=_alike([len(level) for level in widths], "numbers of blocks"),
        transformer_depth=tuple(_alike(level, "depths") for level in depths),
        middle_depth=_count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        context_width=_agreed(shapes, part, *cross),
        heads=None if linear else 8,
        head_width=(64 if channels % 64 == 0 else 8) if linear else None,
        linear_projection=linear,
        label_width=_agreed(shapes, part, ("label_emb.0.0.weight", 1)) if labelled else None,
        guidance_width=_agreed(shapes, part, ("time_embedding.cond_proj.weight", 1)) if guided else None,
    )


def vae_spec(shapes: Mapping[str, tuple[int, ...]]) -> VAESpec:
    """Return the autoencoder's spec from the shapes of its weights (keys without prefix); `scale` is not in them."""
    part, first = "autoencoder", "encoder.conv_in.weight"
    channels = _agreed(shapes, part, (first, 0), ("encoder.conv_in.bias", 0), ("encoder.down.0.block.0.norm1.weight", 0))
    levels = [f"encoder.down.{level}.block.0" for level in range(_count(shapes, r"encoder\.down\.(\d+)\."))]
    sides = [((f"{level}.conv2.weight", 0), (f"{level}.conv1.weight", 0), (f"{level}.norm2.weight", 0)) for level in levels]
    latent = (("post_quant_conv.weight", 0), ("post_quant_conv.bias", 0), ("decoder.conv_in.weight", 1))
    return VAESpec(
        channels=channels,
        channel_mult=tuple(_agreed(shapes, part, *places) // channels for places in sides),
        res_blocks=_count(shapes, r"encoder\.down\.0\.block\.(\d+)\."),
        latent_channels=_agreed(shapes, part, *latent),
        picture_channels=_agreed(shapes, part, (first, 1), ("decoder.conv_out.weight", 0), ("decoder.conv_out.bias", 0)),
    )


def text_spec(family: TextSpec, shapes: Mapping[str, tuple[int, ...]]) -> TextSpec:
    """Return a text tower's spec from the shapes of its weights (keys without prefix); heads have width 64, four at least."""
    shapes = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}
    part, clip = "text tower", family.kind == "clip"
    tokens = "embeddings.token_embedding.weight" if clip else "token_embedding.weight"
    positions = "embeddings.position_embedding.weight" if clip else "positional_embedding"
    layer = r"encoder\.layers\.(\d+)\." if clip else r"transformer\.resblocks\.(\d+)\."
    inner = "mlp.fc1.weight" if clip else "mlp.c_fc.weight"
    last = "final_layer_norm.weight" if clip else "ln_final.weight"
    width = _agreed(shapes, part, (tokens, 1), (positions, 1), (last, 0))
    if "text_projection" in shapes:
        projection: int | None = _agreed(shapes, part, ("text_projection", 1))
    elif "text_projection.weight" in shapes:
        projection = _agreed(shapes, part, ("text_projection.weight", 0))
    else:  # needed by whoever reads the pooled output; others' files may lack it
        projection = None if family.final_norm else family.projection
    return replace(
        family,
        vocabulary=_agreed(shapes, part, (tokens, 0)),
        width=width,
        heads=max(4, width // 64),
        positions=_agreed(shapes, part, (positions, 0)),
        layers=_count(shapes, layer),
        hidden=_agreed(shapes, part, (inner, 0), *((key, 0) for key in shapes if key.endswith(inner))),
        projection=projection,
    )
