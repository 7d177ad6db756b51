"""Pictures drawn twice, and such whose edges fit, on the command line: every flag is there, and what is wrong is a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests import tiny_checkpoint
from webui.cli import main
from webui.infotext import parse
from webui.service.gallery import read_text

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs txt2img with the tiny model into `tmp_path`/out."""
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")

    def call(*arguments: str) -> int:
        plain = ["txt2img", "a", "b", "--seed", "1", "--steps", "2", "--exact", "--output", str(tmp_path / "out")]
        return main([*plain, *arguments], tmp_path)

    return call


def test_flags_reach_the_picture_and_its_text(run: Run, tmp_path: Path) -> None:
    own = ["--hires-upscaler", "latent (bicubic)", "--hires-width", "96", "--hires-steps", "3", "--hires-strength", "0.5"]
    assert run(*own, "--hires-prompt", "larger", "--hires-cfg", "2", "--hires-sampler", "Euler a", "--tiling") == 0
    (path,) = (tmp_path / "out").glob("*.png")
    with Image.open(path) as picture:
        assert picture.size == (96, 96)
    expected = {
        "Size": "64x64", "Hires upscaler": "Latent (bicubic)", "Hires resize": "96x0", "Hires steps": "3",
        "Denoising strength": "0.5", "Hires prompt": "larger", "Hires CFG Scale": "2", "Hires sampler": "Euler a",
        "Tiling": "True",
    }  # fmt: skip
    assert parse(read_text(path)).values.items() >= expected.items()


def test_what_is_wrong_is_told_before_anything_is_loaded(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--hires-upscaler", "Latend") == 2
    assert "Unknown upscaler 'Latend'; did you mean Latent" in capsys.readouterr().err
    assert run("--hires-upscaler", "Latent", "--hires-scale", "5") == 2
    assert "must be a number from 1 to 4" in capsys.readouterr().err
