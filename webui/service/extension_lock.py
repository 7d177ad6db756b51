"""What is known of installed extensions beside their folders: which are disabled, where each came from, what its files were.

Two JSON files in the data folder: `extensions.json` holds what an owner chose, `extensions.lock` what was installed: by name its
source, the commit, the SHA-256 of every file and of all together. Nothing here imports an extension.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from webui.errors import StorageError
from webui.weights import remembered

CHOICES, LOCK = "extensions.json", "extensions.lock"  # in the data folder
DISABLED, INDEX = "disabled", "index"  # in the first of them: names, and the address of the list that was last used
WITH_PROGRAM = (
    "controlnet", "detailer", "embeddings", "guidance", "hypernetwork", "inspector", "lora", "prompt_matrix", "prompts_from_file",
    "regional", "samplers", "schedules", "wildcards", "xyz_plot",
)  # fmt: skip
PACKAGES = ".packages"  # in an installed extension's folder: what it requires, to be put at the end of sys.path
NOT_CONTENT = frozenset({"__pycache__", ".git"})  # folders made on this machine
BLOCK = 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an extension came from: its `kind` ("git", "zip", "folder", "upload"), address; for git the commit, branch or tag."""

    kind: str
    address: str
    commit: str = ""
    ref: str = ""

    def __str__(self) -> str:
        return self.address + (f" at {self.commit[:12]}" if self.commit else "")


@dataclass(frozen=True, kw_only=True)
class Locked:
    """What was installed: `files` are SHA-256 by path, `content` is that of all together, `packages` versions by name."""

    version: str
    source: Source
    content: str
    files: Mapping[str, str]
    packages: Mapping[str, str] = field(default_factory=dict)
    installed: float = 0.0  # when, in seconds since 1970


def disabled(data_folder: Path) -> frozenset[str]:
    """The names of the extensions that an owner disabled."""
    names = remembered.read(data_folder / CHOICES).get(DISABLED)
    return frozenset(name for name in names if isinstance(name, str)) if isinstance(names, list) else frozenset()


def set_disabled(data_folder: Path, name: str, off: bool) -> None:
    """Disable an extension, or enable it again; it is loaded or unloaded by whoever loads. Raises `StorageError`."""
    names = disabled(data_folder)
    _choose(data_folder, DISABLED, sorted(names | {name} if off else names - {name}))


def index_address(data_folder: Path) -> str:
    """The list of extensions that was last looked at, "" for none."""
    address = remembered.read(data_folder / CHOICES).get(INDEX)
    return address if isinstance(address, str) else ""


def set_index_address(data_folder: Path, address: str) -> None:
    """Remember a list of extensions. Raises `StorageError`."""
    _choose(data_folder, INDEX, address)


def locked(data_folder: Path) -> dict[str, Locked]:
    """What was installed, by name; entries that make no sense are not there."""
    found = {}
    for name, entry in remembered.read(data_folder / LOCK).items():
        try:
            found[name] = Locked(**{**entry, "source": Source(**entry["source"])})
        except (TypeError, KeyError):
            continue
    return found


def lock(data_folder: Path, name: str, entry: Locked | None) -> None:
    """Write down what was installed under a name, or with None that nothing is any more. Raises `StorageError`."""
    path = data_folder / LOCK
    others = {other: kept for other, kept in remembered.read(path).items() if other != name}
    _replace(path, dict(sorted((others | ({name: asdict(entry)} if entry is not None else {})).items())))


def contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of an extension by its path, `/` between parts; what was made on this machine is left out."""
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(_files(folder))}


def digest(files: Mapping[str, str]) -> str:
    """One SHA-256 for an extension's own files: that of the lines "SHA-256  path", as sha256sum writes them, sorted by path."""
    own = sorted(path for path in files if not path.startswith(f"{PACKAGES}/"))
    return hashlib.sha256("".join(f"{files[path]}  {path}\n" for path in own).encode()).hexdigest()


def changes(folder: Path, entry: Locked) -> list[str]:
    """What differs from what was installed, in words: "changed a.py", "added b.py", "missing c.py"."""
    now = contents(folder)
    kinds = [(path, "missing" if path not in now else "added" if path not in entry.files else "changed")
             for path in sorted({*now, *entry.files}) if now.get(path) != entry.files.get(path)]  # fmt: skip
    return [f"{kind} {path}" for path, kind in kinds]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each not in NOT_CONTENT]
        yield from (Path(place, name) for name in names)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or why there is none."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(BLOCK):
                found.update(part)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return found.hexdigest()


def _choose(data_folder: Path, key: str, value: Any) -> None:
    path = data_folder / CHOICES
    _replace(path, {**remembered.read(path), key: value})


def _replace(path: Path, entries: Mapping[str, Any]) -> None:
    try:
        remembered.replace(path, entries)
    except OSError as error:
        raise StorageError(f"{path} could not be written ({error.strerror}); make room and try again.") from error
