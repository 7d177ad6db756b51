"""What took long to find out about files, kept in a small JSON file; one that is missing or damaged only costs the time again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NO_FILE = "it is no ordinary file"
MODEL_INDEX = "model_index.json"  # what makes a folder a model, as diffusers writes one
CONFIG = "config.json"  # and what makes it a single network, as transformers does


def read(memory: Path | None) -> dict[str, Any]:
    """The entries; none where there is no file, or none that makes sense."""
    try:
        entries = json.loads(memory.read_text("utf-8")) if memory is not None else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def place(path: Path) -> str:
    """Where a file is, links followed: its key. Links that lead in a circle raise nothing here, as `Path.resolve` would."""
    return os.path.realpath(path)


def stamp(path: Path) -> dict[str, int]:
    """What changes when a file does: its size and time of change; raises OSError, also for pipes, which nobody may write to.

    Of a folder of diffusers or transformers it is the size of all files in it and the latest time.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode) and any(os.path.isfile(path / name) for name in (MODEL_INDEX, CONFIG)):
        each = [file.stat() for file in path.rglob("*") if file.is_file()]
        return {"size": sum(one.st_size for one in each), "mtime_ns": max(one.st_mtime_ns for one in each)}
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NO_FILE)
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def of_file(entries: Mapping[str, Any], key: str, now: Mapping[str, int]) -> dict[str, Any]:
    """The entry of a file, if it was made when the file's stamp was as it is `now`; else an empty one."""
    known = entries.get(key)
    return known if isinstance(known, dict) and now.items() <= known.items() else {}


def add(memory: Path | None, new: Mapping[str, Any]) -> None:
    """Put entries into the file, which is replaced whole; where that is impossible (read-only folder) nothing is remembered."""
    if memory is not None:
        with contextlib.suppress(OSError):
            replace(memory, {**read(memory), **new})


def replace(path: Path, entries: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all; raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(entries, file, indent=0)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
