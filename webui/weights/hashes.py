"""Hashes of weight files as the community writes them; the whole file's is remembered by path, size and time of change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from webui.errors import ModelFileError
from webui.weights import remembered

BLOCK = 1 << 20
Told = Callable[[int, int], None]  # hears how many bytes were read of how many; what it raises ends the reading


def sha256(path: Path, cache: Path | None = None, told: Told | None = None) -> str:
    """Return the SHA-256 of a file, 64 hex digits; `cache` is a JSON file that remembers it until the file changes."""
    try:
        key, stamp = remembered.place(path), remembered.stamp(path)
        found = remembered.of_file(remembered.read(cache), key, stamp).get("sha256")
        if isinstance(found, str):
            return found
        with path.open("rb") as file:
            found = _digest(file, stamp["size"], told)
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


def _digest(file: BinaryIO, size: int, told: Told | None) -> str:
    digest, done = hashlib.sha256(), 0
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
        with path.open("rb") as file:
            file.seek(BLOCK)
            return hashlib.sha256(file.read(1 << 16)).hexdigest()[:8]
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of what follows a safetensors header, as LoRA files are named: it survives changed metadata."""
    try:
        with path.open("rb") as file:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, OverflowError) as error:
        raise ModelFileError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'its header is broken'}.") from error
