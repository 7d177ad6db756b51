"""diffusers folders: a model as several files, `model_index.json` saying which networks there are.

A folder is read as the single file that would hold the same: `header` gives the header which that file would have, with the spec
that follows from the folder's configurations in its metadata, so that whatever tells files apart tells folders apart too. Nothing
outside the folder is opened, whatever its files say; links inside it are followed, as the Hugging Face cache is made of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.errors import ModelFileError, quoted
from webui.nets.spec import Layout
from webui.weights import folder_configs, layouts
from webui.weights.families import CLIP_L, MERGES_KEY, SPEC_KEY, detect
from webui.weights.files import Header, Stamp, TensorInfo, read_header
from webui.weights.plans import Given
from webui.weights.remembered import MODEL_INDEX
from webui.weights.rules import Rule, translate
from webui.weights.vocabulary import clip_merges

LONGEST_JSON = 1 << 24  # bytes; the index of a sharded SDXL has 200,000
UNET, VAE, TOWERS = "unet", "vae", ("text_encoder", "text_encoder_2")
NETWORKS = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("CLIPTextModel", "CLIPTextModelWithProjection"),
}  # folders, and the classes of their networks that can be used
OTHERS = ("transformer", "prior", "decoder", "text_encoder_3")  # folders of networks that make it another kind of model
WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>\w+))?\.(?P<kind>safetensors|bin)"
    r"(?P<index>\.index(?:\.(?P<indexed>\w+))?\.json)?"
)
VARIANTS = (None, "fp16", "bf16")  # the order in which they are taken; others after them, without averaging last
NUMBER = r"(\d{1,3})"
UNET_BLOCK = re.compile(rf"down_blocks\.{NUMBER}\.(resnets|attentions)\.{NUMBER}\.(?:transformer_blocks\.{NUMBER}\.)?")
VAE_BLOCK = re.compile(rf"encoder\.down_blocks\.{NUMBER}\.resnets\.{NUMBER}\.")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A diffusers folder whose headers were read: files by network, and what its JSON files say."""

    path: Path
    files: Mapping[str, tuple[tuple[Path, Header], ...]]
    configs: Mapping[str, Mapping[str, Any]]  # by network, and of the scheduler
    towers: tuple[str, ...]  # the folders of the text towers, in order
    merges: tuple[str, ...] | None  # of the tokenizer; None where there is none

    @property
    def stamps(self) -> dict[Path, Stamp]:
        """Size and time of every weight file."""
        return {path: header.stamp for files in self.files.values() for path, header in files}

    @property
    def parts(self) -> dict[str, str]:
        """The names of our parts by network."""
        return {UNET: "unet", VAE: "vae", **{name: f"text{index}" for index, name in enumerate(self.towers)}}


def is_folder(path: Path) -> bool:
    """Whether this is a folder with a model in it, as diffusers writes one."""
    return os.path.isfile(path / MODEL_INDEX)


def files_of(path: Path) -> tuple[Path, ...]:
    """All weight files of a folder."""
    networks = _networks(read_json(path / MODEL_INDEX, path), path)
    return tuple(file for name in networks for file in weight_files(path / name, path))


def opened(path: Path) -> Folder:
    """Read the headers of a folder's files and its configurations; `ModelFileError` says what it lacks, or what else it is."""
    index = read_json(path / MODEL_INDEX, path)
    networks = _networks(index, path)
    files = {name: tuple((file, _header(file)) for file in weight_files(path / name, path)) for name in networks}
    configs = {name: read_json(path / name / "config.json", path, missing=True) for name in networks}
    configs["scheduler"] = read_json(path / "scheduler" / "scheduler_config.json", path, missing=True)
    towers = tuple(name for name in TOWERS if name in networks)
    return Folder(path=path, files=files, configs=configs, towers=towers, merges=_tokenizer(path, towers))


def offered(folder: Folder) -> Iterator[Given]:
    """Yield what a folder's files offer to the parts of a model."""
    for name, part in folder.parts.items():
        rules = rules_of(name, [key for _, header in folder.files[name] for key in header.tensors])
        for path, header in folder.files[name]:
            for key, info in header.tensors.items():
                for piece in translate(rules, key, f"{name}/ of a diffusers folder"):
                    yield Given(part=part, file=path, key=key, piece=piece, info=info)


def rules_of(name: str, keys: Iterable[str]) -> tuple[Rule, ...]:
    """The rules from a network's names in a folder to ours, for the levels and blocks that the keys tell of."""
    if name in TOWERS:
        return layouts.CLIP
    found = [match for key in keys if (match := (VAE_BLOCK if name == VAE else UNET_BLOCK).match(key))]
    resnets = [int(match[2 if name == VAE else 3]) for match in found if name == VAE or match[2] == "resnets"]
    levels, blocks = (max(numbers, default=-1) + 1 for numbers in ([int(match[1]) for match in found], resnets))
    if not resnets or max(levels, blocks) > layouts.MOST_LEVELS:
        raise ModelFileError(f"{name}/ does not hold the network that belongs there: it has {levels} levels of {blocks} blocks.")
    if name == VAE:
        return layouts.diffusers_vae(levels, blocks)
    depth = [0] * levels
    for match in found:
        if match[4] is not None:
            depth[int(match[1])] = max(depth[int(match[1])], int(match[4]) + 1)
    return layouts.unet_rules(levels, blocks, tuple(depth))


def weight_files(folder: Path, model: Path) -> tuple[Path, ...]:
    """The files of one network: of several variants the one with the fullest numbers, of two formats safetensors.

    An index names its parts, which must lie beside it. Raises `ModelFileError`.
    """
    where = _shown(folder, model)
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ModelFileError(f"{where} cannot be read: {error.strerror}.") from error
    found = [match for name in names if (match := WEIGHTS.fullmatch(name))]
    if not found:
        raise ModelFileError(f"{where} holds no weights; expected is diffusion_pytorch_model.safetensors or model.safetensors.")
    best = min(found, key=_rank)
    if best["index"] is None:
        return (folder / best[0],)
    parts = read_json(folder / best[0], model).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise ModelFileError(f"{where}{best[0]} does not say which files hold the weights.")
    for name in set(parts.values()):
        # A name with a separator or a drive would lead out of the folder.
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.+-]*", name) or name in (".", ".."):
            raise ModelFileError(f"{where}{best[0]} names {quoted(str(name))}, which is not a file beside it.")
    return tuple(folder / name for name in sorted(set(parts.values())))


def _rank(match: re.Match[str]) -> tuple[bool, int, bool, str]:
    variant = match["variant"] or match["indexed"]
    order = VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS) + (variant == "non_ema")
    return match["kind"] == "bin", order, match["index"] is not None, match[0]


def read_json(path: Path, model: Path, *, missing: bool = False) -> dict[str, Any]:
    """A JSON file's table, an empty one where the file may be `missing` and is; `ModelFileError` names it below `model`."""
    where = _shown(path, model).rstrip("/")
    if not os.path.isfile(path):  # to open a pipe would be to wait until somebody writes to it
        if missing and not os.path.lexists(path):
            return {}
        raise ModelFileError(f"{where} is missing, or is no ordinary file.")
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_JSON + 1)
    except OSError as error:
        raise ModelFileError(f"{where} cannot be read: {error.strerror}.") from error
    try:
        plain = json.loads(text) if len(text) <= LONGEST_JSON else None
    except (ValueError, RecursionError):
        plain = None
    if not isinstance(plain, dict):
        raise ModelFileError(f"{where} is broken: it is not a table in JSON.")
    return plain


def _networks(index: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The networks that a folder says it has, in order; `ModelFileError` where it is another kind of model or lacks one."""
    classes = {name: _class(value) for name, value in index.items() if not name.startswith("_")}
    kind = quoted(str(index.get("_class_name", "?")))
    if other := next((name for name in OTHERS if classes.get(name)), None):
        raise ModelFileError(f"It is a {kind}, with a {quoted(classes[other])}; only Stable Diffusion 1, 2 and XL can be used.")
    present = tuple(name for name in NETWORKS if classes.get(name))
    for name in present:
        if classes[name] not in NETWORKS[name]:
            raise ModelFileError(
                f"It is a {kind}, whose {name} is a {quoted(classes[name])}; supported is {' or '.join(NETWORKS[name])}."
            )
    lacking = [name for name in (UNET, VAE) if name not in present]
    if not any(name in present for name in TOWERS):
        lacking.append(TOWERS[0])
    lacking += [name for name in present if not os.path.isdir(path / name)]
    if lacking:
        raise ModelFileError(f"It is a {kind} that lacks {', '.join(f'{name}/' for name in lacking)}; download the whole folder.")
    return present


def _class(value: Any) -> str:
    """The class of `["diffusers", "UNet2DConditionModel"]`, "" for what a pipeline goes without."""
    return value[1] if isinstance(value, list) and len(value) == 2 and isinstance(value[1], str) else ""


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except ModelFileError as error:
        raise ModelFileError(f"{path.parent.name}/: {error}") from error


def _shown(path: Path, model: Path) -> str:
    """A path below the model's folder, as a message names it."""
    return f"{path.relative_to(model).as_posix()}/" if path != model else ""


# --- the tokenizer -------------------------------------------------------------------------------------------------------


def _tokenizer(path: Path, towers: tuple[str, ...]) -> tuple[str, ...] | None:
    """The merges of a folder's tokenizers, of which there can be only one kind."""
    names = [name.replace("text_encoder", "tokenizer") for name in towers]
    found = {merges for name in names if (merges := _merges(path / name, path)) is not None}
    if len(found) > 1:
        raise ModelFileError("Its two tokenizers differ from each other; such models are not supported.")
    return next(iter(found), None)


def _merges(folder: Path, model: Path) -> tuple[str, ...] | None:
    if os.path.isfile(folder / "merges.txt"):
        try:
            with (folder / "merges.txt").open(encoding="utf-8", newline="\n") as file:
                lines = file.read(LONGEST_JSON).split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelFileError(f"{folder.name}/merges.txt cannot be read; download it again.") from error
    else:
        found = read_json(folder / "tokenizer.json", model, missing=True).get("model")
        merges = found.get("merges") if isinstance(found, dict) else None
        if not isinstance(merges, list):
            return None
        lines = [" ".join(map(str, each)) if isinstance(each, list) else str(each) for each in merges]
    return tuple(line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version"))


# --- as the header of a single file --------------------------------------------------------------------------------------


def header_of(path: Path) -> Header:
    """The header of the single file that would hold what a folder does; `ModelFileError` names the folder."""
    try:
        return described(opened(path))
    except ModelFileError as error:
        raise ModelFileError(f"{path.name}: {error}") from error


def described(folder: Folder) -> Header:
    """The header of `single_header` with the model's spec, and the tokenizer's merges where they are not CLIP's."""
    plain = single_header(folder)
    spec = folder_configs.described(detect(plain), folder.configs, folder.towers)
    metadata = {**plain.metadata, SPEC_KEY: json.dumps(spec.to_json())}
    if folder.merges is not None and folder.merges != clip_merges():
        metadata[MERGES_KEY] = json.dumps(folder.merges, ensure_ascii=False)
    return replace(plain, metadata=metadata)


def single_header(folder: Folder) -> Header:
    """The header of the single file that would hold the same weights, with the metadata of the folder's noise predictor."""
    large = any(key.startswith("add_embedding.") for _, header in folder.files[UNET] for key in header.tensors)
    kinds = {part: _kind(folder, name) for name, part in folder.parts.items() if part.startswith("text")}
    prefixes = {"unet": layouts.UNET, "vae": layouts.VAE}
    prefixes |= {part: layouts.text_prefix(at, kind, conditioner=large) for at, (part, kind) in enumerate(kinds.items())}
    tensors: dict[str, TensorInfo] = {}
    for given in offered(folder):
        shape = given.piece.shape(given.info.shape)
        key, whole = given.piece.key, shape
        if given.part in kinds:
            key, whole = _named(kinds[given.part], key, shape)
        tensors[prefixes[given.part] + key] = TensorInfo(shape=whole, dtype=given.info.dtype)
    return Header(tensors=tensors, metadata=folder.files[UNET][0][1].metadata, stamp=folder.files[UNET][0][1].stamp)


def _kind(folder: Folder, name: str) -> Layout:
    """Towers of OpenCLIP use the exact GELU, CLIP's the quick one; without a configuration only CLIP's has the width 768."""
    activation = folder.configs[name].get("hidden_act")
    if activation is not None:
        return "clip" if activation == "quick_gelu" else "open_clip"
    tensors = {key: info for _, header in folder.files[name] for key, info in header.tensors.items()}
    widths = [info.shape[0] for key, info in tensors.items() if key.endswith("final_layer_norm.bias") and info.shape]
    return "clip" if not widths or widths[0] == CLIP_L.width else "open_clip"


def _named(kind: Layout, key: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The name and shape that a text tower's weight has in a single file."""
    for rule in layouts.TEXT[kind]:
        if (undone := rule.undo(key)) is not None:
            old, piece = undone
            whole = (shape[0] * piece.parts, *shape[1:]) if piece.parts > 1 and shape else shape
            return old, whole[::-1] if piece.transposed else whole
    raise ModelFileError(f"The key {quoted(key)} has no place in a text tower.")
