"""`launch.py train`: what it is asked for, and sentences for what it can't do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from webui.errors import UserError
from webui.training.command import best_device, folder_of, lengths, main
from webui.training.curve import HEIGHT, LINE, draw_curves


def test_lengths_are_read_by_stage() -> None:
    assert lengths(["noise=900", "vae=3"]) == {"noise": 900, "vae": 3}


@pytest.mark.parametrize("given", ["noise", "noise=", "noise=-3", "noise=0", "noise=1.5"])
def test_a_wrong_length_is_a_sentence(given: str) -> None:
    with pytest.raises(UserError, match="must be a stage and a whole number"):
        lengths([given])


def test_unknown_recipes_and_stages_are_named() -> None:
    with pytest.raises(UserError, match=r"'bultin'.*builtin"):
        main(["--recipe", "bultin"])
    with pytest.raises(UserError, match=r"'nois'.*noise"):
        main(["--recipe", "builtin", "--stage", "nois"])


def test_a_device_torch_cannot_use_is_a_sentence() -> None:
    assert best_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="can't be used"):
        best_device("cuda:99")
    with pytest.raises(UserError, match="can't be used"):
        best_device("nonsense")


def test_no_time_is_no_work(tmp_path: Path) -> None:
    assert main(["--recipe", "builtin", "--seconds", "0", "--folder", str(tmp_path)]) == 3
    assert list(tmp_path.iterdir()) == []
    assert folder_of("builtin", None) == Path("models/builtin/training")


def test_the_curve_has_a_panel_for_each_value(tmp_path: Path) -> None:
    records = tmp_path / "curve.jsonl"
    records.write_text("".join(json.dumps({"step": n, "loss": 1 / (n + 1), "psnr": n, "steps/s": 4}) + "\n" for n in range(5)))
    draw_curves(records, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        pixels = np.asarray(image)
    panels = pixels.reshape(2, HEIGHT, *pixels.shape[1:])
    assert all((panel == LINE).all(axis=-1).any() for panel in panels)
