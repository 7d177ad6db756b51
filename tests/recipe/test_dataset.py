"""Sets on disk: resumable, the same from any run, and captioned anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.builtin.recipe.captions import caption
from models.builtin.recipe.dataset import build, load, main, scene_of
from models.builtin.recipe.evaluate import draw_grid
from models.builtin.recipe.tracer import render
from webui.errors import UserError


def test_a_set_holds_the_scenes_and_their_pictures(tmp_path: Path) -> None:
    build(tmp_path, 12, seed=3, size=32, shard=6)
    data = load(tmp_path)
    assert len(data) == 12
    assert list(data.scenes) == [scene_of(3, index) for index in range(12)]
    expected = render(data.scenes, 32)
    got = torch.from_numpy(data.picture(np.array([0, 7, 11])))
    assert (got.int() - expected.pictures[[0, 7, 11]].int()).abs().max() <= 1
    assert data.masks[1].shape == (6, 32, 32)
    assert data.depth[0].shape == (6, 16, 16)
    assert data.depth[0].dtype == np.float16
    with pytest.raises(ValueError, match="another folder"):
        build(tmp_path, 12, seed=4, size=32, shard=6)


def test_a_stopped_run_goes_on_and_leaves_finished_shards_alone(tmp_path: Path) -> None:
    build(tmp_path, 4, seed=3, size=32, shard=4)
    before = (tmp_path / "pictures-0000.npy").stat().st_mtime_ns
    main([str(tmp_path), "--count", "8", "--seed", "3", "--size", "32", "--shard", "4", "--workers", "1"])
    assert (tmp_path / "pictures-0000.npy").stat().st_mtime_ns == before
    assert len(load(tmp_path)) == 8
    assert not list(tmp_path.glob("*.part"))


def test_captions_are_new_each_time_and_follow_a_flip(tmp_path: Path) -> None:
    build(tmp_path, 8, seed=3, size=32, shard=8)
    data = load(tmp_path)
    indices = np.array([i for i, scene in enumerate(data.scenes) if scene.card is None])
    rng = np.random.default_rng(0)
    assert data.captions(indices, rng) != data.captions(indices, rng)
    plain = data.captions(indices, np.random.default_rng(1))
    assert plain[0] == caption(data.scenes[indices[0]], np.random.default_rng(1))
    flipped = data.captions(indices, np.random.default_rng(1), np.ones(len(indices), dtype=bool))
    for one, other in zip(plain, flipped, strict=True):
        if " left of" in one or " right of" in one:
            assert one != other


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the stage data first"):
        load(tmp_path / "data")


def test_a_grid_shows_pictures_by_rows_and_every_nth_of_many(tmp_path: Path) -> None:
    pictures = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1) * np.ones((1, 3, 2, 2), np.uint8)
    draw_grid(pictures, tmp_path / "all.png", across=4, down=3)
    draw_grid(pictures, tmp_path / "few.png", across=2, down=2)
    with Image.open(tmp_path / "all.png") as every, Image.open(tmp_path / "few.png") as few:
        assert np.asarray(every)[::2, ::2, 1].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
        assert np.asarray(few)[::2, ::2, 0].tolist() == [[0, 3], [6, 9]]
