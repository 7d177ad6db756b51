"""Extensions: found in folders, loaded, and asked through one snapshot. One that cannot be loaded costs itself only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from webui.service.extension_lock import CHOICES
from webui.service.extension_manifest import MANIFEST, Manifest, read_manifest
from webui.service.extension_shelf import FOLDER, Shelf, open_shelf
from webui.service.extension_snapshot import Extensions
from webui.service.extension_standing import BUNDLED
from webui.service.folders import DATA

__all__ = ["BUNDLED", "MANIFEST", "Current", "Extensions", "Manifest", "bundled", "load", "of_folder", "read_manifest"]


@cache
def bundled() -> Extensions:
    """Those that come with the program: for whoever has no shelf."""
    return load((BUNDLED,))


def load(folders: Sequence[Path]) -> Extensions:
    """Load every extension in `folders` as one of the program's own; what cannot be loaded is left out, with the reason."""
    shelf = Shelf(BUNDLED.parent, kept=False, folders=tuple(folders))
    shelf.open()
    return shelf.now


def of_folder(root: Path) -> Extensions:
    """The extensions of a program's folder, for a command; those that come with the program, where it has no others."""
    if (root / FOLDER).is_dir() or (root / DATA / CHOICES).exists():
        return open_shelf(root).now
    return bundled()


class Current:
    """A field of a dataclass that is given a shelf, or a snapshot: it is what is loaded now, or that snapshot.

    Left out, it is what comes with the program.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._held = f"_held_{name}"

    def __get__(self, owner: Any, kind: type | None = None) -> Extensions:
        if owner is None:
            return self  # type: ignore[return-value]  # the field's default, which is set where nothing is given
        held: Shelf | Extensions = getattr(owner, self._held)
        return held.now if isinstance(held, Shelf) else held

    def __set__(self, owner: Any, given: Shelf | Extensions) -> None:
        setattr(owner, self._held, bundled() if isinstance(given, Current) else given)
