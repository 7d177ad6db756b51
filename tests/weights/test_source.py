"""Sources of models: parts and shapes without reading, some keys or all, only what was asked for is read, files that change."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests import random_weights
from webui.errors import ModelFileError
from webui.weights import files, reading
from webui.weights.families import Override
from webui.weights.files import save
from webui.weights.model import load
from webui.weights.source import open_model

checkpoint = cache(random_weights.checkpoint)
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
        assert all(value.is_contiguous() for value in read.values())
        assert held(read) <= 1.01 * sum(map(nbytes, read.values())) + 4096
        built = source.build(part)
        assert all(value.is_meta for value in built.state_dict().values())
        built.load_state_dict(read, assign=True)


def nbytes(value: torch.Tensor) -> int:
    return -(-value.nbytes // 64) * 64  # aligned


def held(read: Mapping[str, torch.Tensor]) -> int:
    """The bytes of all storages behind these tensors."""
    return sum({value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in read.values()}.values())


def test_weights_share_no_memory(path: Path) -> None:
    read = {(part, key): value for part in open_model(path).parts for key, value in open_model(path).read(part)}
    spans = sorted((value.data_ptr(), value.data_ptr() + value.nbytes) for value in read.values())
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("form", [torch.float16, torch.bfloat16, torch.float32, None])
@pytest.mark.parametrize("channels_last", [False, True])
def test_numbers_are_changed_on_the_way_as_torch_changes_them(
    kind: torch.dtype, form: torch.dtype | None, channels_last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "STEP", 1000)  # several steps for each
    save(tmp_path / "m.safetensors", {key: value.to(kind) for key, value in checkpoint("sd15-tiny").items()})
    source = open_model(tmp_path / "m.safetensors")
    plain = dict(source.read("vae"))
    for key, value in source.read("vae", dtype=form, channels_last=channels_last):
        layout = torch.channels_last if channels_last and value.dim() == 4 else torch.contiguous_format
        assert torch.equal(value, plain[key].to(form or kind)) and value.is_contiguous(memory_format=layout)


def test_reading_that_fails_or_is_given_up_leaves_no_file_or_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    save(path, checkpoint("sd15-tiny"))
    monkeypatch.setattr(reading, "ALONE", 0)
    monkeypatch.setattr(reading, "BLOCK", 100_000)
    source = open_model(path)
    begun = source.read("unet")
    next(begun)
    assert_in_use(path, wanted=True)
    begun.close()
    assert_in_use(path, wanted=False)
    os.truncate(path, source.places["unet"]["out.2.bias"].info.begin + 1)
    monkeypatch.setattr(files, "_stamp", lambda file: source.stamps[path])
    with pytest.raises(ModelFileError, match=r"m\.safetensors became shorter while it was read"):
        dict(source.read("unet"))
    assert_in_use(path, wanted=False)


def assert_in_use(path: Path, *, wanted: bool) -> None:
    """Whether the file is open, or threads that read it run; that it is mapped is never wanted."""
    assert any(thread.name.startswith("read-weights") for thread in threading.enumerate()) == wanted
    if sys.platform == "linux":
        assert path.name not in Path("/proc/self/maps").read_text()
        links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
        assert (str(path) in links) == wanted


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


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    read = open_model(path).read("vae")
    next(read)
    os.utime(path, ns=(0, 0))
    with pytest.raises(ModelFileError, match="was changed while it was read"):
        list(read)


def test_what_a_person_says_a_file_is_counts(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", checkpoint("sd21-base-tiny"))
    assert open_model(tmp_path / "m.safetensors").undecided
    source = open_model(tmp_path / "m.safetensors", Override(prediction="v", native_size=640))
    assert (source.spec.prediction, source.spec.native_size, source.undecided) == ("v", 640, False)
