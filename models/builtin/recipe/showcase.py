"""The README's picture: eight prompts, two seeds each, drawn by the model that ships, nothing chosen.

    python -m models.builtin.recipe.showcase
"""

from __future__ import annotations

from .draw import ROOT, draw_pictures
from .evaluate import draw_grid

PROMPTS = (
    "a red ball on a wooden table",
    "a large blue cube on a sand floor",
    "a green cone left of an orange cylinder, pink floor",
    "a small yellow sphere in front of a large grey cube on a teal floor",
    "a purple ring on a white table",
    "a white ball on top of a red cube, grey floor",
    "a blue pyramid right of a yellow ring on a sand floor",
    "a shiny black sphere on a wooden floor",
)
FILE = ROOT / "docs" / "builtin.png"


def main() -> None:
    """Draw and write the picture: a row for each seed."""
    draw_grid(draw_pictures(PROMPTS * 2), FILE, across=len(PROMPTS), down=2)


if __name__ == "__main__":
    main()
