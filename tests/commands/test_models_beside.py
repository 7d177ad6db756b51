"""`models` knows upscalers and depth estimators: listed, told, verified, and what is wrong with one is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.networks_beside import OTHER_UPSCALERS, real_esrgan
from webui.cli import main
from webui.nets.depth_small import DEPTH_KEY, SmallDepth, SmallDepthSpec
from webui.nets.upscaler_spec import RRDBSpec
from webui.weights.files import save

SPEC, SMALL = RRDBSpec(features=8, growth=4, blocks=2), SmallDepthSpec(widths=(4, 8), groups=2, side=16)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    upscalers, depth = tmp_path / "models" / "upscalers", tmp_path / "models" / "depth"
    upscalers.mkdir(parents=True)
    depth.mkdir()
    weights = {key: torch.zeros(shape) for key, shape in real_esrgan(SPEC).items()}
    torch.save({"params_ema": weights}, upscalers / "x4.pth")
    torch.save({"params_ema": {key: value for key, value in weights.items() if key != "conv_hr.bias"}}, upscalers / "cut.pth")
    save(upscalers / "swin.safetensors", {key: torch.zeros(shape) for key, shape in OTHER_UPSCALERS["SwinIR"].items()})
    save(depth / "near.safetensors", SmallDepth(SMALL).state_dict(), {DEPTH_KEY: json.dumps(SMALL.to_json())})

    def call(*arguments: str) -> tuple[int, str]:
        code = main(["models", *arguments], tmp_path)
        said = capsys.readouterr()
        return code, said.out + said.err

    return call


def test_each_is_listed_with_what_it_is(run: Run) -> None:
    code, said = run()
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert code == 0 and "an upscaler, 4x (RRDBNet, 2 blocks of 8 channels)" in lines["x4"]
    assert "cannot be used: the upscaler lacks 1 of " in lines["cut"] and "conv_hr.bias" in lines["cut"]
    assert "SwinIR" in lines["swin"] and "a depth estimator (small" in lines["near"]


@pytest.mark.parametrize("name", ["x4", "models/upscalers/x4.pth"])
def test_one_is_told_and_verified(name: str, run: Run, tmp_path: Path) -> None:
    if "/" in name:
        name = str(tmp_path / name)
    code, said = run("info", name)
    assert code == 0 and "an upscaler, 4x" in said and "Put it into models/upscalers" in said and "SHA-256" in said
    code, said = run("verify", name)
    assert code == 0 and "an upscaler, 4x" in said


def test_what_is_wrong_with_one_is_said(run: Run) -> None:
    for action in ("info", "verify"):
        code, said = run(action, "cut")
        assert code != 0 and "conv_hr.bias" in said


def test_a_folder_of_transformers_can_be_named(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "dpt"}))
    save(folder / "model.safetensors", {"neck.convs.0.weight": torch.zeros(256, 96, 3, 3)})
    code, said = run("info", str(folder))
    assert code != 0 and "the depth estimator lacks" in said
