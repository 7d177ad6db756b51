"""How depth estimators lie in files: which one a file or folder holds, and where its weights go. Needs no torch.

Folders are those of `transformers`: config.json and the weights beside it. Single files are our own small estimator, which its
metadata tells, and MiDaS' DPT as its authors name its weights, alone or within a Stable Diffusion 2 depth checkpoint.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError, quoted
from webui.nets.depth_spec import BitSpec, DepthSpec
from webui.weights import depth_configs
from webui.weights.files import Header, Stamp, read_header
from webui.weights.folders import is_folder, read_json, weight_files
from webui.weights.layouts import DEPTH
from webui.weights.plans import Given
from webui.weights.rules import Rule, translate

PART = "depth"
WAY = "an estimator of the kind that its description says"
MIDAS_MARK = "pretrained.model.blocks.0.norm1.weight"
ORIGINAL = re.compile(r"(pretrained\.blocks|depth_head)\.")  # Depth Anything as its authors name its weights
ADVICE = "choose a folder with config.json as transformers writes it, from models/depth"
HEAD_WIDTH = 64  # channels of one attention head in every published transformer of this kind
MIDAS_TAPS = {12: (3, 6, 9, 12), 24: (6, 12, 18, 24)}  # by the number of layers
MOST_LAYERS = 128

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


MIDAS = (
    Rule("pretrained.model.patch_embed.proj.{p}", "dpt.embeddings.patch_embeddings.projection.{p}"),
    *_midas(),
)
MIDAS_HYBRID = (
    Rule("pretrained.model.patch_embed.proj.{p}", "dpt.embeddings.projection.{p}"),
    *_midas(),
)

DPT = (
    Rule("dpt.layernorm.{p}"),  # as in MIDAS
    Rule("dpt.pooler.dense.{p}"),
    Rule("auxiliary_head.{rest}"),
    Rule("{rest}", "{rest}"),
)

# Files have the names of older releases of `transformers`, whose classes have others now.
OLD, NEW = "backbone.encoder.layer.{n}.attention", "backbone.encoder.layer.{n}.attention"
DEPTH_ANYTHING = (
    Rule("backbone.embeddings.mask_token"),  # of training
    *(
        Rule(f"{OLD}.attention.{theirs}.{{p}}", f"{NEW}.{theirs[0]}_proj.{{p}}") for theirs in ("query", "key", "value")
    ),
    Rule(f"{OLD}.output.dense.{{p}}", f"{NEW}.o_proj.{{p}}"),
    Rule(
        "backbone.encoder.layer.{n}.mlp.weights_in.{p}",
        "backbone.encoder.layer.{n}.mlp.gate_proj.{p}", "backbone.encoder.layer.{n}.mlp.up_proj.{p}",
    ),
    Rule("backbone.encoder.layer.{n}.mlp.weights_out.{p}", "backbone.encoder.layer.{n}.mlp.down_proj.{p}"),
    Rule("{rest}", "{rest}"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """An estimator that was found: what it is, what the files offer to it, by which rules, and the files' stamps."""

    spec: DepthSpec
    offers: tuple[Given, ...]
    rules: tuple[Rule, ...]
    stamps: Mapping[Path, Stamp]


def is_estimator_folder(path: Path) -> bool:
    """Whether a folder has a description of a network as `transformers` writes it, and is no whole model."""
    if is_folder(path) or not os.path.isfile(path / depth_configs.CONFIG):
        return False
    try:
        return isinstance(read_json(path / depth_configs.CONFIG, path).get("model_type"), str)
    except ModelFileError:
        return False


def headers_of(path: Path) -> dict[Path, Header]:
    """The headers of a folder's weight files."""
    return {file: read_header(file) for file in weight_files(path, path)}


def described_folder(path: Path) -> Described:
    """What a folder of `transformers` holds; `ModelFileError` says what it lacks, or what else it is."""
    if not os.path.isfile(path / depth_configs.CONFIG):
        raise ModelFileError(f"It is a folder without {depth_configs.CONFIG}; {ADVICE}.")
    config, sight = (read_json(path / name, path, missing=True) for name in (depth_configs.CONFIG, depth_configs.SIGHT))
    spec = depth_configs.described(config, sight)
    rules = DPT if spec.family == "dpt" else DEPTH_ANYTHING
    headers = headers_of(path)
    offers = tuple(each for file, header in headers.items() for each in _offers(header, file, rules))
    return Described(spec=spec, offers=offers, rules=rules, stamps={file: header.stamp for file, header in headers.items()})


def described_file(header: Header, path: Path) -> Described:
    """What a single file holds; `ModelFileError` says what else it is."""
    prefix = DEPTH if any(key.startswith(DEPTH) for key in header.tensors) else ""
    keys = [key for key in header.tensors if key.startswith(prefix)]
    if prefix + MIDAS_MARK not in header.tensors:
        if any(map(ORIGINAL.match, keys)):
            raise ModelFileError(f"It is Depth Anything as its authors publish it, which is not enough to build it; {ADVICE}.")
        raise ModelFileError(f"It holds no depth estimator; {ADVICE}.")
    return described_midas(header, path, prefix)


def described_midas(header: Header, path: Path, prefix: str) -> Described:
    """MiDaS' DPT under a prefix of a file."""
    tensors = {key.removeprefix(prefix): info for key, info in header.tensors.items() if key.startswith(prefix)}
    spec = midas_spec({key: info.shape for key, info in tensors.items()})
    rules = MIDAS if spec.bit is None else MIDAS_HYBRID
    return Described(spec=spec, offers=tuple(_offers(header, path, rules, prefix)), rules=rules, stamps={path: header.stamp})


def midas_spec(shapes: Mapping[str, tuple[int, ...]]) -> DepthSpec:
    """MiDaS' DPT from the shapes of its weights; `ModelFileError` where there is none that has such.

    The epsilon is that of the transformers it was made of (timm's: 1e-6), which weights do not tell.
    """
    try:
        width, inner = shapes[MIDAS_MARK][0], shapes["pretrained.model.blocks.0.mlp.fc1.weight"][0]
        positions, fusion = shapes["pretrained.model.pos_embed"][1], shapes["scratch.layer1_rn.weight"][0]
        neck = tuple(shapes[f"scratch.layer{number}_rn.weight"][1] for number in (1, 2, 3, 4))
        head = shapes["scratch.output_conv.2.weight"][0]
    except (KeyError, IndexError) as error:
        raise ModelFileError(f"Its depth estimator (MiDaS) is incomplete or broken: {quoted(str(error.args[0]))}.") from error
    layers = len({match[1] for key in shapes if (match := re.match(r"pretrained\.model\.blocks\.(\d{1,3})\.", key))})
    grid = int((positions - 1) ** 0.5)
    hybrid = any(key.startswith(f"{BACKBONE}.") for key in shapes)
    if layers not in MIDAS_TAPS or width % HEAD_WIDTH or grid**2 + 1 != positions:
        raise ModelFileError(f"No known MiDaS has {layers} layers of {width} channels and {positions} positions.")
    return DepthSpec(
        family="dpt", width=width, layers=layers, heads=width // HEAD_WIDTH, inner=inner, patch=16, grid=grid,
        taps=MIDAS_TAPS[layers], neck=neck, factors=(1, 1, 1, 0.5) if hybrid else (4, 2, 1, 0.5), fusion=fusion, head=head,
        bit=_bit(shapes) if hybrid else None,
    )  # fmt: skip


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


def _offers(header: Header, path: Path, rules: tuple[Rule, ...], prefix: str = "") -> Iterator[Given]:
    for key, info in header.tensors.items():
        if key.startswith(prefix):
            for piece in translate(rules, key.removeprefix(prefix), WAY):
                yield Given(part=PART, file=path, key=key, piece=piece, info=info)


def title(spec: DepthSpec) -> str:
    """What an estimator is, in words that end a sentence."""
    if spec.family == "dpt":
        name = "DPT" if spec.bit is None else "DPT-hybrid"
        return f"a depth estimator ({name}, MiDaS, {spec.layers} layers of width {spec.width})"
    unit = "" if spec.metres is None else f", in metres up to {spec.metres}"
    return f"a depth estimator (Depth Anything, {spec.layers} layers of width {spec.width}{unit})"


def small_description(header: Header, key: str) -> Mapping[str, object] | None:
    """What a file's metadata says of our own small estimator under a key; None where it says nothing."""
    if key not in header.metadata:
        return None
    try:
        plain = json.loads(header.metadata[key])
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"Its own description, {key} in its metadata, is not valid JSON.") from error
    if not isinstance(plain, dict):
        raise ModelFileError(f"Its own description, {key} in its metadata, is not a table.")
    return plain
