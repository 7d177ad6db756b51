"""Where the program keeps its own things, below the folder it lies in."""

from __future__ import annotations

import contextlib
from pathlib import Path

DATA = "data"  # the database and uploaded files: what must not be lost
CACHE = "cache"  # what can be made again
OUTPUTS = Path("outputs") / "txt2img"


def own_folder(root: Path, name: str) -> Path:
    """The folder `name` of the program, which git is told to ignore; where it cannot be made, whoever needs it will say so.

    A new data folder is for nobody else on the machine: prompts and hashed passwords are in it.
    """
    folder = root / name
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if name == DATA else 0o777)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    return folder


def cache_folder(root: Path) -> Path:
    """`root`/cache; where it cannot be made, what would be kept there is computed again."""
    return own_folder(root, CACHE)
