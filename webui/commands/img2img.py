"""`launch.py img2img "a red ball" --picture photo.png`: pictures from pictures."""

from __future__ import annotations

from pathlib import Path

from webui.commands import from_pictures

DESCRIPTION = """Make pictures from pictures.

  launch.py img2img "a red ball on a wooden table" --picture photo.png --strength 0.6
  launch.py img2img "an oil painting" --picture folder --output painted

Several files, or a folder, make one picture each; one that fails does not keep the others. Prints the path of each picture.
Ctrl+C ends early and keeps what there is; a second one ends at once."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    return from_pictures.main("img2img", DESCRIPTION, arguments, root)
