"""Models written anew, one weight after the other: single files as diffusers folders, the other way, in another number type.

Metadata is kept. What is left out: averages and training state, and in a folder what diffusers' pipelines never use of a text
tower (the layers after the one that is read, a projection where nothing reads it).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from webui.errors import ModelFileError, StorageError, UserError
from webui.nets.spec import ModelSpec, TextSpec
from webui.nets.tokenizer import Tokenizer
from webui.weights import folder_configs, folders, layouts
from webui.weights.families import SPEC_KEY
from webui.weights.files import write
from webui.weights.midas import midas_rules
from webui.weights.remembered import MODEL_INDEX
from webui.weights.rules import Piece, Rule
from webui.weights.source import ModelSource

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A weight that is written: which of our weights it is made of, in order, joined along the first axis; its shape."""

    pieces: tuple[Piece, ...]
    shape: Shape


def to_single(source: ModelSource, path: Path, dtype: torch.dtype, metadata: Mapping[str, str]) -> None:
    """Write a model as one safetensors file with the published names. Raises `ModelFileError` and `StorageError`."""
    targets = single_targets(source.spec, {part: dict(shapes_of(source, part)) for part in source.parts})
    own = {"format": "pt", **metadata, SPEC_KEY: json.dumps(source.spec.to_json())}
    shapes = {key: target.shape for each in targets.values() for key, target in each.items()}
    write(path, shapes, dtype, own, (pair for part, each in targets.items() for pair in _made(source, part, each, dtype)))


def single_targets(spec: ModelSpec, shapes: Mapping[str, Mapping[str, Shape]]) -> dict[str, dict[str, Target]]:
    """What a single file holds of each part whose weights have these shapes, by its published names."""
    targets: dict[str, dict[str, Target]] = {}
    for part, own in shapes.items():
        if part.startswith("text"):
            at = int(part.removeprefix("text"))
            tower = spec.text[at]
            prefix = layouts.text_prefix(at, tower.kind, conditioner=spec.unet.label_width is not None)
            named = _undone(layouts.TEXT[tower.kind], own)
        elif part == "depth":
            prefix = layouts.DEPTH
            named = _undone(midas_rules(hybrid=any(".backbone." in key for key in own)), own)
        else:
            prefix = layouts.UNET if part == "unet" else layouts.VAE
            named = {key: Target(pieces=(Piece(key),), shape=shape) for key, shape in own.items()}
        targets[part] = {prefix + key: target for key, target in named.items()}
    return targets


def shapes_of(source: ModelSource, part: str) -> Iterator[tuple[str, Shape]]:
    """Yield the shapes of a part's weights."""
    yield from ((key, shape) for key, (shape, _) in source.shapes(part).items())


def to_folder(
    source: ModelSource, path: Path, dtype: torch.dtype, metadata: Mapping[str, str], *, overwrite: bool = False
) -> None:
    """Write a model as a diffusers folder. Raises `UserError` where it cannot be one, `ModelFileError` and `StorageError`."""
    spec = as_pipelines_read(source.spec)
    names = tower_folders(spec)
    parts = {"unet": folders.UNET, "vae": folders.VAE, **{f"text{at}": name for at, name in enumerate(names)}}
    vae = layouts.diffusers_vae(len(spec.vae.channel_mult), spec.vae.res_blocks)
    rules = {"unet": layouts.diffusers_unet(spec.unet), "vae": vae}
    with _replaced(path, overwrite=overwrite) as folder:
        for part, name in parts.items():
            shapes = {key: shape for key, shape in shapes_of(source, part) if _is_kept(spec, part, key)}
            targets = _undone(rules.get(part, layouts.CLIP), shapes)
            if part == "vae":
                targets = {key: _as_matrix(key, target) for key, target in targets.items()}
            own = {"format": "pt", **metadata, SPEC_KEY: json.dumps(spec.to_json())} if part == "unet" else {"format": "pt"}
            stem = "model" if part.startswith("text") else "diffusion_pytorch_model"
            named = {key: target.shape for key, target in targets.items()}
            write(folder / name / f"{stem}.safetensors", named, dtype, own, _made(source, part, targets, dtype))
        write_configs(folder, spec, source.tokenizers)


def as_pipelines_read(spec: ModelSpec) -> ModelSpec:
    """The spec of what diffusers' pipelines use of a model; `UserError` where they cannot do what it needs."""
    large = spec.unet.label_width is not None
    if spec.unet.middle_depth == 0 or spec.unet.transformer_depth[-1] not in (0, spec.unet.middle_depth):
        raise UserError("Its noise predictor's middle block has no place in diffusers' configuration; keep it as a single file.")
    if any(tower.final_norm == large or (large and tower.skip != 2) for tower in spec.text):
        raise UserError("Its text towers are read in a way that diffusers' pipelines do not know; keep it as a single file.")
    if large:
        return spec
    # Pipelines for small models read the last layer there is, and no pooled text.
    text = tuple(replace(tower, layers=tower.layers - tower.skip + 1, skip=1, projection=None) for tower in spec.text)
    return replace(spec, text=text)


def _is_kept(spec: ModelSpec, part: str, key: str) -> bool:
    if not part.startswith("text"):
        return True
    tower = spec.text[int(part.removeprefix("text"))]
    if key.startswith("text_projection."):
        return tower.projection is not None
    return not key.startswith("encoder.layers.") or int(key.split(".")[2]) < tower.layers


def _undone(rules: tuple[Rule, ...], shapes: Mapping[str, Shape]) -> dict[str, Target]:
    """What the left side of a table of rules is made of."""
    found: dict[str, dict[int, Piece]] = {}
    for key in shapes:
        undone = next((undone for rule in rules if (undone := rule.undo(key)) is not None), None)
        if undone is None:
            raise ModelFileError(f"The weight {key} has no place in the other layout.")
        found.setdefault(undone[0], {})[undone[1].part] = undone[1]
    targets: dict[str, Target] = {}
    for old, parts in found.items():
        pieces = tuple(piece for _, piece in sorted(parts.items()))
        each = shapes[pieces[0].key]
        whole = (each[0] * len(pieces), *each[1:]) if len(pieces) > 1 else each
        targets[old] = Target(pieces=pieces, shape=whole[::-1] if pieces[0].transposed else whole)
    return targets


def _as_matrix(key: str, target: Target) -> Target:
    """Attention of diffusers' autoencoders has matrices where single files have convolutions of 1x1."""
    matrix = ".attentions." in key and target.shape[2:] == (1, 1)
    return replace(target, shape=target.shape[:2]) if matrix else target


def _made(source: ModelSource, part: str, targets: Mapping[str, Target], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights to be written as soon as all they are made of was read."""
    owner = {piece.key: name for name, target in targets.items() for piece in target.pieces}
    waiting: dict[str, dict[str, Tensor]] = {}
    for key, value in source.read(part, list(owner), dtype):
        name = owner[key]
        target, here = targets[name], waiting.setdefault(name, {})
        here[key] = value.T if target.pieces[0].transposed else value
        if len(here) == len(target.pieces):
            del waiting[name]
            parts = [here[piece.key] for piece in target.pieces]
            yield name, (torch.cat(parts) if len(parts) > 1 else parts[0]).reshape(target.shape)


# --- a folder's other files ----------------------------------------------------------------------------------------------


def _is_refiner(spec: ModelSpec) -> bool:
    return spec.unet.label_width is not None and len(spec.text) == 1


def tower_folders(spec: ModelSpec) -> tuple[str, ...]:
    """The folders of a model's text towers."""
    return ("text_encoder_2",) if _is_refiner(spec) else folders.TOWERS[: len(spec.text)]


def pipeline_class(spec: ModelSpec) -> str:
    """diffusers' pipeline for a model: by what its noise predictor takes besides the latent."""
    start = "StableDiffusionXL" if spec.unet.label_width is not None else "StableDiffusion"
    latent, extra = spec.vae.latent_channels, spec.unet.in_channels - spec.vae.latent_channels
    if spec.unet.guidance_width is not None and start == "StableDiffusion":
        return "LatentConsistencyModelPipeline"
    if _is_refiner(spec):
        return f"{start}Img2ImgPipeline"
    kinds = {0: "", 1: "Depth2Img", latent: "InstructPix2Pix", latent + 1: "Inpaint"}
    return f"{start}{kinds.get(extra, '')}Pipeline"


def write_configs(folder: Path, spec: ModelSpec, tokenizers: tuple[Tokenizer, ...]) -> None:
    """Write all files of a diffusers folder but the weights."""
    scheduler = folder_configs.scheduler_config(spec)
    index: dict[str, object] = {
        "_class_name": pipeline_class(spec),
        "_diffusers_version": "0.42.1",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "scheduler": ["diffusers", scheduler["_class_name"]],
    }
    if spec.unet.label_width is None:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    if _is_refiner(spec):
        index |= {"text_encoder": [None, None], "tokenizer": [None, None], "requires_aesthetics_score": True}
    _json(folder / "unet" / "config.json", folder_configs.unet_config(spec))
    _json(folder / "vae" / "config.json", folder_configs.vae_config(spec.vae, spec.native_size))
    _json(folder / "scheduler" / "scheduler_config.json", scheduler)
    for name, tower, tokenizer in zip(tower_folders(spec), spec.text, tokenizers, strict=True):
        index[name] = ["transformers", folder_configs.text_class(tower)]
        index[name.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
        _json(folder / name / "config.json", folder_configs.text_config(tower, tower.layers))
        _write_tokenizer(folder / name.replace("text_encoder", "tokenizer"), tokenizer, tower)
    _json(folder / MODEL_INDEX, index)


def _write_tokenizer(folder: Path, tokenizer: Tokenizer, tower: TextSpec) -> None:
    start, end = tokenizer.tokens[tower.start], tokenizer.tokens[tower.end]
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": tokenizer.tokens[tower.padding]}
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": tower.positions, "do_lower_case": True}
    _json(folder / "tokenizer_config.json", {**about, **special})
    _json(folder / "special_tokens_map.json", special)
    _json(folder / "vocab.json", {token: number for number, token in enumerate(tokenizer.tokens)})
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *tokenizer.merges, "")), "utf-8")


def _json(path: Path, content: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


@contextmanager
def _replaced(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder that takes the place of `path` once all is written, and is removed where that fails."""
    if os.path.lexists(path) and not (overwrite and folders.is_folder(path) and not path.is_symlink()):
        raise UserError(f"{path} is there already; choose another name with --out.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as place:
            new, old = Path(place) / "new", Path(place) / "old"
            new.mkdir()
            yield new
            if path.exists():
                path.rename(old)
            try:
                new.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)
                raise
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
