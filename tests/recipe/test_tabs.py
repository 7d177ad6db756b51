"""The sheet of the tabs: every tile is where it should be, whole, below the name of its tab."""

from __future__ import annotations

import numpy as np
import pytest

from models.builtin.recipe import tabs
from models.builtin.recipe.captions import WORDS
from models.builtin.recipe.draw import Asked, as_png, sixteen_bits
from models.builtin.recipe.tabs import GAP, HEAD, laid_out, painted, sheet
from webui.engine.events import Picture
from webui.service.decoding import colours, depth, mask
from webui.tasks import TAKES, task_of

SIDE = 32


def tile(seed: int, *more: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, *more), dtype=np.uint8)


def at(page: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = GAP + row * (HEAD + SIDE + GAP) + HEAD, GAP + column * (SIDE + GAP)
    return page[top : top + SIDE, left : left + SIDE]


def test_tiles_stand_in_their_rows() -> None:
    rows = [("one", [tile(0, 3)]), ("two", [tile(1), tile(2, 3)])]
    page = np.asarray(laid_out(rows))
    assert np.array_equal(at(page, 0, 0), rows[0][1][0]) and np.array_equal(at(page, 1, 1), rows[1][1][1])
    assert np.array_equal(at(page, 1, 0), np.repeat(rows[1][1][0][..., None], 3, axis=2))
    assert bool((at(page, 0, 1) == 255).all())


def test_the_mask_is_white_inside_and_black_at_the_edge() -> None:
    found = painted(64, 48, (0.2, 0.2, 0.8, 0.8))
    assert found.shape == (64, 48) and found[32, 24] == 255 and not found[0].any() and not found[:, 0].any()


def test_the_files_are_read_as_what_they_were() -> None:
    ramp = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    assert np.abs(depth(sixteen_bits(ramp)) - ramp).max() <= 0.5 / 65535 + 1e-7
    assert np.array_equal(colours(as_png(tile(3, 3)))[..., :3], tile(3, 3))
    assert np.allclose(mask(as_png(tile(4))), tile(4) / 255)


def test_every_tab_is_asked_with_what_it_takes_and_words_the_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Asked] = []

    def answered(wanted: list[Asked], _root: object) -> list[Picture]:
        asked.extend(wanted)
        maps = {"depth": tile(5).astype(np.uint16) << 8}
        return [
            Picture(job="", picture=0, pixels=tile(len(asked), 3), request=None, batched=False, maps=maps, interrupted=False)
            for _ in wanted
        ]

    monkeypatch.setattr(tabs, "draw", answered)
    page = np.asarray(sheet())
    tasks = [task_of(each.params) for each in asked]
    assert set(tasks) == {"txt2img", "img2img", "inpaint", "depth"}
    for each, task in zip(asked, tasks, strict=True):
        assert set(each.files) <= set(TAKES[task])
        assert set(each.params.prompt.replace(",", "").split()) <= {*WORDS, "is", "floor"}
    files = [each.files["picture"] for each in asked if task_of(each.params) == "depth"]
    assert np.array_equal(colours(files[0])[..., :3], at(page, 0, 0))
    assert np.array_equal(at(page, 3, 0)[..., 0], tile(5))
