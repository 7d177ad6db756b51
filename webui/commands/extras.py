"""`launch.py extras photo.png --scale-by 4`: larger pictures."""

from __future__ import annotations

from pathlib import Path

from webui.commands import from_pictures

DESCRIPTION = """Make pictures larger.

  launch.py extras photo.png --scale-by 4
  launch.py extras folder --upscaler 4x-UltraSharp --output large

Several files, or a folder, make one picture each; one that fails does not keep the others. Prints the path of each picture.
Ctrl+C ends early and keeps what there is; a second one ends at once."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    return from_pictures.main("extras", DESCRIPTION, arguments, root)
