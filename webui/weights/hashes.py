"""Hashes of weight files as the community writes them; the whole file's is remembered by path, size and time of change."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from webui.errors import ModelFileError

BLOCK = 1 << 20


def sha256(path: Path, cache: Path | None = None) -> str:
    """Return the SHA-256 of a file, 64 hex digits; `cache` is a JSON file that remembers it until the file changes."""
    try:
        stat = path.stat()
        key, stamp = str(path.resolve()), {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        known = _read(cache).get(key)
        if isinstance(known, dict) and isinstance(known.get("sha256"), str) and stamp.items() <= known.items():
            return str(known["sha256"])
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.") from error
    if cache is not None:
        _write(cache, {**_read(cache), key: {**stamp, "sha256": found}})
    return found


def short(digest: str) -> str:
    """Return the first ten digits, as pictures' metadata name a model."""
    return digest[:10]


def legacy(path: Path) -> str:
    """Return the old eight digits: of the SHA-256 of 64 KiB at offset 1 MiB (collides easily; for old metadata only)."""
    with path.open("rb") as file:
        file.seek(BLOCK)
        return hashlib.sha256(file.read(1 << 16)).hexdigest()[:8]


def weights_sha256(path: Path) -> str:
    """Return the SHA-256 of what follows a safetensors header, as LoRA files are named: it survives changed metadata."""
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(cache: Path | None) -> dict[str, Any]:
    """The cache's entries; a missing or damaged cache is an empty one."""
    try:
        entries = json.loads(cache.read_text("utf-8")) if cache is not None else {}
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _write(cache: Path, entries: dict[str, Any]) -> None:
    """Replace the cache; where that is impossible (read-only folder) nothing is remembered."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{cache.name}.", dir=cache.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=0)
        Path(name).replace(cache)
    except OSError:
        return
