"""`launch.py train`: what it is asked for, and sentences for what it can't do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.builtin.recipe.fitting import new_depth_predictor, spec
from webui.errors import UserError
from webui.nets.autoencoder import AutoencoderKL
from webui.training.command import ROOT, best_device, folder_of, lengths, main, recipe_part
from webui.training.curve import HEIGHT, LINE, draw_curves
from webui.training.state import load_average
from webui.weights.model import load


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


def test_steps_for_a_stage_that_counts_none_are_refused_before_the_work(tmp_path: Path) -> None:
    for name in ("noize", "data"):
        with pytest.raises(
            UserError, match=f"Unknown stage to give --steps for '{name}'.*Known: vae, clip, noise, depth, estimator"
        ):
            main(["--recipe", "builtin", "--folder", str(tmp_path), "--seconds", "0", "--steps", f"{name}=10"])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="--threads was 0"):
        main(["--recipe", "builtin", "--threads", "0"])


def test_what_would_have_no_effect_is_refused_before_the_work(tmp_path: Path) -> None:
    one = ["--recipe", "builtin", "--folder", str(tmp_path), "--seconds", "0", "--stage", "noise"]
    with pytest.raises(UserError, match="--steps was vae=3, but only the stage noise is run"):
        main([*one, "--steps", "vae=3"])
    assert main([*one, "--steps", "noise=3"]) == 3, "nothing is wrong with that"
    for given in (["--stage", "noise"], ["--seconds", "0"], ["--device", "cpu"], ["--steps", "noise=3"]):
        with pytest.raises(UserError, match=f"{given[0]} tells how a model is made.*--evaluate only judges"):
            main(["--evaluate", "builtin", "--folder", str(tmp_path), *given])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "first"),
    [("vae", "data"), ("clip", "data"), ("noise", "data"), ("depth", "noise"), ("estimator", "data"), ("pack", "depth")],
)
def test_a_stage_before_its_time_says_which_comes_first(stage: str, first: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"run the stage {first} first"):
        main(["--recipe", "builtin", "--stage", stage, "--folder", str(tmp_path), "--device", "cpu"])


def test_without_a_folder_it_is_the_programs_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder_of("builtin", None) == ROOT / "models" / "builtin" / "training"
    assert (ROOT / "launch.py").is_file()
    assert folder_of("builtin", Path("mine")) == Path("mine")
    with pytest.raises(UserError, match=r"'bultin'.*builtin"):
        recipe_part("bultin", "stages")


def test_what_ships_becomes_state_only_when_asked_for(tmp_path: Path) -> None:
    stages = recipe_part("builtin", "stages")
    assert set(stages.STAGES) == {"data", *stages.TRAINED, "pack"} and "unpack" not in stages.STAGES
    command = ["--recipe", "builtin", "--stage", "unpack", "--folder", str(tmp_path)]
    assert main(command) == 0
    shipped, vae = load(ROOT / "models" / "builtin" / "model.safetensors"), AutoencoderKL(spec().vae)
    assert load_average(tmp_path / "vae", vae) == 1
    assert all(torch.equal(value, vae.state_dict()[name]) for name, value in shipped.vae.state_dict().items())
    taught = new_depth_predictor(torch.device("cpu"))
    assert load_average(tmp_path / "depth", taught, "weight") == 0
    assert all(torch.equal(value, taught.unet.state_dict()[name]) for name, value in shipped.unet.state_dict().items())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(command) == 0  # what is there already is left alone
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_device_torch_cannot_use_is_a_sentence() -> None:
    assert best_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="can't be used"):
        best_device("cuda:99")
    with pytest.raises(UserError, match="can't be used"):
        best_device("nonsense")


def test_no_time_is_no_work(tmp_path: Path) -> None:
    assert main(["--recipe", "builtin", "--seconds", "0", "--folder", str(tmp_path)]) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_curve_has_a_panel_for_each_value(tmp_path: Path) -> None:
    records = tmp_path / "curve.jsonl"
    records.write_text("".join(json.dumps({"step": n, "loss": 1 / (n + 1), "psnr": n, "steps/s": 4}) + "\n" for n in range(5)))
    draw_curves(records, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as image:
        pixels = np.asarray(image)
    panels = pixels.reshape(2, HEIGHT, *pixels.shape[1:])
    assert all((panel == LINE).all(axis=-1).any() for panel in panels)


def test_a_line_cut_short_or_a_loss_that_is_no_number_does_not_cost_the_training_its_curve(tmp_path: Path) -> None:
    records, picture = tmp_path / "curve.jsonl", tmp_path / "curve.png"
    records.write_text("")
    draw_curves(records, picture)
    assert not picture.exists()
    torn = '{"step": 2, "lo{"step": 3, "loss": 1}'
    lines = ['{"step": 1, "loss": 2}', torn, '{"step": 4, "loss": NaN}', "[1]", '{"step": NaN, "loss": 7}']
    records.write_text("\n".join([*lines, '{"step": 5, "loss": 0.5}']))
    draw_curves(records, picture)
    spoiled = picture.read_bytes()
    records.write_text("\n".join([lines[0], '{"step": 5, "loss": 0.5}']))
    draw_curves(records, picture)
    assert picture.read_bytes() == spoiled
