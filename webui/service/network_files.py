"""The weight files that extensions read: found by name or hash, opened by the one door, and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import ModelFileError, quoted, unknown
from webui.service.checkpoints import NETWORK_SUFFIXES, Checkpoint, find_networks, sayable
from webui.weights import remembered
from webui.weights.files import is_pickle, read_header, read_tensors
from webui.weights.hashes import weights_sha256

if TYPE_CHECKING:  # importing torch takes seconds, which a job's own thread spends
    from torch import Tensor

ROOM = 512 * 2**20  # bytes of tensors that are kept after they were read
PICTURE_FOLDERS, PICTURES = ("embeddings",), (".png", ".webp")
Pause = Callable[[], AbstractContextManager[Any]]


@dataclass(kw_only=True, eq=False)
class Kept:
    """A file that was read: what is in it, how many bytes that takes, and what tells whether somebody wrote to it."""

    content: Any
    size: int
    versions: tuple[int, ...]


class NetworkFiles:
    """`webui.pipeline.extended.Files` over the folders under `models` and those of other programs. Safe from any thread.

    `hash_of` gives the SHA-256 of a file, `known` too, but "" where that would mean reading it. While files are read,
    `unhurried()` is entered: whoever waits for a hook does not count that time. Pictures in `PICTURE_FOLDERS` are files too where
    they stand for themselves: embeddings may be kept in their pixels.
    """

    def __init__(
        self, models: Path, others: Sequence[Path] = (), *, hash_of: Callable[[Path], str], known: Callable[[Path], str],
        unhurried: Pause = nullcontext, room: int = ROOM,
    ) -> None:  # fmt: skip
        self._models = models
        self._others = tuple(others)
        self._hash_of = hash_of
        self._known = known
        self._unhurried = unhurried
        self._room = room
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int, int], Kept] = OrderedDict()

    def names(self, folders: tuple[str, ...]) -> Mapping[str, str]:
        """The files there are now: the path of each by its stem, or by more of its path where others are called so too."""
        found = self._there(folders)
        stems: dict[str, int] = {}
        for each in found:
            stems[_stem(each)] = stems.get(_stem(each), 0) + 1
        whole = {each.name.casefold() for each in found}
        names: dict[str, str] = {}
        for each in found:
            stem = _stem(each)
            clear = stems[stem] == 1 and (stem not in whole or each.name.casefold() == stem)
            names[each.name.rpartition("/")[2] if clear else each.name] = str(each.path)
        return names

    def find(self, folders: tuple[str, ...], name: str) -> str:
        """The path of a file by name, whatever the case, with or without folder or ending; `UnknownName` names those like it."""
        wanted = name.strip().replace("\\", "/").casefold()
        found, names = self._there(folders), self.names(folders)
        forms: tuple[Callable[[], Iterator[tuple[str, str]]], ...] = (
            lambda: iter(names.items()),
            lambda: ((each.name, str(each.path)) for each in found),
            lambda: ((each.path.name, str(each.path)) for each in found),
            lambda: ((f"{each.name}{each.path.suffix}", str(each.path)) for each in found),
        )
        for form in forms:
            meant = list(dict.fromkeys(path for known, path in form() if known.casefold() == wanted))
            if len(meant) == 1:
                return meant[0]
        raise unknown(f"file in models/{folders[0] if folders else ''}", name, names)

    def found(self, folders: tuple[str, ...], name: str, sha256: str) -> str:
        """The path of the file with a hash, the one of that name first; `ModelFileError` where it is gone or was changed."""
        wanted = name.strip().casefold()
        there = sorted(self._there(folders), key=lambda each: wanted not in (_stem(each), each.name.casefold()))
        with self._unhurried():
            known = (each for each in there if self._known(each.path) == sha256)
            for each in chain(known, there):
                try:
                    if self._hash_of(each.path) == sha256:
                        return str(each.path)
                except ModelFileError:  # one that cannot be read is not the one
                    continue
        raise ModelFileError(
            f"The file {quoted(name)} with the hash {sha256[:10]} is not here any more; put it back, or choose another one."
        )

    def sha256(self, path: str) -> str:
        """The hash of a file, kept by size and time of change."""
        with self._unhurried():
            return self._hash_of(Path(path))

    def weights_sha256(self, path: str) -> str:
        """The hash of what follows a safetensors header, kept like `sha256`; that of the file for all others."""
        place = _file(Path(path))
        if is_pickle(place):
            return self.sha256(path)
        stamp = place.stat()
        with self._unhurried():
            return _weights_sha256(place, stamp.st_size, stamp.st_mtime_ns)

    def header(self, path: str) -> Mapping[str, Any]:
        """Keys with shapes under "tensors" and the metadata of a safetensors file; `ModelFileError` for others."""
        place = _file(Path(path))
        if is_pickle(place):
            raise ModelFileError(f"{place.name} is a pickle: what is in it is only known when it is read whole.")
        found = read_header(place)
        shapes = {key: tuple(info.shape) for key, info in found.tensors.items()}
        return {"tensors": shapes, "metadata": dict(found.metadata)}

    def tensors(self, path: str) -> Mapping[str, Any]:
        """What is in a file: read at first, then kept; read again where the file, or by mistake what was read, was changed."""
        place = _file(Path(path))
        stamp = place.stat()
        key = (remembered.place(place), stamp.st_size, stamp.st_mtime_ns)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.versions == _versions(kept.content):
                self._kept.move_to_end(key)
                return kept.content  # type: ignore[no-any-return]
        with self._unhurried():
            content = _read(place)
        with self._lock:
            self._keep(key, content)
        return content  # type: ignore[no-any-return]

    def _keep(self, key: tuple[str, int, int], content: Any) -> None:
        size = sum(each.numel() * each.element_size() for each in _tensors(content))
        for old in [old for old in self._kept if old[0] == key[0]]:
            del self._kept[old]
        if size > self._room:
            return
        self._kept[key] = Kept(content=content, size=size, versions=_versions(content))
        while sum(each.size for each in self._kept.values()) > self._room:
            self._kept.popitem(last=False)

    def _there(self, folders: tuple[str, ...]) -> tuple[Checkpoint, ...]:
        found = find_networks(self._models, self._others, folders, {})
        return (*found, *_pictures(self._models, folders, found))


def _pictures(models: Path, folders: tuple[str, ...], networks: Sequence[Checkpoint]) -> Iterator[Checkpoint]:
    """Pictures that are no previews of networks beside them."""
    shown = {each.path.with_suffix("") for each in networks}
    for folder in (models / name for name in folders if name in PICTURE_FOLDERS):
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()):
            plain = path.with_suffix("")
            if plain not in shown and not plain.name.lower().endswith(".preview"):
                yield Checkpoint(name=sayable(plain.relative_to(folder).as_posix()), path=path)


def _stem(each: Checkpoint) -> str:
    """The last part of a file's name, as people write it."""
    return each.name.rpartition("/")[2].casefold()


def _file(path: Path) -> Path:
    """The file itself; of a folder of transformers the one with its weights."""
    if not path.is_dir():
        return path
    found = sorted(each for each in path.iterdir() if each.suffix.lower() in NETWORK_SUFFIXES)
    if len(found) != 1:
        raise ModelFileError(f"The folder {path.name} has {len(found)} weight files; one is wanted.")
    return found[0]


def _read(path: Path) -> Any:
    if is_pickle(path):
        from webui.weights.pickles import load_pickle

        loaded = load_pickle(path)
        if not isinstance(loaded, dict):
            raise ModelFileError(f"{path.name} holds a {type(loaded).__name__}, not named weights.")
        return loaded
    return dict(read_tensors(path))


def _tensors(content: Any) -> Iterator[Tensor]:
    """Every tensor in what a file holds, in order."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from _tensors(each)
    elif hasattr(content, "element_size"):
        yield content


@lru_cache(maxsize=4096)
def _weights_sha256(path: Path, _size: int, _changed: int) -> str:
    return weights_sha256(path)


def _versions(content: Any) -> tuple[int, ...]:
    """What rises in each tensor when it is written to."""
    return tuple(each._version for each in _tensors(content))
