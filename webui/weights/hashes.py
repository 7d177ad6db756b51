"""Hashes of weight files as the community writes them; the whole file's is remembered by path, size and time of change.

The hash of a diffusers folder is that of its noise predictor's file (in unet/, the one that would be loaded), of a folder with a
single network of transformers that of its file; where that is in several parts, of the parts one after the other, by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from webui.errors import ModelFileError
from webui.weights import folders, remembered

BLOCK = 1 << 20
Told = Callable[[int, int], None]  # hears how many bytes were read of how many; what it raises ends the reading


def sha256(path: Path, cache: Path | None = None, told: Told | None = None) -> str:
    """Return the SHA-256 of a file or folder, 64 hex digits; `cache` is a JSON file that remembers it until the file changes."""
    try:
        key, stamp = remembered.place(path), remembered.stamp(path)
        found = remembered.of_file(remembered.read(cache), key, stamp).get("sha256")
        if isinstance(found, str):
            return found
        found = _digest(_hashed_files(path), told)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    remembered.add(cache, {key: {**stamp, "sha256": found}})
    return found


def known(path: Path, cache: Path | None) -> str:
    """Return the SHA-256 of a file if the cache remembers it, else ""; the file is not read."""
    try:
        return str(remembered.of_file(remembered.read(cache), remembered.place(path), remembered.stamp(path)).get("sha256", ""))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def _hashed_files(path: Path) -> tuple[Path, ...]:
    if folders.is_folder(path):
        return folders.weight_files(path / folders.UNET, path)
    return folders.weight_files(path, path) if path.is_dir() else (path,)


def _digest(paths: Sequence[Path], told: Told | None) -> str:
    digest, done, size = hashlib.sha256(), 0, sum(path.stat().st_size for path in paths)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                done += len(block)
                if told is not None:
                    told(done, size)
    return digest.hexdigest()


def short(digest: str) -> str:
    """Return the first ten digits, as pictures' metadata name a model."""
    return digest[:10]


def legacy(path: Path) -> str:
    """Return the old eight digits: of the SHA-256 of 64 KiB at offset 1 MiB (collides easily; for old metadata only)."""
    try:
        with _hashed_files(path)[0].open("rb") as file:
            file.seek(BLOCK)
            return hashlib.sha256(file.read(1 << 16)).hexdigest()[:8]
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of what follows a safetensors header, as LoRA files are named: it survives changed metadata."""
    try:
        with path.open("rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            if start > path.stat().st_size:
                raise ModelFileError(f"{path.name} cannot be read: its header is broken.")
            file.seek(start)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}.") from error
