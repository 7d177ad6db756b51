"""`launch.py depth "a red ball" --picture photo.png`: pictures that follow the depth of another one, or a depth map."""

from __future__ import annotations

from pathlib import Path

from webui.commands import from_pictures

DESCRIPTION = """Make pictures that follow the depth of another one, with a model that takes depth maps.

  launch.py depth "a blue ball on a stone floor" --picture photo.png --save-map
  launch.py depth "a red cube" --depth-map map.png

Prints the path of each picture. Ctrl+C ends early and keeps what there is; a second one ends at once."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    return from_pictures.main("depth", DESCRIPTION, arguments, root)
