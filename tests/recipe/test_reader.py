"""The reader's regions and the judge's verdicts, on pictures whose labels are known without any training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.builtin.recipe.digits import SIDE, DigitReader, box_of, cards, cut
from models.builtin.recipe.judge import Verdict, figures, judge, matched
from models.builtin.recipe.prompts import Prompt, SaidThing
from models.builtin.recipe.reader import (
    BACKGROUND_CLASSES,
    CARD,
    SMALLEST,
    Eyes,
    Reader,
    Reading,
    SeenThing,
    fresh,
    make_pool,
    read,
    regions,
)
from models.builtin.recipe.things import Relation
from models.builtin.recipe.vocabulary import COLOURS, SHAPES


def seen(colour: str, shape: str, box: tuple[int, int, int, int], cells: int = 40) -> SeenThing:
    return SeenThing(shape=shape, colour=colour, cells=cells, box=box)


def prompt(
    *pairs: tuple[str, str],
    relation: str | None = None,
    floor: str | None = None,
    digit: int | None = None,
    ordered: bool = False,
) -> Prompt:
    return Prompt(
        text="",
        count=len(pairs),
        things=tuple(SaidThing(shape=shape, colour=colour, size=None, finish=None) for colour, shape in pairs),
        relation=None if relation is None else Relation(kind=relation, first=0, second=1),
        left_to_right=ordered,
        floor=floor,
        digit=digit,
        withheld=False,
    )


def beside(first: SeenThing, second: SeenThing) -> str:
    return "left of" if first.box[0] < second.box[0] else "right of"


LEFT, RIGHT = (2, 10, 8, 18), (20, 10, 26, 18)
BALL, CUBE = seen("red", "sphere", LEFT), seen("blue", "cube", RIGHT)


@pytest.mark.parametrize(
    ("reading", "right"),
    [
        (Reading(things=(BALL, CUBE), floor="teal", digit=None), True),
        (Reading(things=(CUBE, BALL), floor="teal", digit=None), True),
        (Reading(things=(BALL, CUBE), floor="pink", digit=None), False),
        (Reading(things=(BALL,), floor="teal", digit=None), False),
        (Reading(things=(BALL, CUBE, seen("green", "cone", RIGHT)), floor="teal", digit=None), False),
        (Reading(things=(seen("blue", "sphere", LEFT), seen("red", "cube", RIGHT)), floor="teal", digit=None), False),
        (Reading(things=(seen("red", "sphere", RIGHT), seen("blue", "cube", LEFT)), floor="teal", digit=None), False),
        (Reading(things=(), floor="teal", digit=3), False),
    ],
)
def test_two_things_are_right_only_where_every_fact_is(reading: Reading, right: bool) -> None:
    wanted = prompt(("red", "sphere"), ("blue", "cube"), relation="left of", floor="teal")
    assert judge(wanted, reading, beside).everything is right


def test_a_card_is_judged_by_its_digit() -> None:
    card = Reading(things=(), floor="grey", digit=7)
    assert judge(prompt(digit=7), card, beside).everything
    assert not judge(prompt(digit=1), card, beside).everything
    assert not judge(prompt(digit=7), Reading(things=(BALL,), floor="grey", digit=None), beside).everything


def test_three_things_in_order() -> None:
    pairs = (("red", "sphere"), ("green", "cone"), ("blue", "cube"))
    things = (seen("red", "sphere", (1, 5, 4, 9)), seen("green", "cone", (10, 5, 14, 9)), seen("blue", "cube", (20, 5, 25, 9)))
    assert judge(prompt(*pairs, ordered=True), Reading(things=things, floor="grey", digit=None), beside).relation
    assert not judge(prompt(*pairs[::-1], ordered=True), Reading(things=things, floor="grey", digit=None), beside).relation


def test_shares_count_only_the_prompts_that_state_the_fact() -> None:
    good = Verdict(things=True, count=True, colours=True, shapes=True, floor=None, relation=None, digit=None)
    bad = Verdict(things=False, count=True, colours=False, shapes=True, floor=False, relation=None, digit=None)
    shares = figures([prompt(("red", "cube"))] * 4, [good, good, good, bad])
    assert shares["one object, colour and shape"] == 75.0
    assert shares["one object, shape"] == 100.0
    assert shares["floor"] == 0.0
    assert shares["digit"] is None


def test_regions_join_what_is_near_and_drop_seams() -> None:
    kinds, colours = np.zeros((32, 32), int), np.zeros((32, 32), int)
    ball, blue = SHAPES.index("sphere") + 1, COLOURS.index("blue")
    kinds[4:10, 4:10], colours[4:10, 4:10] = ball, blue
    kinds[4:10, 6] = 0  # a thin gap does not part a thing
    kinds[20:28, 20:28] = ball  # the same shape in another colour is another thing
    kinds[20, 4:12] = SHAPES.index("cone") + 1  # a seam of eight cells is none
    kinds[28:32, 0:6] = CARD
    found = regions(kinds, colours)
    assert [(thing.shape, thing.colour) for thing in found] == [("sphere", COLOURS[0]), ("sphere", "blue")]
    assert found[1].box == (4, 4, 9, 9)
    assert SMALLEST > 8


def test_true_labels_read_back_as_the_scene() -> None:
    scenes, labels = fresh(40, np.random.default_rng(5))
    right = 0
    for index, scene in enumerate(scenes):
        things = regions(labels.shape[index].numpy(), labels.colour[index].clamp(min=0).numpy())
        right += {(thing.colour, thing.shape) for thing in things} == {(thing.colour, thing.shape) for thing in scene.things}
        reading = Reading(things=things, floor=scene.floor, digit=None)
        assert scene.relation is None or matched(scene, reading) is not None
        assert (scene.card is not None) == bool((labels.shape[index] == CARD).any())
    assert right == 40


def test_a_pool_keeps_labels() -> None:
    pool = make_pool(100, np.random.default_rng(6))
    _, labels = fresh(100, np.random.default_rng(6))
    kept = pool.take(torch.arange(100))
    for name in ("shape", "colour", "floor"):
        assert torch.equal(getattr(kept, name), getattr(labels, name)), name
    assert torch.allclose(kept.pictures, labels.pictures, atol=1e-6)


def test_the_reader_answers_for_every_cell() -> None:
    shape, colour, floor = Reader(width=8)(torch.zeros(2, 3, 128, 128))
    assert shape.shape == (2, BACKGROUND_CLASSES, 32, 32)
    assert colour.shape == (2, len(COLOURS), 32, 32)
    assert floor.shape == (2, 6)


class Painted(Reader):
    """Sees a shape where a picture is bright, and nothing of it that lies left of the middle: a reader with a blind side."""

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        bright = torch.nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), 4)
        shape = torch.zeros(len(pictures), BACKGROUND_CLASSES, 32, 32)
        shape[:, CARD] = bright[:, 0]
        shape[:, CARD, :, :16] /= 4
        shape[:, 0] = 0.3
        return shape, torch.zeros(len(pictures), len(COLOURS), 32, 32), torch.zeros(len(pictures), 6)


def test_a_picture_and_its_mirror_image_read_alike() -> None:
    pictures = torch.full((1, 3, 128, 128), -1.0)
    pictures[:, :, 40:80, 8:48] = 1.0
    eyes = Eyes(reader=Painted(width=8), digits=DigitReader().requires_grad_(False))
    (seen_one,), (seen_other,) = read(eyes, pictures), read(eyes, pictures.flip(-1))
    assert seen_one.digit is not None and seen_other.digit is not None
    assert not bool((eyes.reader(pictures)[0].argmax(1) == CARD).any())  # alone, it would have missed the card


def test_a_card_is_cut_out_whole_and_to_one_size() -> None:
    pictures = torch.rand(2, 3, 128, 128)
    pictures[0, :, 30:60, 50:90] = 0.25
    pictures[0, :, 45:50, 60:80] = 0.75
    boxes = [box_of(np.pad(np.ones((30, 40), bool), ((30, 68), (50, 38)))), (0.0, 0.0, 128.0, 128.0)]
    assert boxes[0] == (50.0, 30.0, 90.0, 60.0)
    inside = cut(pictures, boxes)
    assert inside.shape == (2, 1, SIDE, SIDE)
    assert torch.allclose(inside.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(inside.std(dim=(1, 2, 3)), torch.ones(2), atol=1e-3)
    flat = inside[0, 0, 1:-1, 1:-1].round(decimals=2).unique()  # two colours and their seam, nothing of the noise around
    assert len(flat) < 12
    assert float(inside[0, 0, SIDE * 17 // 30, SIDE // 2]) > 1 > float(inside[0, 0, 3, 3])


def test_digits_can_be_learnt_from_cards() -> None:
    pictures, wanted = cards(100, np.random.default_rng(1))
    assert set(wanted.tolist()) == set(range(10))
    torch.manual_seed(0)
    network = DigitReader()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(40):
        torch.nn.functional.cross_entropy(network(pictures), wanted).backward()
        optimizer.step()
        optimizer.zero_grad()
    fresh_pictures, fresh_digits = cards(100, np.random.default_rng(2))
    assert float((network(fresh_pictures).argmax(1) == fresh_digits).float().mean()) > 0.5  # chance: 0.1
