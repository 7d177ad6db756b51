"""Records on disk: a folder each, bounded in bytes all together; the one that was looked at longest ago goes first."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORD, KEPT = "record.json", "kept"
KEY = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"[0-9]{1,4}-[0-9]{1,6}-[a-z]{1,10}\.(?:png|maps)")


class Store:
    """The records below a folder, at most `room` bytes of files. Safe from any thread.

    A record is plain data and files beside it; keys and names of files are the store's own, never a person's text.
    """

    def __init__(self, folder: Path, room: int) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._room = room
        self._sizes: dict[str, int] | None = None  # by key, the longest unused first

    @property
    def size(self) -> int:
        """How many bytes the records have."""
        with self._lock:
            return sum(self._known().values())

    def limit(self, room: int) -> None:
        """From now on there may be so many bytes."""
        with self._lock:
            self._room = room
            self._let_go()

    def read(self, key: str) -> dict[str, Any] | None:
        """A record, which is thereby the last to go; None where there is none."""
        try:
            found = json.loads((self._place(key) / RECORD).read_text(encoding="utf-8"))
            os.utime(self._place(key) / RECORD)
        except (OSError, ValueError):
            return None
        with self._lock:
            self._used(key)
        return found if isinstance(found, dict) else None

    def file(self, key: str, name: str) -> bytes | None:
        """A file beside a record; None where there is none."""
        if not NAME.fullmatch(name):
            return None
        try:
            return (self._place(key) / name).read_bytes()
        except OSError:
            return None

    def write(self, key: str, record: Mapping[str, Any], files: Mapping[str, bytes]) -> bool:
        """Keep a record and more files beside it; False where they do not fit, even alone, and then none of it is written."""
        content = json.dumps(record).encode()
        place = self._place(key)
        with self._lock:
            known = self._known()
            old = _size(place / RECORD) + sum(_size(place / name) for name in files)
            size = known.get(key, 0) - old + len(content) + sum(map(len, files.values()))
            if size > self._room:
                return False
            place.mkdir(parents=True, exist_ok=True)
            for name, each in files.items():
                assert NAME.fullmatch(name), name
                _replace(place / name, each)
            _replace(place / RECORD, content)  # last: what it names is there
            known[key] = size
            self._used(key)
            self._let_go()
        return True

    def keep(self, key: str) -> None:
        """The picture of a record is in the gallery: `sweep` leaves it alone."""
        with self._lock, contextlib.suppress(OSError):
            (self._place(key) / KEPT).touch()

    def sweep(self) -> None:
        """Let go of the records whose pictures were never saved; nothing may be writing any."""
        with self._lock:
            for key in [key for key in self._known() if not (self._place(key) / KEPT).exists()]:
                self._remove(key)

    def remove(self, key: str) -> None:
        """Let go of a record."""
        with self._lock:
            self._remove(key)

    def _place(self, key: str) -> Path:
        assert KEY.fullmatch(key), key
        return self._folder / key

    def _known(self) -> dict[str, int]:
        if self._sizes is None:
            places = [place for place in self._folder.glob("*") if KEY.fullmatch(place.name) and place.is_dir()]
            places.sort(key=lambda place: (_time(place / RECORD), place.name))
            self._sizes = {place.name: sum(map(_size, place.iterdir())) for place in places}
        return self._sizes

    def _used(self, key: str) -> None:
        known = self._known()
        if key in known:
            known[key] = known.pop(key)

    def _let_go(self) -> None:
        known = self._known()
        while sum(known.values()) > self._room:
            self._remove(next(iter(known)))

    def _remove(self, key: str) -> None:
        shutil.rmtree(self._place(key), ignore_errors=True)
        self._known().pop(key, None)


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole: who reads meanwhile finds the old one or the new one."""
    half = path.with_suffix(path.suffix + ".part")
    half.write_bytes(content)
    half.replace(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
