"""Sources of models: parts and shapes without reading, some keys or all, only what was asked for is read, files that change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.random_weights import checkpoint
from webui.errors import ModelFileError
from webui.weights.families import Override
from webui.weights.files import save
from webui.weights.model import load
from webui.weights.source import open_model

FAMILIES = ["sd15-tiny", "sd21-base-tiny", "sdxl-tiny"]


@pytest.fixture(params=[*FAMILIES, "pickle"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "pickle":
        torch.save({"state_dict": checkpoint("sd21-base-tiny")}, tmp_path / "m.ckpt")
        return tmp_path / "m.ckpt"
    save(tmp_path / "m.safetensors", checkpoint(request.param))
    return tmp_path / "m.safetensors"


def test_parts_are_described_built_and_read_as_they_are_loaded(path: Path) -> None:
    source, model = open_model(path), load(path)
    networks = {"unet": model.unet, "vae": model.vae} | {f"text{at}": tower for at, tower in enumerate(model.text)}
    assert source.parts == tuple(networks) and source.spec == model.spec and len(source.tokenizers) == len(model.text)
    for part, network in networks.items():
        state, read = network.state_dict(), dict(source.read(part))
        assert source.shapes(part) == {key: (tuple(value.shape), read[key].element_size()) for key, value in state.items()}
        assert read.keys() == state.keys() and all(torch.equal(state[key], value.float()) for key, value in read.items())
        assert all(value.untyped_storage().nbytes() == value.nbytes and value.is_contiguous() for value in read.values())
        built = source.build(part)
        assert all(value.is_meta for value in built.state_dict().values())
        built.load_state_dict(read, assign=True)


def test_some_keys_are_read_alone(path: Path) -> None:
    source = open_model(path)
    whole = dict(source.read("text0"))
    some = [key for key in whole if key.endswith(("v_proj.weight", "q_proj.bias"))]
    read = dict(source.read("text0", some))
    assert sorted(read) == sorted(some) and all(torch.equal(whole[key], value) for key, value in read.items())
    assert list(source.read("unet", [])) == []


def test_only_the_bytes_of_the_keys_wanted_are_read(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", checkpoint("sd15-tiny"))
    source = open_model(tmp_path / "m.safetensors")
    place = source.places["unet"]["out.2.bias"]
    content = bytearray(b"?" * (tmp_path / "m.safetensors").stat().st_size)  # all else is gone, the header too
    kept = (tmp_path / "m.safetensors").read_bytes()[place.info.begin : place.info.end]
    content[place.info.begin : place.info.end] = kept
    times = os.stat(tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes(content)
    os.utime(tmp_path / "m.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
    ((key, value),) = source.read("unet", ["out.2.bias"])
    assert key == "out.2.bias" and torch.equal(value, checkpoint("sd15-tiny")["model.diffusion_model.out.2.bias"])


def test_a_file_that_was_changed_since_is_refused(path: Path) -> None:
    source = open_model(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ModelFileError, match=r"m\.\w+ was changed since it was opened"):
        next(source.read("unet"))
    path.unlink()
    with pytest.raises(ModelFileError, match="There is no file"):
        next(source.read("unet"))


def test_what_a_person_says_a_file_is_counts(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", checkpoint("sd21-base-tiny"))
    assert open_model(tmp_path / "m.safetensors").undecided
    source = open_model(tmp_path / "m.safetensors", Override(prediction="v", native_size=640))
    assert (source.spec.prediction, source.spec.native_size, source.undecided) == ("v", 640, False)
