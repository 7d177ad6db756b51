"""`launch.py plot`: a grid without the page, with what fails in it, and values that are wrong told before anything is drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests import tiny_checkpoint
from webui.cli import main
from webui.service.gallery import read_text

Run = Callable[..., int]
SMALL = ("--steps", "1", "--size", "64x64", "--seed", "5")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors")
    return folder


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    """Runs `plot` with the tiny model into `tmp_path`/out."""

    def call(*arguments: str) -> int:
        return main(["plot", *arguments, "--exact", "--output", str(tmp_path / "out")], root)

    return call


def test_a_plot_is_its_parts_and_a_grid(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a", "ball", *SMALL, "--x-type", "cfg scale", "--x-values", "2,3", "--y-type", "Seed", "--y-values", "7-8") == 0
    *parts, grid = (Path(line) for line in capsys.readouterr().out.splitlines())
    texts = [read_text(path) for path in parts]
    assert [("CFG scale: 2," in text, "Seed: 7," in text) for text in texts] == [
        (True, True), (False, True), (True, False), (False, False),
    ]  # fmt: skip
    assert "Script: X/Y/Z plot, X Type: CFG scale, X Values: \"2,3\", Y Type: Seed, Y Values: 7-8" in read_text(grid)
    with Image.open(grid) as drawn:
        assert drawn.width > 128 and drawn.height > 128


def test_a_cell_that_fails_does_not_keep_the_rest(run: Run, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "models" / "VAE").mkdir(exist_ok=True)
    (root / "models" / "VAE" / "broken.safetensors").write_bytes(b"nothing")
    assert run("x", *SMALL, "--x-type", "VAE", "--x-values", "None, broken.safetensors", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert len(told["pictures"]) == 1 and told["grid"] and "broken" in told["failed"][0]["cell"]


def test_other_scripts_and_texts_from_files(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("a cat\n--prompt 'a dog' --seed 9\n", encoding="utf-8-sig")
    assert run("--script", "prompts_from_file", *SMALL, "--lines", f"@{lines}", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [read_text(Path(each["path"])).split("\n")[0] for each in told["pictures"]] == ["a cat", "a dog"]
    assert [each["seed"] for each in told["pictures"]] == [5, 9] and told["grid"] is None


def test_parts_that_are_not_wanted_go_with_the_grid_there(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a|b", *SMALL, "--script", "prompt_matrix", "--no-parts", "--json") == 0
    assert [str(path) for path in (tmp_path / "out").iterdir()] == [json.loads(capsys.readouterr().out)["grid"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--script", "x"], "Unknown script 'x'"), (["--x-type", "Stpes"], "Unknown axis 'Stpes'; did you mean Steps"),
        (["--x-type", "Steps", "--x-values", "1,a"], "X values, Steps: Steps was 'a'"), (["--stesp", "1"], "--steps"),
        ([], "over nothing yet"),
        (["--x-type", "Sampler", "--x-values", "Eular"], "X values, Sampler, 'Eular': Unknown sampler 'Eular'"),
        (["--script=prompts_from_file", "--lines", "@/nowhere"], "the file '/nowhere' cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence(run: Run, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a ball", *arguments) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.err.count("\n") == 1 and not shown.out
