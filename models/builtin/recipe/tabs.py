"""The sheet of what the tabs do: one row a tab, drawn by the model that ships, nothing chosen.

python -m models.builtin.recipe.tabs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from webui.drawing import Txt2Img
from webui.engine.events import Picture
from webui.tasks import Depth, Img2Img, Inpaint

from .draw import NAME, ROOT, Asked, as_png, draw

FILE = ROOT / "docs" / "tabs.png"
FIRST = ("a large red ball on a wooden table", "a blue cube left of a yellow cone, grey floor", "a green ring on a sand floor")
"""What is drawn from text, and what the other tabs begin with."""
REPAINTED = (
    "a large blue ball on a wooden table",
    "a red cube left of a green cone, grey floor",
    "a purple ring on a pink floor",
)
"""What img2img makes of the first pictures."""
PUT_IN = (
    "a large black cube on a wooden table",
    "a white ball left of a yellow cone, grey floor",
    "a blue pyramid on a sand floor",
)
"""What inpaint puts in the place of a thing of theirs."""
RECOLOURED = ("a large green ball on a teal floor", "an orange cube left of a red cone", "a yellow ring on a grey floor")
"""What is drawn to the depth of the first pictures."""
STRENGTH, SEED = 0.7, 7
MASKS = ((0.15, 0.2, 0.9, 0.9), (0.0, 0.2, 0.56, 0.9), (0.15, 0.2, 0.85, 0.85))
"""Left, top, right and bottom of what is painted over in each of the first pictures, in parts of the picture."""
GAP, HEAD = 8, 22  # pixels between pictures and above each row
INK, PAPER = (40, 40, 48), (255, 255, 255)
Row = tuple[str, list[np.ndarray]]


def sheet(root: Path = ROOT) -> Image.Image:
    """All rows: each tab's name, and for each prompt what went in and what came out."""
    first = draw([Asked(params=Txt2Img(prompt=text, seed=seed, model=NAME)) for seed, text in enumerate(FIRST)], root)
    files = [as_png(picture.pixels) for picture in first]
    height, width = first[0].pixels.shape[:2]
    masks = [painted(height, width, box) for box in MASKS]
    again = [
        Asked(params=Img2Img(prompt=text, strength=STRENGTH, model=NAME, seed=SEED), files={"picture": file})
        for text, file in zip(REPAINTED, files, strict=True)
    ]
    inside = [
        Asked(params=Inpaint(prompt=text, strength=1.0, model=NAME, seed=SEED), files={"picture": file, "mask": as_png(mask)})
        for text, file, mask in zip(PUT_IN, files, masks, strict=True)
    ]
    deep = [
        Asked(params=Depth(prompt=text, model=NAME, seed=SEED), files={"picture": file})
        for text, file in zip(RECOLOURED, files, strict=True)
    ]
    made = draw([*again, *inside, *deep], root)
    again_made, inside_made, deep_made = (made[start : start + len(first)] for start in range(0, len(made), len(first)))
    rows = [
        ("txt2img: pictures from words", [picture.pixels for picture in first]),
        ("img2img: those pictures made anew with other words", [picture.pixels for picture in again_made]),
        ("inpaint: what was painted over, and what other words put there", side_by_side(masks, inside_made)),
        ("depth: the maps of the first pictures, and other words drawn to them", side_by_side(map(map_of, deep_made), deep_made)),
    ]
    return laid_out(rows)


def painted(height: int, width: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """A mask [H, W] that is white, the picture made anew, in an ellipse that fills a box."""
    mask = Image.new("L", (width, height), 0)
    left, top, right, bottom = box
    ImageDraw.Draw(mask).ellipse((left * width, top * height, right * width, bottom * height), fill=255)
    return np.asarray(mask)


def map_of(picture: Picture) -> np.ndarray:
    """The depth map that a picture was drawn to, [H, W] with 8 bits a pixel."""
    return (picture.maps["depth"] >> 8).astype(np.uint8)


def side_by_side(given: Iterable[np.ndarray], made: Sequence[Picture]) -> list[np.ndarray]:
    """What went in, in turn with what came out."""
    return [tile for before, after in zip(given, made, strict=True) for tile in (before, after.pixels)]


def laid_out(rows: Sequence[Row]) -> Image.Image:
    """The rows below each other, each with its name above it."""
    height, width = rows[0][1][0].shape[:2]
    across = max(len(tiles) for _, tiles in rows)
    page = Image.new("RGB", (GAP + across * (width + GAP), GAP + len(rows) * (HEAD + height + GAP)), PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(14)
    for number, (name, tiles) in enumerate(rows):
        top = GAP + number * (HEAD + height + GAP)
        pen.text((GAP, top), name, fill=INK, font=font)
        for place, tile in enumerate(tiles):
            page.paste(Image.fromarray(tile).convert("RGB"), (GAP + place * (width + GAP), top + HEAD))
    return page


def main() -> None:
    """Draw and write the sheet."""
    sheet().save(FILE, optimize=True)


if __name__ == "__main__":
    main()
