"""Weight files: read as the safetensors library reads them, refused with a sentence when broken, written whole or not at all."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from webui.errors import ModelFileError, StorageError
from webui.weights.files import read_header, read_tensors, save

SOME = {
    "half": torch.arange(6, dtype=torch.float16).reshape(2, 3),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "single": torch.randn(3, 2, 2),
    "brain": torch.randn(4).bfloat16(),
    "eight": torch.randn(4).to(torch.float8_e4m3fn),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "count": torch.tensor([7]),
    "flags": torch.tensor([True, False]),
}


def same(one: Tensor, two: Tensor) -> bool:
    return one.dtype == two.dtype and one.shape == two.shape and torch.equal(one.float(), two.float())


def test_what_is_saved_is_read_back_and_by_the_library_too(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, SOME, {"note": "ünïcode"})
    assert all(same(SOME[key], value) for key, value in read_tensors(path))
    library = safetensors.torch.load_file(path)
    assert library.keys() == SOME.keys() and all(same(SOME[key], value) for key, value in library.items())
    with safetensors.safe_open(path, "pt") as opened:
        assert opened.metadata() == {"note": "ünïcode"}
    header = read_header(path)
    assert header.metadata == {"note": "ünïcode"}
    assert {key: info.shape for key, info in header.tensors.items()} == {key: tuple(value.shape) for key, value in SOME.items()}
    assert all(info.begin % SOME[key].element_size() == 0 for key, info in header.tensors.items())


def test_what_the_library_saves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(SOME, path, {"a": "b"})
    assert all(same(SOME[key], value) for key, value in read_tensors(path))
    assert len(dict(read_tensors(path, ["half", "single"]))) == 2


def test_views_are_saved_as_they_look(tmp_path: Path) -> None:
    whole = torch.randn(4, 6)
    save(tmp_path / "a", {"turned": whole.T, "cut": whole[:, 1:3], "gradient": torch.nn.Parameter(whole)})
    found = dict(read_tensors(tmp_path / "a"))
    assert torch.equal(found["turned"], whole.T) and torch.equal(found["cut"], whole[:, 1:3])


def test_tensors_own_their_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, SOME)
    before = dict(read_tensors(path))
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert all(same(SOME[key], value) for key, value in before.items())


@pytest.mark.parametrize("legacy", [False, True])
def test_pytorch_checkpoints_are_read(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "misnamed.safetensors"
    state = {"a.weight": torch.randn(2, 3), "b": torch.ones(4).half()}
    torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=not legacy)
    assert {key: info.shape for key, info in read_header(path).tensors.items()} == {"a.weight": (2, 3), "b": (4,)}
    assert all(torch.equal(state[key], value) for key, value in read_tensors(path))


def test_harmless_objects_of_training_programs_do_not_matter(tmp_path: Path) -> None:
    import numpy

    class ModelCheckpoint:
        def __init__(self) -> None:
            self.best = numpy.float64(0.5)

    ModelCheckpoint.__module__ = "pytorch_lightning.callbacks.model_checkpoint"
    ModelCheckpoint.__qualname__ = "ModelCheckpoint"
    module = type(sys)("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = ModelCheckpoint  # type: ignore[attr-defined]
    names = ["pytorch_lightning", "pytorch_lightning.callbacks", module.__name__]
    path = tmp_path / "a.ckpt"
    try:
        sys.modules |= dict.fromkeys(names, module)
        table = torch.nn.ParameterDict({"x": torch.zeros(2)})
        content = {"state_dict": {"a": torch.ones(2)}, "callbacks": {ModelCheckpoint: {"best": numpy.float64(2)}}, "more": table}
        torch.save(content | {"object": ModelCheckpoint()}, path)
    finally:
        for name in names:
            del sys.modules[name]
    assert torch.equal(dict(read_tensors(path))["a"], torch.ones(2))


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


class Disguised(collections.OrderedDict[str, Any]):
    marker: Path

    def __reduce__(self) -> tuple[Any, ...]:
        return collections.OrderedDict, ([("a", Payload(self.marker))],)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("hidden", [True, False])
def test_code_in_a_pickle_is_refused_and_never_runs(tmp_path: Path, zipped: bool, hidden: bool) -> None:
    marker = tmp_path / "ran"
    disguised = Disguised()
    disguised.marker = marker
    content = {"state_dict": {"a": torch.ones(2)}, "x": disguised if hidden else Payload(marker)}
    path = tmp_path / "a.ckpt"
    if zipped:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"x": content["x"]}, protocol=2))
    for read in (read_header, lambda path: dict(read_tensors(path))):
        with pytest.raises(ModelFileError, match=r"a\.ckpt (was refused: .*mkdir.* could run code|is not a weight file)"):
            read(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(content["x"]))
    assert marker.exists()  # the payload is one that works


@dataclasses.dataclass(frozen=True)
class Good:
    """The bytes of a file with nothing wrong, to be broken."""

    whole: bytes

    @property
    def length(self) -> int:
        return int.from_bytes(self.whole[:8], "little")

    def entry(self, name: str, **changes: Any) -> bytes:
        """The file with an entry of its header changed; one that loses a field has it as None."""
        header = json.loads(self.whole[8 : 8 + self.length])
        entry = {**header.get(name, {}), **changes}
        return self.headed({**header, name: {key: value for key, value in entry.items() if value is not None}})

    def metadata(self, value: Any) -> bytes:
        return self.headed({**json.loads(self.whole[8 : 8 + self.length]), "__metadata__": value})

    def headed(self, header: Any) -> bytes:
        return self.raw(json.dumps(header).encode())

    def raw(self, text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + self.whole[8 + self.length :]


BROKEN: list[tuple[str, Callable[[Good], bytes]]] = [
    ("is empty", lambda good: b""),
    ("is not a weight file: it is neither", lambda good: b"just some text renamed"),
    ("header would have 1099511627776 bytes", lambda good: (1 << 40).to_bytes(8, "little") + good.whole[8:]),
    ("is cut short: it has .* Download", lambda good: good.whole[:-3]),
    ("its header needs", lambda good: good.whole[: good.length // 2]),
    ("header cannot be read", lambda good: good.raw(b"{" + b"?" * 20)),
    ("header cannot be read", lambda good: good.raw(b'{"a":' * 100_000)),
    ("entry for 'single' makes no sense", lambda good: good.entry("single", shape=[3, 2, 3])),
    ("entry for 'half' makes no sense", lambda good: good.entry("half", shape=None, data_offsets=None)),
    ("entry for 'brain' makes no sense", lambda good: good.entry("brain", data_offsets=[8, -8])),
    ("entry for 'eight' makes no sense", lambda good: good.entry("eight", shape=[2**61] * 40_000)),
    ("entry for 'bytes' makes no sense", lambda good: good.entry("bytes", shape=[10**4200], data_offsets=[0, 10**4200])),
    ("entry for 'count' makes no sense", lambda good: good.entry("count", data_offsets="ab")),
    ("entry for 'flags' makes no sense", lambda good: good.entry("flags", dtype=["F16"])),
    ("entry for 'bytes' makes no sense", lambda good: good.headed({"bytes": [[]]})),
    ("dtype 'F3'", lambda good: good.entry("half", dtype="F3")),
    ("metadata is not a table", lambda good: good.metadata([1])),
    ("is broken or cut short: PyTorch", lambda good: b"PK\x03\x04" + b"\0" * 100),
    ("PyTorch cannot read it", lambda good: b"\x80\x02}q\x00(X\x01\x00"),
]


@pytest.mark.parametrize(("message", "damaged"), BROKEN)
def test_broken_files_are_named_with_a_reason_and_at_once(tmp_path: Path, message: str, damaged: Callable[[Good], bytes]) -> None:
    path = tmp_path / "a.safetensors"
    save(path, SOME)
    path.write_bytes(damaged(Good(path.read_bytes())))
    began = time.process_time()
    with pytest.raises(ModelFileError, match=message):
        read_header(path)
    with pytest.raises(ModelFileError, match=message):
        dict(read_tensors(path))
    assert time.process_time() - began < 5


def test_numbers_in_the_metadata_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, SOME)
    path.write_bytes(Good(path.read_bytes()).metadata({"epoch": 3, "none": None}))
    assert read_header(path).metadata == {"epoch": "3", "none": "None"}


def test_missing_files_folders_and_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no file"):
        read_header(tmp_path / "nothing")
    with pytest.raises(ModelFileError, match="folder"):
        read_header(tmp_path)
    (tmp_path / "device").symlink_to(os.devnull)
    with pytest.raises(ModelFileError, match="no ordinary file"):
        read_header(tmp_path / "device")
    save(tmp_path / "a", SOME)
    with pytest.raises(ModelFileError, match="lacks 1 of the 2 weights wanted, among them other"):
        dict(read_tensors(tmp_path / "a", ["half", "other"]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["F16", 10**300, 4, [0, 4]]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["shape", "dtype", "data_offsets", "__metadata__", "a"]), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["__metadata__", "a", "b"]), JSON, max_size=3))
def test_any_json_as_a_header_is_read_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("headed") / "a"
    path.write_bytes(Good(b"\0" * 16).headed(header))
    try:
        read_header(path)
    except ModelFileError as error:
        assert str(error).endswith(".")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    save(folder / "a", {"x": torch.arange(4.0), "y": torch.ones(2, 2)}, {"k": "v"})
    content = bytearray((folder / "a").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a").write_bytes(content)
    try:
        dict(read_tensors(folder / "a"))
    except ModelFileError as error:
        assert str(error).endswith(".")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save(path, {"x": torch.ones(2)})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        save(path, {"x": torch.zeros(2)})
    assert torch.equal(dict(read_tensors(path))["x"], torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save(tmp_path / "file" / "a.safetensors", SOME)


def test_a_header_is_read_without_torch_and_quickly(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(path, {f"block.{index}.weight": torch.zeros(1) for index in range(3000)})
    begun = time.process_time()
    assert len(read_header(path).tensors) == 3000
    assert time.process_time() - begun < 1  # measured 0.02 s
    program = "import sys, pathlib, webui.weights.files as f; f.read_header(pathlib.Path(sys.argv[1])); assert 'torch' not in "
    program += "sys.modules"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, cwd=Path(__file__).parents[2])


def test_a_header_whose_length_reads_like_the_beginning_of_a_zip_file_is_a_header(tmp_path: Path) -> None:
    weights = {"w": torch.arange(4.0)}
    safetensors.torch.save_file(weights, tmp_path / "plain.safetensors")
    content = (tmp_path / "plain.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    for start in (b"PK\x01", b"\x80\x02\x01"):
        length = int.from_bytes(start, "little")
        path = tmp_path / "padded.safetensors"
        path.write_bytes(length.to_bytes(8, "little") + content[8 : 8 + size].ljust(length) + content[8 + size :])
        assert path.read_bytes().startswith(start) and set(read_header(path).tensors) == {"w"}
