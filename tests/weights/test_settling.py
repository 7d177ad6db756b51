"""Plain Stable Diffusion 2 files: the network is asked once what it predicts, and its size follows from the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.random_weights import checkpoint
from webui.errors import ModelFileError
from webui.weights import model
from webui.weights.families import Override, detect
from webui.weights.files import read_header, save
from webui.weights.settling import remembered_spec, settled

UNET = "model.diffusion_model."


@cache
def weights() -> Mapping[str, Tensor]:
    return checkpoint("sd21-v-tiny")


def write(path: Path, bias: float) -> Path:
    """A small Stable Diffusion 2 file whose noise predictor always answers `bias`."""
    last = {"out.2.weight": torch.zeros_like(weights()[UNET + "out.2.weight"]), "out.2.bias": torch.full((4,), bias)}
    save(path, {**weights(), **{UNET + key: value for key, value in last.items()}})
    return path


@pytest.mark.parametrize(("bias", "family", "prediction", "size"), [(0.5, "sd21-base", "eps", 512), (-3.0, "sd21-v", "v", 768)])
def test_the_network_is_asked_once(
    bias: float, family: str, prediction: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = write(tmp_path / "a.safetensors", bias), tmp_path / "cache" / "predictions.json"
    header = read_header(path)
    spec = detect(header)
    assert remembered_spec(header, spec, "0" * 64, memory) is None
    found = settled(path, header, spec, "0" * 64, memory)
    assert (found.family, found.prediction, found.native_size) == (family, prediction, size)
    assert found == model.load(path).spec
    monkeypatch.setattr(model, "asked_prediction", None)  # a second question would fail
    assert settled(path, header, spec, "0" * 64, memory) == remembered_spec(header, spec, "0" * 64, memory) == found
    assert json.loads(memory.read_text()) == {"0" * 64: prediction}


def test_another_file_or_a_damaged_memory_is_asked_again(tmp_path: Path) -> None:
    path, memory = write(tmp_path / "a.safetensors", -3.0), tmp_path / "predictions.json"
    header = read_header(path)
    spec = detect(header)
    for damage in ("{", "[]", json.dumps({"0" * 64: "x0", "1" * 64: "eps"})):
        memory.write_text(damage)
        assert remembered_spec(header, spec, "0" * 64, memory) is None
        assert settled(path, header, spec, "0" * 64, memory).native_size == 768
    assert settled(path, header, spec, "", None).native_size == 768  # without a hash nothing can be remembered, but asked


def test_what_the_header_says_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.safetensors", -3.0)
    save(path, {**dict(weights()), "v_pred": torch.zeros(0)})
    header = read_header(path)
    monkeypatch.setattr(model, "asked_prediction", None)
    assert settled(path, header, detect(header), "", None) == detect(header)


def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, {key: value for key, value in weights().items() if key != UNET + "out.0.bias"})
    header = read_header(path)
    with pytest.raises(ModelFileError, match=r"a\.safetensors: The noise predictor lacks 1"):
        settled(path, header, detect(header), "", None)


def test_what_a_person_says_of_the_rest_still_holds(tmp_path: Path) -> None:
    path, said = write(tmp_path / "a.safetensors", -3.0), Override(native_size=512, zero_terminal_snr=True)
    header = read_header(path)
    for _ in range(2):  # asked, then remembered
        found = settled(path, header, detect(header, said), "0" * 64, tmp_path / "predictions.json", said)
        assert (found.prediction, found.native_size, found.zero_terminal_snr) == ("v", 512, True)
    told = Override(prediction="eps")
    assert settled(path, header, detect(header, told), "1" * 64, None, told).prediction == "eps"
