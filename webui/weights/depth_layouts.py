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
from typing import Any

from webui.errors import ModelFileError
from webui.nets.depth_spec import DepthSpec
from webui.nets.spec import ModelSpec
from webui.weights import depth_configs
from webui.weights.files import Header, Stamp, read_header
from webui.weights.folders import WEIGHTS, is_folder, read_json, weight_files
from webui.weights.layouts import DEPTH
from webui.weights.midas import MARK, midas_rules, midas_spec
from webui.weights.plans import Given
from webui.weights.remembered import CONFIG
from webui.weights.rules import Rule, translate

PART = "depth"
SMALL_MARK = "start.0.weight"  # a weight that only our own small estimator has
IN_FOLDER, SIGHT_FOLDER = "depth_estimator", "feature_extractor"  # of a diffusers folder
WAY = "an estimator of the kind that its description says"
ORIGINAL = re.compile(r"(pretrained\.blocks|depth_head)\.")  # Depth Anything as its authors name its weights
ADVICE = "choose a folder with config.json as transformers writes it, from models/depth"

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
    if is_folder(path) or not os.path.isfile(path / CONFIG):
        return False
    try:
        return isinstance(read_json(path / CONFIG, path).get("model_type"), str)
    except ModelFileError:
        return False


def headers_of(path: Path) -> dict[Path, Header]:
    """The headers of a folder's weight files."""
    return {file: read_header(file) for file in weight_files(path, path)}


def header_of(path: Path) -> Header:
    """The header of the single file that would hold what a folder does, with the folder's own tables in its metadata."""
    headers = headers_of(path)
    tensors = {key: info for header in headers.values() for key, info in header.tensors.items()}
    config, sight = tables(path, path)
    metadata = {CONFIG: json.dumps(config), depth_configs.SIGHT: json.dumps(sight)}
    return Header(tensors=tensors, metadata=metadata, stamp=next(iter(headers.values())).stamp)


def tables(path: Path, sight_folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a folder's JSON files say of the network, and of how it sees pictures; `ModelFileError` where they say nothing."""
    if not os.path.isfile(path / CONFIG):
        raise ModelFileError(f"It is a folder without {CONFIG}; {ADVICE}.")
    return read_json(path / CONFIG, path), read_json(sight_folder / depth_configs.SIGHT, sight_folder, missing=True)


def brought(model: ModelSpec, header: Header, path: Path) -> Described | None:
    """The estimator that a model which takes a depth map brings: in its file, or as a network of its diffusers folder.

    None where it brings none; `ModelFileError` where that cannot be one.
    """
    if model.beside != "depth":
        return None
    if not is_folder(path):
        return described_midas(header, path, DEPTH) if any(key.startswith(DEPTH) for key in header.tensors) else None
    folder = path / IN_FOLDER
    return described_folder(folder, path / SIGHT_FOLDER) if is_estimator_folder(folder) and has_weights(folder) else None


def has_weights(folder: Path) -> bool:
    """Whether there are weight files in a folder, for some are downloaded without those of networks that seem of no use."""
    return any(map(WEIGHTS.fullmatch, os.listdir(folder)))


def described_folder(path: Path, sight_folder: Path | None = None) -> Described:
    """What a folder of `transformers` holds; `ModelFileError` says what it lacks, or what else it is."""
    spec = depth_configs.described(*tables(path, sight_folder or path))
    headers = headers_of(path)
    rules = rules_of(spec)
    offers = tuple(each for file, header in headers.items() for each in _offers(header, file, rules))
    return Described(spec=spec, offers=offers, rules=rules, stamps={file: header.stamp for file, header in headers.items()})


def rules_of(spec: DepthSpec) -> tuple[Rule, ...]:
    """The rules from the names in a folder to ours."""
    return DPT if spec.family == "dpt" else DEPTH_ANYTHING


def described_header(header: Header) -> Described:
    """What the header of a folder (see `header_of`) or of a single file tells; `ModelFileError` as above."""
    if CONFIG not in header.metadata:
        return described_file(header, Path())
    spec = depth_configs.described(json.loads(header.metadata[CONFIG]), json.loads(header.metadata[depth_configs.SIGHT]))
    rules = rules_of(spec)
    return Described(spec=spec, offers=tuple(_offers(header, Path(), rules)), rules=rules, stamps={})


def described_file(header: Header, path: Path) -> Described:
    """What a single file holds; `ModelFileError` says what else it is."""
    prefix = DEPTH if any(key.startswith(DEPTH) for key in header.tensors) else ""
    keys = [key for key in header.tensors if key.startswith(prefix)]
    if prefix + MARK not in header.tensors:
        if any(map(ORIGINAL.match, keys)):
            raise ModelFileError(f"It is Depth Anything as its authors publish it, which is not enough to build it; {ADVICE}.")
        raise ModelFileError(f"It holds no depth estimator; {ADVICE}.")
    return described_midas(header, path, prefix)


def described_midas(header: Header, path: Path, prefix: str) -> Described:
    """MiDaS' DPT under a prefix of a file."""
    tensors = {key.removeprefix(prefix): info for key, info in header.tensors.items() if key.startswith(prefix)}
    spec = midas_spec({key: info.shape for key, info in tensors.items()})
    rules = midas_rules(hybrid=spec.bit is not None)
    return Described(spec=spec, offers=tuple(_offers(header, path, rules, prefix)), rules=rules, stamps={path: header.stamp})


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
