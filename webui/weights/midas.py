"""MiDaS' depth estimators (DPT) as their authors name the weights: alone, or within Stable Diffusion 2 depth checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from webui.errors import ModelFileError, quoted
from webui.nets.depth_spec import BitSpec, DepthSpec, SightSpec
from webui.nets.spec import ModelSpec
from webui.weights.layouts import DEPTH
from webui.weights.rules import Rule

MARK = "pretrained.model.blocks.0.norm1.weight"  # a weight that only MiDaS' files have
HEAD_WIDTH = 64  # channels of one attention head in every published transformer of this kind
PATCH = 16
TAPS = {12: (3, 6, 9, 12), 24: (6, 12, 18, 24)}  # the layers read, by how many there are

QKV = tuple(f"dpt.encoder.layer.{{n}}.attention.attention.{name}.{{p}}" for name in ("query", "key", "value"))
BACKBONE, BIT, LAYER = "pretrained.model.patch_embed.backbone", "dpt.embeddings.backbone.bit", "dpt.encoder.layer.{n}"
NECK = "neck.reassemble_stage"


def _midas() -> Iterator[Rule]:
    yield Rule("pretrained.model.cls_token", "dpt.embeddings.cls_token")
    yield Rule("pretrained.model.pos_embed", "dpt.embeddings.position_embeddings")
    yield Rule(f"{BACKBONE}.stem.conv.weight", f"{BIT}.embedder.convolution.weight")
    yield Rule(f"{BACKBONE}.stem.norm.{{p}}", f"{BIT}.embedder.norm.{{p}}")
    yield Rule(f"{BACKBONE}.stages.{{n}}.blocks.{{m}}.{{rest}}", f"{BIT}.encoder.stages.{{n}}.layers.{{m}}.{{rest}}")
    yield Rule("pretrained.model.blocks.{n}.attn.qkv.{p}", *QKV)
    for theirs, ours in (
        ("attn.proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
        ("norm1", "layernorm_before"), ("norm2", "layernorm_after"),
    ):  # fmt: skip
        yield Rule(f"pretrained.model.blocks.{{n}}.{theirs}.{{p}}", f"{LAYER}.{ours}.{{p}}")
    yield Rule("pretrained.model.norm.{p}")  # after the last layer, whose features are read before it
    yield Rule("pretrained.model.head.{p}")  # of the classes that it was first trained on
    for stage in range(4):
        yield Rule(f"pretrained.act_postprocess{stage + 1}.0.project.0.{{p}}", f"{NECK}.readout_projects.{stage}.0.{{p}}")
        yield Rule(f"pretrained.act_postprocess{stage + 1}.3.{{p}}", f"{NECK}.layers.{stage}.projection.{{p}}")
        yield Rule(f"pretrained.act_postprocess{stage + 1}.4.{{p}}", f"{NECK}.layers.{stage}.resize.{{p}}")
        yield Rule(f"scratch.layer{stage + 1}_rn.weight", f"neck.convs.{stage}.weight")
        theirs, ours = f"scratch.refinenet{4 - stage}", f"neck.fusion_stage.layers.{stage}"
        yield Rule(f"{theirs}.out_conv.{{p}}", f"{ours}.projection.{{p}}")
        yield Rule(f"{theirs}.resConfUnit{{m}}.conv{{k}}.{{p}}", f"{ours}.residual_layer{{m}}.convolution{{k}}.{{p}}")
    yield Rule("scratch.output_conv.{n}.{p}", "head.head.{n}.{p}")


ALIKE = tuple(_midas())
PATCHES, FOLDED = (
    Rule("pretrained.model.patch_embed.proj.{p}", f"dpt.embeddings.{layer}.{{p}}")
    for layer in ("patch_embeddings.projection", "projection")
)


def midas_rules(*, hybrid: bool) -> tuple[Rule, ...]:
    """The rules from MiDaS' names to those of `transformers`, in which a hybrid's first layer has a name of its own."""
    return (FOLDED if hybrid else PATCHES, *ALIKE)


def is_hybrid(keys: Iterable[str]) -> bool:
    """Whether keys of a file with MiDaS, whatever their prefix, are those of one with convolutions before its transformer."""
    return any(f"{BACKBONE}." in key for key in keys)


def own_estimator(spec: ModelSpec, shapes: Mapping[str, tuple[int, ...]]) -> DepthSpec | None:
    """The estimator within a checkpoint whose model takes a depth map; None where there is none. Raises `ModelFileError`."""
    own = {key.removeprefix(DEPTH): shape for key, shape in shapes.items() if key.startswith(DEPTH)}
    return midas_spec(own) if spec.beside == "depth" and own else None


def midas_spec(shapes: Mapping[str, tuple[int, ...]]) -> DepthSpec:
    """MiDaS' DPT from the shapes of its weights; `ModelFileError` where there is none that has such.

    The epsilon is that of the transformers it was made of (timm's: 1e-6), which weights do not tell.
    """
    try:
        width, inner = shapes[MARK][0], shapes["pretrained.model.blocks.0.mlp.fc1.weight"][0]
        positions, fusion = shapes["pretrained.model.pos_embed"][1], shapes["scratch.layer1_rn.weight"][0]
        neck = tuple(shapes[f"scratch.layer{number}_rn.weight"][1] for number in (1, 2, 3, 4))
        head = shapes["scratch.output_conv.2.weight"][0]
    except (KeyError, IndexError) as error:
        raise ModelFileError(f"Its depth estimator (MiDaS) is incomplete or broken: {quoted(str(error.args[0]))}.") from error
    layers = len({match[1] for key in shapes if (match := re.match(r"pretrained\.model\.blocks\.(\d{1,3})\.", key))})
    grid = int(max(positions - 1, 0) ** 0.5)
    bit = _bit(shapes) if is_hybrid(shapes) else None
    whole = (
        layers in TAPS and width % HEAD_WIDTH == 0 and grid**2 + 1 == positions and min(width, grid, fusion - 1, head, *neck) > 0
    )
    if not whole or not (bit is None or _is_whole(bit, neck)):
        raise ModelFileError(
            f"No known MiDaS has {layers} layers of {width} channels, {positions} positions and a neck of {neck}."
        )
    return DepthSpec(
        family="dpt", width=width, layers=layers, heads=width // HEAD_WIDTH, inner=inner, patch=PATCH, grid=grid,
        taps=TAPS[layers], neck=neck, factors=(1, 1, 1, 0.5) if bit else (4, 2, 1, 0.5), fusion=fusion, head=head, bit=bit,
        sight=SightSpec(side=grid * PATCH, multiple=2 * PATCH),
    )  # fmt: skip


def _is_whole(bit: BitSpec, neck: tuple[int, ...]) -> bool:
    """Whether groups can share a hybrid's convolutions, whose first two features the decoder reads."""
    shared = bit.stem % bit.groups == 0 and all(width % (4 * bit.groups) == 0 for width in bit.widths)
    return shared and min(bit.stem, *bit.widths) > 0 and neck[:2] == bit.widths[:2]


def _bit(shapes: Mapping[str, tuple[int, ...]]) -> BitSpec:
    blocks = re.compile(re.escape(BACKBONE) + r"\.stages\.([012])\.blocks\.(\d{1,3})\.")
    found = {(int(match[1]), int(match[2])) for match in map(blocks.match, shapes) if match}
    try:
        return BitSpec(
            stem=shapes[f"{BACKBONE}.stem.norm.weight"][0],
            widths=tuple(shapes[f"{BACKBONE}.stages.{stage}.blocks.0.conv3.weight"][0] for stage in range(3)),
            depths=tuple(sum(at == stage for at, _ in found) for stage in range(3)),
        )
    except (KeyError, IndexError) as error:
        raise ModelFileError(f"Its depth estimator (MiDaS) is incomplete or broken: {quoted(str(error.args[0]))}.") from error
