"""The small files around a model as named tensors: textual inversions and hypernetworks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from webui.errors import ModelFileError
from webui.weights.files import is_pickle, read_tensors
from webui.weights.pickles import load_pickle

BY_TOWER = {"clip_l": 0, "clip_g": 1}  # SDXL's keys, and the text towers they are for


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """A textual inversion: vectors [n, width] for each text tower it is made for; the name it was trained under, or ""."""

    vectors: Mapping[int, Tensor]
    name: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Hypernetwork:
    """For each width of context the weights of two small networks, for keys and for values; `settings` say how they are built."""

    layers: Mapping[int, tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_embedding(path: Path) -> Embedding:
    """Read a textual inversion as A1111, diffusers or SDXL trainers write it; `ModelFileError` says what is wrong with it."""
    loaded = load_pickle(path) if is_pickle(path) else dict(read_tensors(path))
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path.name} holds no textual inversion.")
    name = loaded.get("name")
    name = name if isinstance(name, str) else ""
    table = loaded.get("string_to_param")
    tensors = {key: value for key, value in (table if isinstance(table, dict) else loaded).items() if isinstance(value, Tensor)}
    if tensors and tensors.keys() <= BY_TOWER.keys():
        return Embedding(vectors={BY_TOWER[key]: _vectors(path, value) for key, value in tensors.items()}, name=name)
    if len(tensors) != 1:
        raise ModelFileError(f"{path.name} holds no textual inversion: expected is one table of vectors, found {len(tensors)}.")
    ((key, value),) = tensors.items()
    return Embedding(vectors={0: _vectors(path, value)}, name=name or (key if key not in ("*", "emb_params") else ""))


def _vectors(path: Path, value: Tensor) -> Tensor:
    if value.ndim not in (1, 2) or not value.numel() or not value.is_floating_point():
        raise ModelFileError(f"{path.name} holds no textual inversion: its vectors have the shape {list(value.shape)}.")
    return value.reshape(-1, value.shape[-1]).clone()


def read_hypernetwork(path: Path) -> Hypernetwork:
    """Read a hypernetwork: widths as keys, each with two state dictionaries; `ModelFileError` says what is wrong with it."""
    loaded = load_pickle(path) if is_pickle(path) else {}
    loaded = loaded if isinstance(loaded, dict) else {}
    layers = {key: _pair(path, key, value) for key, value in loaded.items() if type(key) is int}
    if not layers:
        raise ModelFileError(f"{path.name} holds no hypernetwork: none of its keys is a width such as 768.")
    return Hypernetwork(layers=layers, settings={key: value for key, value in loaded.items() if isinstance(key, str)})


def _pair(path: Path, width: int, value: Any) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    both = value if isinstance(value, list) and len(value) == 2 else ()
    named = [each for each in both if isinstance(each, dict) and all(isinstance(one, Tensor) for one in each.values())]
    if len(named) != 2 or not all(named):
        raise ModelFileError(f"{path.name} is broken: for the width {width} it lacks the networks of keys and values.")
    return named[0], named[1]
