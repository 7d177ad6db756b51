"""Pictures are made again from their own files, and what is said of how they compare is true."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny_checkpoint
from webui import infotext
from webui.cli import main
from webui.metadata import writing
from webui.service.gallery import read_text
from webui.service.replaying import differences, psnr_of, request_of, verdict
from webui.service.requests import Resolver

Run = Callable[..., int]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors")
    return folder


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs a command with the tiny model into `tmp_path`/out."""

    def call(*arguments: str, output: bool = True) -> int:
        return main([*arguments, "--exact", *(["--output", str(tmp_path / "out")] if output else [])], root)

    return call


def made(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def with_text(path: Path, text: str, pixels: np.ndarray | None = None) -> Path:
    """The picture again with another text, or other pixels."""
    with Image.open(path) as picture:
        own = np.asarray(picture.convert("RGB"))
    target = path.with_name(f"changed{path.suffix}")
    target.write_bytes(writing.write(own if pixels is None else pixels, "PNG", text))
    return target


EVERYTHING = (
    "--sampler", "DPM++ 2S a", "--eta", "0.5", "--rng", "NV", "--ensd", "3", "--variation-seed", "9",
    "--variation-strength", "0.3", "--seed", "7", "--steps", "3", "--size", "64x64",
    "--hires-upscaler", "Latent", "--hires-scale", "1.5", "--hires-steps", "2", "--hires-sampler", "Heun", "--emphasis",
    "No norm", "--tiling", "--rescale", "0.5", "--rho", "5", "--negative", "x, y", "--hires-prompt", "{c|d}",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "AVIF"])
def test_a_picture_with_everything_set_comes_out_the_same(
    run: Run, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saving = ("--format", kind, "--quality", "60", "--name", "[seed] [prompt_words]")
    assert run("txt2img", "{a|a} (red:1.2) [ball|box]", *EVERYTHING, *saving) == 0
    (path,) = made(tmp_path)
    assert path.suffix == writing.SUFFIXES[kind] and path.stem == "00000-7 a red 1 2 ball box"
    values = infotext.parse(read_text(path)).values
    assert values["Computed on"] == "cpu float32" and values["Torch"] and values["Device"].endswith("threads")
    assert re.fullmatch(r"samplers [\d.]+, wildcards [\d.]+", values["Extensions"])
    assert values["Wildcard prompt"] == "{a|a} (red:1.2) [ball|box]" and values["Hires prompt"] in ("c", "d")
    assert ("Pixels" in values) is (kind != "PNG")
    capsys.readouterr()
    assert run("replay", str(path), "--verify", output=False) == 0
    assert capsys.readouterr().out == f"{path}: identical\n"
    assert made(tmp_path) == [path], "nothing is kept"


def test_what_is_made_again_without_a_question_is_kept(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("txt2img", "a", "--count", "2", "--steps", "1", "--size", "64x64") == 0
    first, second = made(tmp_path)
    capsys.readouterr()
    assert run("replay", str(second), str(first)) == 0
    again = [Path(line) for line in capsys.readouterr().out.splitlines()]
    texts = [read_text(path).replace("Shared calls: True, ", "") for path in (*again, second, first)]
    assert len(again) == 2 and texts[:2] == texts[2:]


def test_what_differs_is_told_with_how_far_and_why(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("txt2img", "a", "--steps", "2", "--seed", "1", "--size", "64x64") == 0
    (path,) = made(tmp_path)
    text = read_text(path)
    torch = infotext.parse(text).values["Torch"]
    other = with_text(path, text.replace(f"Torch: {torch}", "Torch: 1.0").replace("Seed: 1,", "Seed: 2,"))
    capsys.readouterr()
    assert run("replay", str(other), "--verify", "--json", output=False) == 3
    (told,) = json.loads(capsys.readouterr().out)["pictures"]
    assert told["identical"] is False and 0 < told["psnr"] < 60 and told["differences"] == [f"Torch was 1.0, is {torch}"]
    assert run("replay", str(other), str(path), "--verify", output=False) == 3
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{other}: differs, PSNR ") and shown[0].endswith(f" dB: Torch was 1.0, is {torch}")
    assert shown[1] == f"{path}: identical"


def test_a_picture_of_a_picture_finds_it_by_its_hash_or_is_told_to_bring_it(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = tmp_path / "start.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(start)
    assert run("img2img", "a", "--steps", "2", "--strength", "0.5", "--picture", str(start)) == 0
    (path,) = made(tmp_path)
    assert run("replay", str(path), "--verify", output=False) == 2
    assert "that it was made of is not here; give its file with --picture." in capsys.readouterr().err
    assert run("replay", str(path), "--verify", "--picture", str(start), output=False) == 0
    assert run("replay", str(path), "--verify", "--picture", str(path), output=False) == 2
    assert "another one than it was made of" in capsys.readouterr().err


def test_a_larger_picture_is_made_again_of_the_one_that_is_given(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("txt2img", "a", "--steps", "1", "--seed", "1", "--size", "64x64") == 0
    (small,) = made(tmp_path)
    assert run("extras", str(small), "--scale-by", "2", "--upscaler", "Nearest") == 0
    large = made(tmp_path)[-1]
    assert run("replay", str(large), "--verify", output=False) == 2 and "give that with --picture" in capsys.readouterr().err
    assert run("replay", str(large), "--verify", "--picture", str(small), output=False) == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no parameters"), ("only a prompt", "It says nothing of how it was made"),
        ("x\nSteps: 1, Sampler: Euler, Seed: 1, Size: 64x64, Model hash: 0123456789, Model: other", "other"),
        ("x\nSteps: 1, Sampler: Wonder, Seed: 1, Size: 64x64", "Unknown sampler 'Wonder'"),
        ("x\nSteps: 1, Sampler: Euler, Seed: 1, Script: X/Y/Z plot", "grid"),
    ],
)
def test_what_cannot_be_made_again_is_a_sentence(
    run: Run, tmp_path: Path, text: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(writing.write(np.zeros((8, 8, 3), np.uint8), "PNG", text))
    assert run("replay", str(path), "--verify", output=False) == 2
    shown = capsys.readouterr().err
    assert sentence in shown and "Traceback" not in shown


def test_the_words_of_a_text_are_those_that_were_drawn_of_and_are_not_drawn_again(root: Path) -> None:
    resolver = Resolver(models_folder=root / "models", cache=root / "cache")
    values = 'Steps: 1, Sampler: Euler, Seed: 1, Size: 64x64, Wildcard prompt: "a {x|y}"'
    request = request_of(f"a {{b|c}}\n{values}", resolver, lambda name, digits: None)
    assert (request.prompt, request.prompts, request.template, request.rng) == ("a {b|c}", (), "a {x|y}", "GPU")


def test_verdicts_say_what_they_should() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0] = 16
    assert psnr_of(a, a) == math.inf and psnr_of(a, b) == pytest.approx(10 * math.log10(255**2 * 48 / 256))
    text = "x\nSteps: 1, Sampler: x, Seed: 1, Computed on: cpu float32, Shared calls: True, Version: v"
    said = differences(text, text.replace("cpu float32", "cuda float16").replace(", Shared calls: True", ""))
    assert said == ["Computed on was cpu float32, is cuda float16",
                    "its network calls were shared with other pictures, which changes rounding"]
    assert verdict(a, b[:2], (text, text), lossless=True).sentence.startswith("of another size: ")
    assert verdict(a, a, (text, text), lossless=True).sentence == "identical"
    assert differences("x\nSteps: 1, Sampler: x, Seed: 1", text) == ["its text does not say what it was computed on"]
