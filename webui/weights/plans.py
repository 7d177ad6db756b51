"""The plan of a model: which weight of which network is which piece of which key, made and checked from headers alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webui.errors import ModelFileError, quoted
from webui.nets.spec import ModelSpec
from webui.nets.tokenizer import Tokenizer
from webui.weights import layouts
from webui.weights.families import MERGES_KEY
from webui.weights.files import Header, TensorInfo
from webui.weights.midas import is_hybrid, midas_rules
from webui.weights.rules import Piece, translate
from webui.weights.vocabulary import clip_tokenizer

SHOWN = 5  # keys named in a message
PARTS = {
    "unet": "noise predictor", "vae": "autoencoder", "text0": "text tower", "text1": "second text tower",
    "depth": "depth estimator", "upscaler": "upscaler", "controlnet": "ControlNet",
}  # fmt: skip
Plan = Mapping[str, tuple[tuple[str, Piece], ...]]  # key in the file -> which part gets which piece of it
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one weight lies: a piece of a key of a file; `shape` is the network's, which may add or leave out 1x1."""

    file: Path
    key: str
    piece: Piece
    info: TensorInfo
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Given:
    """One weight that a file offers to a part, before it is known whether that wants it."""

    part: str
    file: Path
    key: str
    piece: Piece
    info: TensorInfo


def plan_of(spec: ModelSpec, header: Header) -> Plan:
    """Return where every key of a single file goes; keys that nobody needs have no place, unknown ones raise `ModelFileError`."""
    towers = {prefix: index for index, (prefix, _) in enumerate(layouts.text_place(header.tensors))}
    estimator = midas_rules(hybrid=is_hybrid(header.tensors)) if spec.beside == "depth" else ()
    plan: dict[str, tuple[tuple[str, Piece], ...]] = {}
    for key in header.tensors:
        tower = next((prefix for prefix in towers if key.startswith(prefix)), None)
        if estimator and key.startswith(layouts.DEPTH):
            pieces = translate(estimator, key.removeprefix(layouts.DEPTH), f"the depth estimator of a {spec.title} checkpoint")
            plan[key] = tuple(("depth", piece) for piece in pieces)
        elif layouts.IGNORED.fullmatch(key):
            plan[key] = ()
        elif key.startswith(layouts.UNET):
            plan[key] = (("unet", Piece(key.removeprefix(layouts.UNET))),)
        elif key.startswith(layouts.VAE):
            plan[key] = (("vae", Piece(key.removeprefix(layouts.VAE))),)
        elif tower is not None and towers[tower] < len(spec.text):
            rules = layouts.TEXT[spec.text[towers[tower]].kind]
            pieces = translate(rules, key.removeprefix(tower), f"a {spec.title} text tower")
            plan[key] = tuple((f"text{towers[tower]}", piece) for piece in pieces)
        else:
            raise ModelFileError(f"The key {quoted(key)} belongs to no part of a {spec.title} checkpoint.")
    return plan


def single_file(spec: ModelSpec, header: Header, path: Path) -> Iterator[Given]:
    """Yield what a single file offers."""
    for key, uses in plan_of(spec, header).items():
        for part, piece in uses:
            yield Given(part=part, file=path, key=key, piece=piece, info=header.tensors[key])


def places_of(wanted: Mapping[str, Shapes], offers: Iterable[Given]) -> dict[str, dict[str, Place]]:
    """Return where each part's weights lie; `ModelFileError` unless every one comes from exactly one key, in the right shape."""
    offers = list(offers)
    counts = Counter((given.part, given.piece.key) for given in offers)
    for part, shapes in wanted.items():
        if missing := [key for key in shapes if (part, key) not in counts]:
            raise ModelFileError(f"The {PARTS[part]} lacks {len(missing)} of {len(shapes)} weights: {some(missing)}.")
    if extra := [given.piece.key for given in offers if given.piece.key not in wanted[given.part]]:
        raise ModelFileError(f"It has {len(extra)} weights that a model of its kind does not have: {some(extra)}.")
    if twice := [key for (_, key), count in counts.items() if count > 1]:
        raise ModelFileError(f"It has {len(twice)} weights twice: {some(twice)}.")
    places: dict[str, dict[str, Place]] = {part: {} for part in wanted}
    for given in offers:
        key, shape, expected = given.piece.key, given.piece.shape(given.info.shape), wanted[given.part][given.piece.key]
        if shape != expected and _unpadded(shape) != _unpadded(expected):
            raise ModelFileError(f"{key} of the {PARTS[given.part]} has the shape {list(shape)}, expected {list(expected)}.")
        places[given.part][key] = Place(file=given.file, key=given.key, piece=given.piece, info=given.info, shape=expected)
    return places


def tokenizers_of(spec: ModelSpec, header: Header) -> tuple[Tokenizer, ...]:
    """Return a tokenizer for each text tower: the file's own merges, if it carries them, else CLIP's."""
    if MERGES_KEY in header.metadata:
        try:
            merges = json.loads(header.metadata[MERGES_KEY])
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"The tokenizer in its metadata, {MERGES_KEY}, is not valid JSON.") from error
        if not isinstance(merges, list) or not all(isinstance(merge, str) for merge in merges):
            raise ModelFileError(f"The tokenizer in its metadata, {MERGES_KEY}, is not a list of merges.")
        tokenizer = Tokenizer(merges)
    else:
        tokenizer = clip_tokenizer()
    for tower in spec.text:
        if tower.vocabulary != tokenizer.size:
            raise ModelFileError(f"Its text tower knows {tower.vocabulary} tokens, its tokenizer {tokenizer.size}.")
    return (tokenizer,) * len(spec.text)


def _unpadded(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a matrix' shape without the 1x1 of a convolution: attention of autoencoders is written both ways."""
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


def some(keys: Sequence[str]) -> str:
    """Return the first few of many keys, for a message."""
    return ", ".join(quoted(key)[1:-1] for key in keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
