"""The second lesson: what each cell shows is counted rightly, mirrored rightly, and can be learnt from the network's features."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.builtin.recipe.captions import mirror
from models.builtin.recipe.dataset import DataSet
from models.builtin.recipe.layout import screen_box
from models.builtin.recipe.meaning import BACKGROUND_WEIGHT, COLOUR_CLASSES, SHAPE_CLASSES, SLOTS, Taught, meanings_of, slots
from models.builtin.recipe.scenes import sample_scene
from models.builtin.recipe.things import Scene
from models.builtin.recipe.tracer import render
from models.builtin.recipe.vocabulary import COLOURS, SHAPES
from webui.nets.spec import UNetSpec
from webui.nets.unet import UNetModel

SIDE, FACTOR = 24, 4
CELLS = SIDE // FACTOR
CPU = torch.device("cpu")
SPEC = UNetSpec(
    model_channels=16, channel_mult=(1, 2), res_blocks=1, transformer_depth=(0, 0), middle_depth=0, context_width=8, heads=2,
    groups=8,
)  # fmt: skip


@cache
def scenes() -> tuple[Scene, ...]:
    """A card, one thing, two and three."""
    return tuple(sample_scene(np.random.default_rng(count), count=count) for count in range(4))


def dataset(masks: np.ndarray, shown: tuple[Scene, ...]) -> DataSet:
    """A set of two shards with these masks; nothing looks at its pictures."""
    nothing = [np.zeros((2, 3, 1, 1), dtype=np.uint8)] * 2
    return DataSet(shard=2, pictures=nothing, masks=[masks[:2], masks[2:]], depth=[], scenes=shown)


def some_masks() -> np.ndarray:
    """Masks that show the background and every thing of each scene, at random places."""
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, 1 + max(1, len(scene.things)), (SIDE, SIDE), dtype=np.uint8) for scene in scenes()])


def taken(data: DataSet, indices: list[int], flip: bool = False) -> tuple[Tensor, Tensor]:
    return meanings_of(data, FACTOR, CPU).take(np.array(indices), np.full(len(indices), flip))


def names_of(scene: Scene, slot: int) -> tuple[int, int]:
    """The shape and colour class that a mask's number should have, found another way than `slots` does."""
    if slot == 0:
        return 0, 0
    if scene.card is not None:
        return 1 + len(SHAPES), 1 + COLOURS.index("white")
    thing = scene.things[slot - 1]
    return [None, *SHAPES].index(thing.shape), [None, *COLOURS].index(thing.colour)


def test_shares_are_those_of_the_pixels_and_add_up_to_one() -> None:
    masks = some_masks()
    shapes, colours = taken(dataset(masks, scenes()), [0, 1, 2, 3])
    assert shapes.shape == (4, SHAPE_CLASSES, CELLS, CELLS) and colours.shape == (4, COLOUR_CLASSES, CELLS, CELLS)
    for shares in (shapes, colours):
        assert torch.allclose(shares.sum(dim=1), torch.ones(4, CELLS, CELLS), atol=SLOTS / 2 / 255)
        assert float(shares.min()) >= 0
    for number, scene in enumerate(scenes()):
        for row, column in ((0, 0), (2, 5)):
            cell = masks[number, row * FACTOR : (row + 1) * FACTOR, column * FACTOR : (column + 1) * FACTOR].flatten()
            for kind, found in enumerate((shapes, colours)):
                expected = np.zeros(found.shape[1])
                for slot in cell:
                    expected[names_of(scene, int(slot))[kind]] += 1 / len(cell)
                assert np.allclose(found[number, :, row, column].numpy(), expected, atol=3 / 255)


def test_a_mirrored_picture_has_mirrored_shares_as_its_mirrored_masks_would_have() -> None:
    masks, whole = some_masks()[1:], scenes()[1:]
    plain, mirrored = (taken(dataset(masks, whole), [2, 0, 1], flip) for flip in (False, True))
    turned = taken(dataset(masks[..., ::-1].copy(), tuple(mirror(scene) for scene in whole)), [2, 0, 1])
    for one, other, independent in zip(plain, mirrored, turned, strict=True):
        assert torch.equal(other, one.flip(-1)) and torch.equal(other, independent)
        assert not torch.equal(other, one)


def test_each_picture_is_mirrored_or_not_by_itself() -> None:
    data = dataset(some_masks(), scenes())
    both = meanings_of(data, FACTOR, CPU).take(np.array([3, 3]), np.array([False, True]))
    assert torch.equal(both[0][0], both[0][1].flip(-1)) and not torch.equal(both[0][0], both[0][1])


def test_the_classes_of_a_card_and_of_three_things() -> None:
    card, three = scenes()[0], scenes()[3]
    assert slots(card) == ([0, SHAPE_CLASSES - 1, 0, 0], [0, 1 + COLOURS.index("white"), 0, 0])
    shapes, colours = slots(three)
    assert len(shapes) == len(colours) == SLOTS == 1 + len(three.things)
    assert [(shapes[slot], colours[slot]) for slot in range(SLOTS)] == [names_of(three, slot) for slot in range(SLOTS)]
    assert max(max(slots(scene)[0]) for scene in scenes()) < SHAPE_CLASSES
    everything = [slots(replaced(three, shape, colour)) for shape in SHAPES for colour in COLOURS]
    assert {shape for row, _ in everything for shape in row} <= set(range(SHAPE_CLASSES - 1))  # the last is the card's
    assert {colour for _, row in everything for colour in row} == set(range(COLOUR_CLASSES))


def replaced(scene: Scene, shape: str, colour: str) -> Scene:
    first = dataclasses.replace(scene.things[0], shape=shape, colour=colour)
    return dataclasses.replace(scene, things=(first, *scene.things[1:]))


def test_the_numbers_of_a_rendered_mask_are_those_of_the_things() -> None:
    scene = scenes()[3]
    (mask,) = render([scene], 64, samples=1).masks.numpy()
    for number, thing in enumerate(scene.things, start=1):
        rows, columns = np.nonzero(mask == number)
        assert len(rows) > 5
        left, _, right, _ = (64 * (1 + side) / 2 for side in screen_box(thing, scene.camera))
        assert left - 1 <= columns.mean() <= right + 1


def taught(seed: int = 0) -> Taught:
    torch.manual_seed(seed)
    return Taught(UNetModel(SPEC), SPEC.model_channels)


def called(network: Taught, batch: int) -> Tensor:
    return answer(network.unet, batch)


def answer(unet: UNetModel, batch: int) -> Tensor:
    x = torch.randn(batch, 4, CELLS, CELLS, generator=torch.Generator().manual_seed(5))
    result: Tensor = unet(x, torch.full((batch,), 400.0), torch.zeros(batch, 1, 8))
    return result


def test_the_head_learns_a_batch_and_the_network_learns_through_it() -> None:
    network = taught()
    wanted = taken(dataset(blocks(), scenes()), [0, 1, 2, 3])
    optimizer = torch.optim.Adam(network.parameters(), lr=6e-3)
    losses = []
    for _ in range(25):
        called(network, 4)
        loss = network.meaning_loss(*wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.7 * math.log(SHAPE_CLASSES * COLOUR_CLASSES)
    assert losses[-1] < losses[0] / 2
    first = network.unet.input_blocks[0][0].weight.grad  # type: ignore[union-attr, index]
    assert first is not None and float(first.abs().max()) > 0


def blocks() -> np.ndarray:
    """Masks whose things fill whole cells, so that there is one right answer."""
    rng = np.random.default_rng(1)
    cells = np.stack([rng.integers(0, 1 + max(1, len(scene.things)), (CELLS, CELLS), dtype=np.uint8) for scene in scenes()])
    return cells.repeat(FACTOR, axis=1).repeat(FACTOR, axis=2)


def test_cells_of_the_background_count_less() -> None:
    network = taught()
    network.head = nn.Identity()  # type: ignore[assignment]
    wanted = taken(dataset(blocks(), scenes()), [1, 3])
    logits = torch.randn(2, SHAPE_CLASSES + COLOUR_CLASSES, CELLS, CELLS, generator=torch.Generator().manual_seed(2))
    network._features = logits
    found = network.meaning_loss(*wanted).item()
    wrong, total = 0.0, 0.0
    for picture in range(2):
        for row in range(CELLS):
            for column in range(CELLS):
                shape, colour = (int(share[picture, :, row, column].argmax()) for share in wanted)
                parts = logits[picture, :, row, column].split([SHAPE_CLASSES, COLOUR_CLASSES])
                weight = BACKGROUND_WEIGHT if shape == 0 else 1.0
                likely = [functional.log_softmax(part, 0) for part in parts]
                wrong, total = wrong - weight * float(likely[0][shape] + likely[1][colour]), total + weight
    assert found == pytest.approx(wrong / total, rel=1e-5)


def test_listening_changes_nothing_and_keeps_nothing() -> None:
    network = taught()
    plain = UNetModel(SPEC)
    plain.load_state_dict(network.unet.state_dict())
    with torch.no_grad():
        for weights in (network.unet, plain):
            nn.init.constant_(weights.out[2].weight, 0.01)  # which starts at zero, where every answer would be alike
    x = torch.randn(1, 4, CELLS, CELLS)
    with torch.no_grad():
        assert torch.equal(called(network, 2), answer(plain, 2))
        network.unet(x, torch.zeros(1), torch.zeros(1, 1, 8))
        assert network._features is not None
        held = weakref.ref(network._features)
        network.meaning_loss(*taken(dataset(some_masks(), scenes()), [1]))
    gc.collect()
    assert network._features is None and held() is None
    with pytest.raises(AssertionError, match="must have been called"):
        network.meaning_loss(*taken(dataset(some_masks(), scenes()), [1]))

