"""Drawing a grid: pictures in rows and columns with what they are written above and beside them, never larger than is allowed.

One picture is open at a time, and the grid is as large as a picture may be, so that memory does not grow with the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from PIL import Image, ImageDraw

from webui.params import MOST_PIXELS
from webui.scripts import Axis, Plan
from webui.service.lettering import Box, Lettering

LARGEST_GRID = 16384  # pixels a side
PAPER, INK, BLANK, FAINT = "#ffffff", "#000000", "#e8e8e8", "#666666"
SMALLEST_LETTERS, LARGEST_LETTERS = 11, 48  # pixels
SHRINK = 0.98  # from one try to the next
NO_SIZE = (512, 512)  # of cells where there is no picture at all
Size = tuple[int, int]
OpenPicture = Callable[[int], Image.Image | str]
"""The picture of a cell by its place, or a sentence that says why there is none."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a grid looks: what a plan says besides its cells."""

    axes: tuple[Axis, ...] = ()
    grid: bool = True
    legend: bool = True
    margin: int = 0
    parts: bool = True
    said: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> Layout:
        """The layout of a plan."""
        names = ("grid", "legend", "margin", "parts")
        return cls(axes=tuple(plan.axes), said=dict(plan.said), **{name: getattr(plan, name) for name in names})

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Layout:
        """The inverse of `to_dict`."""
        axes = tuple(Axis(label=each["label"], values=tuple(each["values"])) for each in plain["axes"])
        return cls(**plain | {"axes": axes})


@dataclass(frozen=True, kw_only=True)
class Measures:
    """A grid in pixels: a cell, what is between two, the texts' width at the left and their heights above."""

    columns: int
    rows: int
    grids: int
    cell: Size
    margin: int
    left: int
    top: int
    title: int
    caption: int
    letters: int

    @property
    def block(self) -> Size:
        """One of the grids that are beside each other."""
        width = self.left + self.columns * self.cell[0] + (self.columns - 1) * self.margin
        height = self.title + self.top + self.rows * (self.cell[1] + self.caption) + (self.rows - 1) * self.margin
        return width, height

    @property
    def gap(self) -> int:
        """Between two of them."""
        return max(self.margin, min(self.letters, self.cell[0]))

    @property
    def size(self) -> Size:
        """All of it."""
        width, height = self.block
        return self.grids * width + (self.grids - 1) * self.gap, height

    def fits(self, side: int, pixels: int) -> bool:
        """Whether it is small enough."""
        width, height = self.size
        return max(width, height) <= side and width * height <= pixels

    def corner(self, place: int) -> Size:
        """Where the picture of a cell begins."""
        grid, rest = divmod(place, self.columns * self.rows)
        row, column = divmod(rest, self.columns)
        x = grid * (self.block[0] + self.gap) + self.left + column * (self.cell[0] + self.margin)
        return x, self.title + self.top + self.caption + row * (self.cell[1] + self.caption + self.margin)


def measured(
    layout: Layout, whole: Size, labels: Sequence[str], lettering: Lettering, *, side: int = LARGEST_GRID,
    pixels: int = MOST_PIXELS,
) -> Measures:  # fmt: skip
    """The measures of a grid whose cells have room for `whole`, scaled down until it is small enough.

    `labels` are what is written above each cell where there are no axes.
    """
    scale = 1.0
    while True:
        cell = max(int(whole[0] * scale), 1), max(int(whole[1] * scale), 1)
        found = _at(layout, cell, int(layout.margin * scale), labels, lettering)
        if found.fits(side, pixels):
            return found
        if cell == (1, 1):  # so many that there is no room for words
            return replace(_at(replace(layout, legend=False), cell, 0, labels, lettering), letters=0)
        width, height = found.size
        scale *= min(side / width, side / height, math.sqrt(pixels / (width * height)), SHRINK)


def draw(
    layout: Layout, sizes: Sequence[Size | None], labels: Sequence[str], open_picture: OpenPicture, *, side: int = LARGEST_GRID,
    pixels: int = MOST_PIXELS,
) -> Image.Image:  # fmt: skip
    """The grid of as many cells as there are `sizes`, None where there is no picture; each is asked for once, in order."""
    there = [size for size in sizes if size is not None] or [NO_SIZE]
    whole = max(width for width, _ in there), max(height for _, height in there)
    lettering = Lettering()
    measures = measured(layout, whole, labels, lettering, side=side, pixels=pixels)
    canvas = Image.new("RGB", measures.size, PAPER)
    pen = ImageDraw.Draw(canvas)
    if layout.legend and layout.axes:
        _write_legend(layout, measures, lettering, pen)
    for place in range(len(sizes)):
        x, y = measures.corner(place)
        if measures.caption:
            box = x, y - measures.caption, measures.cell[0], measures.caption
            lettering.write(pen, labels[place], box, measures.letters, INK)
        found = open_picture(place)
        if isinstance(found, str):
            _blank(canvas, pen, lettering, (x, y, *measures.cell), found, measures.letters)
        else:
            _paste(canvas, found, (x, y, *measures.cell), whole)
    return canvas


def _at(layout: Layout, cell: Size, margin: int, labels: Sequence[str], lettering: Lettering) -> Measures:
    """The measures with cells of a size; texts take what they need, but no more than a part of a cell."""
    x, y, z = _axes(layout)
    columns, rows, grids = len(x.values), len(y.values), len(z.values)
    if not layout.axes:
        columns = math.ceil(math.sqrt(len(labels)))
        rows = math.ceil(len(labels) / columns)
    letters = min(max(min(cell) // 16, SMALLEST_LETTERS), LARGEST_LETTERS)
    left = top = title = caption = 0
    if layout.legend and layout.axes:
        widest = max((lettering.width(each, letters) for each in y.values), default=0)
        left = min(widest + letters, max(cell[0] * 3 // 4, letters * 4)) if widest else 0
        top = lettering.height(x.values, cell[0], letters, most=max(cell[1], letters * 2))
        title = lettering.height(titles(z), left + columns * cell[0], letters, most=letters * 4)
    elif layout.legend:
        caption = lettering.height(labels, cell[0], letters, most=max(cell[1] // 2, letters * 2))
    return Measures(
        columns=columns, rows=rows, grids=grids, cell=cell, margin=margin, left=left, top=top, title=title, caption=caption,
        letters=letters,
    )  # fmt: skip


def _axes(layout: Layout) -> tuple[Axis, Axis, Axis]:
    x, y, z = (layout.axes[at] if at < len(layout.axes) else Axis() for at in range(3))
    return x, y, z


def titles(axis: Axis) -> list[str]:
    """What is written above each of the grids beside each other."""
    return [each if not each or each.startswith(axis.label) else f"{axis.label}: {each}" for each in axis.values]


def _write_legend(layout: Layout, measures: Measures, lettering: Lettering, pen: ImageDraw.ImageDraw) -> None:
    x, y, z = _axes(layout)
    names = "\n".join(f"{name}: {axis.label}" for name, axis in (("X", x), ("Y", y)) if axis.label and len(axis.values) > 1)
    for grid, title in enumerate(titles(z)):
        first, above = measures.corner(grid * measures.columns * measures.rows)
        start = first - measures.left
        lettering.write(pen, title, (start, 0, measures.block[0], measures.title), measures.letters, INK)
        lettering.write(pen, names, (start, measures.title, measures.left, measures.top), measures.letters, FAINT)
        for column, text in enumerate(x.values):
            across = first + column * (measures.cell[0] + measures.margin)
            lettering.write(pen, text, (across, measures.title, measures.cell[0], measures.top), measures.letters, INK)
        for row, text in enumerate(y.values):
            down = above + row * (measures.cell[1] + measures.margin)
            lettering.write(pen, text, (start, down, measures.left, measures.cell[1]), measures.letters, INK)


def _paste(canvas: Image.Image, picture: Image.Image, box: Box, whole: Size) -> None:
    """Put a picture into the middle of its cell, made smaller as all of them are: one that was smaller stays so."""
    x, y, width, height = box
    scale = min(width / whole[0], height / whole[1])
    size = min(max(round(picture.width * scale), 1), width), min(max(round(picture.height * scale), 1), height)
    shown = picture if picture.mode == "RGB" else picture.convert("RGB")
    if size != shown.size:
        shown = shown.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    canvas.paste(shown, (x + (width - size[0]) // 2, y + (height - size[1]) // 2))


def _blank(canvas: Image.Image, pen: ImageDraw.ImageDraw, lettering: Lettering, box: Box, sentence: str, letters: int) -> None:
    """An empty cell, with the sentence that says why it is."""
    x, y, width, height = box
    canvas.paste(BLANK, (x, y, x + width, y + height))
    edge = min(letters // 2, width // 8, height // 8)
    lettering.write(pen, sentence, (x + edge, y + edge, width - 2 * edge, height - 2 * edge), letters, INK)
