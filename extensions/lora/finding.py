"""Which file a tag names, and what is said in and beside the files. Without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webui.extension import Files, UserError

FOLDERS = ("Lora", "loras", "LyCORIS")
ALIAS = "ss_output_name"  # what a file was called when it was trained
MODEL_HASH = "sshs_model_hash"
HASH_DIGITS = 12
LARGEST_SIDECAR = 4 * 2**20  # bytes
PICTURES = (".preview.png", ".png", ".preview.jpg", ".jpg", ".preview.jpeg", ".jpeg", ".preview.webp", ".webp", ".gif")


def find(files: Files, name: str) -> tuple[str, str]:
    """The path of a file and its name: by its name, or else by the name it was trained under; `UserError` where there is none."""
    try:
        path = files.find(FOLDERS, name)
    except UserError:
        aliased = aliases(files).get(name.casefold())
        if aliased is None:
            raise
        return aliased
    known = files.names(FOLDERS)
    return path, next((own for own, place in known.items() if place == path), name)


def aliases(files: Files) -> dict[str, tuple[str, str]]:
    """Paths and names of files by the names they were trained under, in small letters; where several share one, the first's."""
    found: dict[str, tuple[str, str]] = {}
    for name, path in files.names(FOLDERS).items():
        alias = described(files, path)[1].get(ALIAS, "").strip()
        if alias and alias.casefold() != name.casefold():
            found.setdefault(alias.casefold(), (path, name))
    return found


def described(files: Files, path: str) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Keys with shapes, and metadata; nothing of a file that is no safetensors file, or is broken."""
    try:
        header = files.header(path)
    except (UserError, OSError):
        return {}, {}
    return {key: tuple(shape) for key, shape in header["tensors"].items()}, dict(header["metadata"])


def known_hash(files: Files, path: str, metadata: Mapping[str, str]) -> str:
    """The hash by which people and sites know a LoRA: the one in its metadata, else that of its weights."""
    told = metadata.get(MODEL_HASH, "").lower().removeprefix("0x")
    plausible = len(told) >= HASH_DIGITS and all(digit in "0123456789abcdef" for digit in told) and set(told) != {"0"}
    return (told if plausible else files.weights_sha256(path))[:HASH_DIGITS]


def beside(path: str, *endings: str) -> dict[str, Any]:
    """What the first JSON file beside a file says whose name ends so; nothing where there is none."""
    for ending in endings:
        place = Path(path).with_suffix(ending)
        try:
            if place.stat().st_size <= LARGEST_SIDECAR:
                told = json.loads(place.read_bytes())
                return told if isinstance(told, dict) else {}
        except (OSError, ValueError, RecursionError):
            continue
    return {}


def adapter_settings(path: str) -> dict[str, Any]:
    """PEFT's own settings beside a file that PEFT wrote."""
    place = Path(path).with_name("adapter_config.json")
    try:
        told = json.loads(place.read_bytes()) if place.stat().st_size <= LARGEST_SIDECAR else {}
        json.dumps(told, allow_nan=False, ensure_ascii=False).encode()  # it is kept with the job, as JSON is
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def preview(path: str) -> str:
    """The picture beside a file; "" for none."""
    return next((str(place) for place in _pictures(path) if place.is_file()), "")


def _pictures(path: str) -> Iterator[Path]:
    stem = Path(path).with_suffix("")
    return (stem.with_name(stem.name + ending) for ending in PICTURES)
