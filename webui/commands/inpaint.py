"""`launch.py inpaint "a red ball" --picture photo.png --mask mask.png`: a picture made anew in part, or with more around it."""

from __future__ import annotations

from pathlib import Path

from webui.commands import from_pictures

DESCRIPTION = """Make a part of a picture anew, or add to its sides.

  launch.py inpaint "a red ball" --picture photo.png --mask mask.png
  launch.py inpaint "a wooden table" --picture photo.png --outpaint-left 64 --outpaint-right 64

White in the mask is made anew; without a mask, what is transparent in the picture. Where the mask is black no pixel changes.
Prints the path of each picture. Ctrl+C ends early and keeps what there is; a second one ends at once."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    return from_pictures.main("inpaint", DESCRIPTION, arguments, root)
