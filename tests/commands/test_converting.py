"""`models convert` from the shell: where it writes, what it never overwrites, which number type it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.random_weights import checkpoint
from webui.cli import main
from webui.weights.files import read_header, save
from webui.weights.source import open_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "red.safetensors"
    save(path, {key: value.bfloat16() for key, value in checkpoint("sd15-tiny").items()}, {"licence": "free"})
    return path


def test_there_and_back(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, again = tmp_path / "folder", tmp_path / "again.safetensors"
    assert main(["models", "convert", str(model), "--to", "diffusers", "--out", str(folder)], tmp_path) == 0
    assert capsys.readouterr().out == f"Written to {folder}.\n"
    assert main(["models", "convert", str(folder), "--to", "single", "--out", str(again)], tmp_path) == 0
    one, two = read_header(model), read_header(again)
    assert two.metadata["licence"] == "free"
    assert {info.dtype for info in two.tensors.values()} == {"BF16"}  # its own
    part = dict(open_model(again).read("unet"))
    assert all(torch.equal(value, part[key]) for key, value in open_model(model).read("unet"))
    assert two.tensors.keys() <= one.tensors.keys()


def test_it_is_written_beside_the_model_and_never_over_anything_unasked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert = ["models", "convert", str(model), "--to", "single", "--dtype", "fp16"]
    assert main(convert, model.parent) == 0
    beside = model.with_name("red-fp16.safetensors")
    written = beside.read_bytes()
    beside.write_bytes(b"mine")
    assert main(convert, model.parent) == 2 and beside.read_bytes() == b"mine"
    assert "is there already; choose another name with --out, or say --overwrite" in capsys.readouterr().err
    assert main([*convert, "--overwrite"], model.parent) == 0 and beside.read_bytes() == written
    beside.unlink()
    (beside).mkdir()
    assert main([*convert, "--overwrite"], model.parent) == 2 and "is a folder; name a file" in capsys.readouterr().err
    assert main(["models", "convert", str(model)], model.parent) == 2 and "--to" in capsys.readouterr().err
