"""What was at work when the program ended without a word: a few bytes in a file that the system keeps when the program is killed.

The file is mapped into memory, so that writing a name costs no call of the system, and a name is there for the next start however
the program ended. Each thread that runs an extension's code writes into a place of its own.
"""

from __future__ import annotations

import contextlib
import mmap
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from webui.service.extension_manifest import NAME

WIDTH = 64  # bytes of a place: "extension hook"
PLACES = 64  # threads that may run code of extensions at once; those beyond leave no mark
NOWHERE = -1
EMPTY = bytes(WIDTH)


class Mark:
    """Writes who is at work into a file; `left` is what an earlier program left there: (extension, hook) of each place.

    Where the file cannot be written, nothing is marked. Of all programs with one data folder only one may hold it.
    """

    def __init__(self, path: Path) -> None:
        self.left = tuple(_read(path))
        self._free = deque(range(PLACES))
        self._memory: mmap.mmap | None = None
        with contextlib.suppress(OSError, ValueError):
            path.write_bytes(EMPTY * PLACES)
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), WIDTH * PLACES)

    def begin(self, said: bytes) -> int:
        """Write `said`, which is `WIDTH` bytes, into a free place, and return which; `NOWHERE` where there is none."""
        memory = self._memory
        if memory is None:
            return NOWHERE
        try:
            place = self._free.pop()
        except IndexError:
            return NOWHERE
        memory[place * WIDTH : (place + 1) * WIDTH] = said
        return place

    def write(self, place: int, said: bytes) -> None:
        """Write into a place that was got by `begin`."""
        if place != NOWHERE and self._memory is not None:
            self._memory[place * WIDTH : (place + 1) * WIDTH] = said

    def end(self, place: int) -> None:
        """Empty a place, and give it back."""
        if place != NOWHERE and self._memory is not None:
            self._memory[place * WIDTH : (place + 1) * WIDTH] = EMPTY
            self._free.append(place)

    def clear(self) -> None:
        """Empty all places for good: the program ends because somebody wants it to, whoever is at work."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory[:] = EMPTY * PLACES
            memory.close()


def said(owner: str, hook: str) -> bytes:
    """What is written while a hook of an extension is at work."""
    return f"{owner} {hook}".encode("ascii", "replace")[:WIDTH].ljust(WIDTH, b"\0")


def _read(path: Path) -> Iterator[tuple[str, str]]:
    try:
        content = path.read_bytes()[: WIDTH * PLACES]
    except OSError:
        return
    for start in range(0, len(content), WIDTH):
        owner, _, hook = content[start : start + WIDTH].rstrip(b"\0").decode("utf-8", "replace").partition(" ")
        if NAME.fullmatch(owner) and hook.isprintable():
            yield owner, hook
