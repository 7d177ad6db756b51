"""Grids never become too large, put every picture where it belongs, and write every text where it is to stand, and not beside."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod

import pytest
from PIL import Image, ImageDraw

from webui.scripts import Axis, Cell, Plan
from webui.service.grids import Layout, Measures, draw, measured
from webui.service.lettering import Lettering

WORDS = [
    "a", "cat", "Steps: 20", "DPM++ 2M SDE Heun", "x" * 90, "", "…", "dög", "猫", "\n\n", "\x1b[1m", " " * 9, "🐈", "ß" * 400,
    "(a:1.2)",
]  # fmt: skip


def layout(sides: tuple[int, int, int], margin: int = 0, legend: bool = True, words: list[str] | None = None) -> Layout:
    names = words or [f"Seed: {number}" for number in range(50)]
    values = [tuple(names[place % len(names)] for place in range(side)) for side in sides]
    axes = tuple(Axis(label=f"axis {at}", values=each) for at, each in enumerate(values))
    return Layout(axes=axes, margin=margin, legend=legend)


def plain(*colours: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> Callable[[int], Image.Image]:
    return lambda place: Image.new("RGB", size, colours[place % len(colours)])


@pytest.mark.parametrize("seed", range(12))
def test_a_grid_is_never_larger_than_allowed_however_many_cells_it_has(seed: int) -> None:
    chance = random.Random(seed)
    sides = tuple(chance.choice([1, 1, 2, 3, 7, 30, 100]) for _ in range(3))
    while prod(sides) > 3000:
        sides = tuple(max(side // 2, 1) for side in sides)
    limit = chance.choice([200, 1000, 16384])
    whole = chance.choice([1, 64, 512, 4096]), chance.choice([1, 64, 512, 4096])
    found = measured(
        layout(sides, chance.choice([0, 7, 500]), chance.random() < 0.7, WORDS), whole, [""] * prod(sides), Lettering(),  # type: ignore[arg-type]
        side=max(limit, *sides, sides[0] * sides[2]), pixels=max(limit * limit, prod(sides)),
    )  # fmt: skip
    assert found.fits(max(limit, *sides, sides[0] * sides[2]), max(limit * limit, prod(sides)))
    assert found.cell[0] <= whole[0] and found.cell[1] <= whole[1]


def test_a_grid_that_fits_is_not_scaled() -> None:
    assert measured(layout((3, 2, 1)), (512, 384), [""] * 6, Lettering()).cell == (512, 384)


def boxes(measures: Measures, cells: int) -> list[tuple[int, int, int, int]]:
    corners = [measures.corner(place) for place in range(cells)]
    return [(x, y, x + measures.cell[0], y + measures.cell[1]) for x, y in corners]


@pytest.mark.parametrize("sides", [(3, 2, 1), (1, 4, 1), (2, 2, 3), (1, 1, 2)])
@pytest.mark.parametrize("margin", [0, 5])
def test_cells_neither_overlap_nor_leave_the_grid_and_hold_their_pictures(sides: tuple[int, int, int], margin: int) -> None:
    count, made = prod(sides), layout(sides, margin)
    measures = measured(made, (64, 48), [""] * count, Lettering())
    found = boxes(measures, count)
    for at, (left, top, right, bottom) in enumerate(found):
        assert left >= 0 and top >= 0 and right <= measures.size[0] and bottom <= measures.size[1]
        for other in found[at + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    colours = [(place * 20 % 256, 255 - place * 10, 7) for place in range(count)]
    grid = draw(made, [(64, 48)] * count, [""] * count, plain(*colours, size=(64, 48)))
    for box, colour in zip(found, colours, strict=True):
        assert grid.crop(box).getcolors() == [(64 * 48, colour)], "the picture and nothing else"


def test_x_goes_right_y_down_and_z_to_the_next_grid() -> None:
    measures = measured(layout((3, 2, 2)), (64, 64), [""] * 12, Lettering())
    first, right, down, beside = (measures.corner(place) for place in (0, 1, 3, 6))
    assert right[0] > first[0] and right[1] == first[1]
    assert down[0] == first[0] and down[1] > first[1]
    assert beside[0] > measures.corner(2)[0] and beside[1] == first[1]


def test_smaller_pictures_stay_smaller_in_the_middle_of_their_cells() -> None:
    made = layout((2, 1, 1), legend=False)
    red, blue = (255, 0, 0), (0, 0, 255)
    pictures = [Image.new("RGB", (64, 64), red), Image.new("RGB", (32, 16), blue)]
    grid = draw(made, [(64, 64), (32, 16)], ["", ""], pictures.__getitem__)
    assert grid.size == (128, 64)
    assert grid.crop((64 + 16, 24, 64 + 48, 40)).getcolors() == [(32 * 16, blue)]
    assert grid.crop((64, 0, 128, 24)).getcolors() == [(64 * 24, (255, 255, 255))]


def test_a_legend_says_something_and_none_says_nothing() -> None:
    made = layout((2, 2, 2))
    written = draw(made, [(64, 64)] * 8, [""] * 8, plain((9, 9, 9)))
    bare = draw(layout((2, 2, 2), legend=False), [(64, 64)] * 8, [""] * 8, plain((9, 9, 9)))
    assert bare.height == 128 and written.height > 128 and written.width > bare.width
    measures = measured(made, (64, 64), [""] * 8, Lettering())
    x, y = measures.corner(0)
    above = (x, measures.title, x + 64, measures.title + measures.top)
    beside = (0, y, measures.left, y + 64)
    title = (0, 0, measures.block[0], measures.title)
    for box in (above, beside, title):
        assert min(written.convert("L").crop(box).getextrema()) < 128, "there is ink"


def test_a_list_has_each_label_above_its_picture() -> None:
    labels = [f"prompt {number}" for number in range(5)]
    grid = draw(Layout(), [(64, 64)] * 5, labels, plain((9, 9, 9)))
    measures = measured(Layout(), (64, 64), labels, Lettering())
    assert (measures.columns, measures.rows) == (3, 2)
    for place in range(5):
        x, y = measures.corner(place)
        assert min(grid.convert("L").crop((x, y - measures.caption, x + 64, y)).getextrema()) < 128


def test_each_picture_is_open_alone_and_once() -> None:
    asked: list[int] = []
    draw(layout((5, 5, 1)), [(64, 64)] * 25, [""] * 25, lambda place: asked.append(place) or Image.new("RGB", (64, 64)))
    assert asked == list(range(25))


def test_an_empty_grid_has_room_for_its_sentences() -> None:
    grid = draw(layout((2, 1, 1)), [None, None], ["", ""], lambda place: "The model is not here any more.")
    assert grid.width >= 1024 and min(grid.convert("L").getextrema()) < 128


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("room", [(60, 30), (8, 8), (60, 7), (6, 60), (5, 60), (100, 100)])
def test_letters_stay_in_their_box(text: str, room: tuple[int, int]) -> None:
    box = (20, 20, *room)
    page = Image.new("L", (200, 200), 255)
    Lettering().write(ImageDraw.Draw(page), text, box, 24, "#000000")
    x, y, width, height = box
    page.paste(255, (x - 2, y - 3, x + width + 2, y + height + 3))  # signs may hang over by a hair
    assert page.getextrema() == (255, 255)


@pytest.mark.parametrize("text", [word for word in WORDS if word.strip()])
def test_wrapping_loses_no_letter(text: str) -> None:
    lettering = Lettering()
    lines = lettering.lines(text, 40, 12)
    assert "".join(lines).replace(" ", "") == lettering._plain(text).replace(" ", "").replace("\n", "")
    assert all(lettering.width(line, 12) <= 41 or len(line) == 1 for line in lines)


def test_a_layout_is_the_same_after_json() -> None:
    plan = Plan(
        cells=[Cell(labels=("1",)), Cell(labels=("2",))], axes=[Axis(label="Steps", values=("1", "2"))], margin=4, parts=False,
        legend=False, said={"Script": "x"},
    )  # fmt: skip
    made = Layout.of(plan)
    assert Layout.from_dict(made.to_dict()) == made and (made.margin, made.parts, made.legend) == (4, False, False)


def test_a_plan_that_contradicts_itself_is_its_scripts_fault() -> None:
    for more in ({"axes": [Axis(values=("1", "2", "3"))]}, {"axes": [Axis()] * 4}, {"margin": -1}, {"margin": 501}):
        with pytest.raises(ValueError, match=r"places|axes|margin"):
            Plan(cells=[Cell(), Cell()], **more)  # type: ignore[arg-type]
