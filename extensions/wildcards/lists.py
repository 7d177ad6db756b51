"""Lists of words: text files in folders. A name in a prompt is only ever looked up among the files that are there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path

from webui.extension import LONGEST_PROMPT, quoted

from .scanning import weighted

FOLDER = "wildcards"
SUFFIX = ".txt"
LARGEST = 8 * 2**20  # bytes of a list
MOST_FILES = 20_000
PLAIN_NAME = re.compile(r"[^\s_,<>()|{}\\][^\s,<>()|{}\\]*")  # what can be written between underscores


Entry = tuple[float, str]  # its weight and its text


class Lists:
    """The lists there are, by their names: the path below the folder without its ending, whatever the case."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._found: dict[str, tuple[Entry, ...]] = {}
        self._sums: dict[str, list[float]] = {}

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {name.casefold(): path for name, path in reversed(list(_files(self._folders)))}  # the first folder's hold

    def names(self) -> list[str]:
        """The names that can be written in a prompt."""
        return sorted({name for name, _ in _files(self._folders) if PLAIN_NAME.fullmatch(name) and "__" not in name})

    def entries(self, name: str) -> tuple[Entry, ...]:
        """What a name stands for: the entries of one list, or of all that a pattern with `*` fits; () for none."""
        folded = name.casefold()
        if folded not in self._found:  # a pattern may stand for every file there is, and be written a thousand times
            self._found[folded] = self._looked_up(folded)
        return self._found[folded]

    def sums(self, name: str) -> list[float]:
        """The weights of a name's entries, each with those before it."""
        folded = name.casefold()
        if folded not in self._sums:
            self._sums[folded] = summed([weight for weight, _ in self.entries(folded)])
        return self._sums[folded]

    def _looked_up(self, folded: str) -> tuple[Entry, ...]:
        if "*" not in folded:
            return _read(self._files[folded]) if folded in self._files else ()
        fitting = sorted(known for known in self._files if fnmatchcase(known, folded))
        return tuple(entry for known in fitting for entry in _read(self._files[known]))

    def problem(self, name: str) -> str:
        """Why nothing can be drawn from a name, "" where something can."""
        if self.entries(name):
            return ""
        if name.casefold() in self._files:
            return f"The list {quoted(name)} has no entries, so the text stays as it is; write one a line."
        where = f"{name}{SUFFIX} in models/{FOLDER} or {FOLDER}"
        return f"There is no list {quoted(name)}, so the text stays as it is; put one as {where}, or take another."


def summed(weights: Sequence[float]) -> list[float]:
    """Each weight with those before it; where all are 0, all count the same."""
    even = not any(weights)
    return list(accumulate(1.0 if even else weight for weight in weights))


def _files(folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Every list and its name, in the order of the folders and of the names."""
    for folder in folders:
        with contextlib.suppress(OSError):  # a folder that cannot be read has no lists
            found = sorted(path for path in (folder / FOLDER).rglob(f"*{SUFFIX}") if path.is_file())
            for path in found[:MOST_FILES]:
                yield path.relative_to(folder / FOLDER).with_suffix("").as_posix(), path


def _read(path: Path) -> tuple[Entry, ...]:
    """The entries of a file; none where it cannot be read."""
    try:
        stat = path.stat()
        return _entries(path, stat.st_mtime_ns, stat.st_size) if stat.st_size <= LARGEST else ()
    except OSError:
        return ()


@lru_cache(maxsize=1024)
def _entries(path: Path, _changed: int, _size: int) -> tuple[Entry, ...]:
    lines = path.read_bytes().decode("utf-8-sig", errors="replace").split("\n")
    entries = (line.partition("#")[0].replace("\0", "").strip() for line in lines)
    return tuple(weighted(entry) for entry in entries if 0 < len(entry) <= LONGEST_PROMPT)
