"""What the tests of LoRA files are made of: files on a disk, random files of every kind, and jobs that name them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from extensions import lora
from webui.errors import UnknownName
from webui.extension.kinds import Home, Submission
from webui.nets.spec import ModelSpec
from webui.weights.files import is_pickle, read_header, read_tensors
from webui.weights.pickles import load_pickle

SUFFIXES = (".safetensors", ".pt", ".bin", ".png", ".webp")
KINDS = (
    "lora", "locon", "cp", "loha", "lokr", "lokr_low", "dora", "dora_in", "glora", "ia3", "full", "norm", "oft", "boft", "whole",
)  # fmt: skip


class Folder:
    """The weight files of one folder, as the program gives them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read: list[str] = []
        self._kept: dict[str, Any] = {}

    def names(self, folders: tuple[str, ...]) -> Mapping[str, str]:
        suffixes = SUFFIXES if folders == ("embeddings",) else SUFFIXES[:3]
        return {path.stem: str(path) for path in sorted(self.folder.rglob("*")) if path.suffix in suffixes}

    def find(self, folders: tuple[str, ...], name: str) -> str:
        if name not in self.names(folders):
            raise UnknownName(f"Unknown file {name!r}.")
        return self.names(folders)[name]

    def found(self, folders: tuple[str, ...], name: str, sha256: str) -> str:
        return next(path for path in self.names(folders).values() if self.sha256(path) == sha256)

    def sha256(self, path: str) -> str:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    def weights_sha256(self, path: str) -> str:
        return hashlib.sha256(b"weights" + Path(path).read_bytes()).hexdigest()

    def header(self, path: str) -> Mapping[str, Any]:
        header = read_header(Path(path))
        return {"tensors": {key: info.shape for key, info in header.tensors.items()}, "metadata": header.metadata}

    def tensors(self, path: str) -> Any:
        if path not in self._kept:
            self.read.append(path)
            self._kept[path] = load_pickle(Path(path)) if is_pickle(Path(path)) else dict(read_tensors(Path(path)))
        return self._kept[path]


def home(**settings: Any) -> Home:
    return Home(name="lora", version="1", folder=Path(), settings=settings)


def submission(files: Folder, prompts: Sequence[str] = (), negatives: Sequence[str] = (), **settings: Any) -> Submission:
    return Submission(
        request=None, values={}, prompts=prompts, negatives=negatives, files=files, home=home(**settings)  # type: ignore[arg-type]
    )


def noted(files: Folder, *tags: str, **settings: Any) -> dict[str, Any]:
    """What a job keeps of some tags, once through JSON."""
    kind = next(each for each in lora.tags() if each.name == "lora")
    found = {f"lora:{tag}": kind.resolve(tuple(tag.split(":")), submission(files, **settings)) for tag in tags}
    told: dict[str, Any] = json.loads(json.dumps({"tags": found}))
    return told


def job(
    files: Folder, spec: ModelSpec, weights: Mapping[str, Tensor], *tags: str, second: bool = False, **more: Any
) -> SimpleNamespace:
    """A pass of a picture that names some files; `sentences` is what it was told."""
    sentences: list[str] = []
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    told = more.pop("noted", None) or noted(files, *tags)
    return SimpleNamespace(
        tags=tuple(told.get("tags", ())), noted=told, second=second, spec=spec, weights=lambda: shapes, files=files, network="m",
        tell=sentences.append, sentences=sentences, **more,
    )


def merged(weights: Mapping[str, Tensor], patches: Any) -> dict[str, Tensor]:
    """The weights that patches change, changed."""
    changed: dict[str, Tensor] = {}
    for patch in sorted(patches.weights, key=lambda each: each.content):
        original = weights[patch.key].float()
        changed[patch.key] = changed.get(patch.key, original) + patch.delta(original.clone())
    return changed


def parts(kind: str, shape: tuple[int, ...], seed: int, rank: int = 2) -> dict[str, Tensor]:
    """Random tensors of a module of a kind, for a weight of a shape; kinds for convolutions make a LoRA of a matrix."""
    source = torch.Generator().manual_seed(seed)

    def some(*sides: int) -> Tensor:
        return torch.randn(sides, generator=source) / math.sqrt(max(sides[-1], 1))

    rows, columns, kernel = shape[0], shape[1] if len(shape) > 1 else 1, shape[2:]
    pair = {"lora_up.weight": some(rows, rank, *(1 for _ in kernel)), "lora_down.weight": some(rank, columns, *kernel)}
    whole = math.prod(shape[1:])
    alpha = {"alpha": torch.tensor(1.5)}
    if len(shape) == 1:
        return {"w_norm": some(rows), "b_norm": some(rows)}
    one = next(size for size in (4, 2, 1) if rows % size == 0)
    made: dict[str, dict[str, Tensor]] = {
        "lora": pair, "locon": pair | alpha,
        "dora": pair | alpha | {"dora_scale": some(rows, *(1,) * (len(shape) - 1)).abs() + 1},
        "dora_in": pair | {"dora_scale": some(1, columns, *(1 for _ in kernel)).abs() + 1},
        "cp": pair | alpha if not kernel else alpha | {
            "lora_up.weight": some(rows, rank, 1, 1), "lora_mid.weight": some(rank, rank, *kernel),
            "lora_down.weight": some(rank, columns, 1, 1),
        },
        "loha": alpha | {
            "hada_w1_a": some(rows, rank), "hada_w1_b": some(rank, whole), "hada_w2_a": some(rows, rank),
            "hada_w2_b": some(rank, whole),
        },
        "lokr": {"lokr_w1": some(2, 2), "lokr_w2": some(rows // 2, columns // 2, *kernel), "alpha": torch.tensor(5.0)},
        "lokr_low": alpha | {
            "lokr_w1": some(2, 2), "lokr_w2_a": some(rows // 2, rank), "lokr_w2_b": some(rank, columns // 2 * math.prod(kernel)),
        },
        "glora": alpha | {
            "a1.weight": some(columns, rank, *(1 for _ in kernel)), "a2.weight": some(rank, columns, *(1 for _ in kernel)),
            "b1.weight": some(rows, rank, *(1 for _ in kernel)), "b2.weight": some(rank, columns, *kernel),
        },
        "ia3": {"weight": some(rows), "on_input": torch.tensor(0)}, "full": {"diff": some(*shape)},
        "whole": {"set_weight": some(*shape)},
        "oft": {"oft_blocks": some(rows // one, one, one), "alpha": torch.tensor(0.001), "rescale": some(rows).abs() + 1},
        "boft": {"oft_blocks": some(1, rows // one, one, one), "alpha": torch.tensor(0.0)}, "norm": pair,
    }  # fmt: skip
    return made[kind]


def named(module: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{module}.{part}": tensor.contiguous() for part, tensor in own.items()}


def saved(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, path, metadata)
    return path
