"""Pickled files of every kind: real ones are read, and nothing in any of them ever runs. Attacks are shown to work elsewhere."""

from __future__ import annotations

import collections
import io
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.random_weights import checkpoint
from webui.errors import ModelFileError
from webui.nets.spec import VAESpec
from webui.weights.depth_files import open_estimator
from webui.weights.files import read_header, read_some, read_tensors
from webui.weights.pickles import load_pickle, pickled_tensors
from webui.weights.small_files import read_embedding, read_hypernetwork
from webui.weights.source import open_model, open_vae
from webui.weights.upscaler_files import open_upscaler

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what PyTorch's format before zip archives begins with


def read_vae(path: Path) -> Any:
    return dict(open_vae(path, VAESpec()).read("vae"))


def read_checkpoint(path: Path) -> Any:
    return dict(open_model(path).read("unet"))


READERS: dict[str, Callable[[Path], Any]] = {
    "model.ckpt": read_checkpoint, "model.vae.pt": read_vae, "cat.pt": read_embedding, "anime.hyper.pt": read_hypernetwork,
    "x4.pth": open_upscaler, "midas.pt": open_estimator,
}  # fmt: skip


# --- attacks: opcodes that push one object and, where a plain unpickler reads them, make the folder `marker` ---------------


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def call(marker: str) -> bytes:
    return b"cos\nmkdir\n" + text(marker) + b"\x85R"


ATTACKS: dict[str, Callable[[str], bytes]] = {
    "a call": call,
    "the module's real name": lambda marker: b"cposix\nmkdir\n" + text(marker) + b"\x85R",
    "eval": lambda marker: b"c__builtin__\neval\n" + text(f"__import__('os').mkdir({marker!r})") + b"\x85R",
    "getattr": lambda marker: (
        b"c__builtin__\ngetattr\ncimportlib\nimport_module\n" + text("os") + b"\x85R" + text("mkdir") + b"\x86R" + text(marker)
        + b"\x85R"
    ),
    "a name with dots": lambda marker: b"\x80\x04cpathlib\nos.mkdir\n" + text(marker) + b"\x85R\x80\x02",
    "names from the stack": lambda marker: b"\x80\x04" + text("os") + text("mkdir") + b"\x93" + text(marker) + b"\x85R\x80\x02",
    "instance by name": lambda marker: b"(" + text(marker) + b"ios\nmkdir\n",
    "instance by object": lambda marker: b"(cos\nmkdir\n" + text(marker) + b"o",
    "an argument of an allowed type": lambda marker: b"ccollections\nOrderedDict\n]" + call(marker) + b"a\x85R0N",
    "an allowed type's state": lambda marker: b"ccollections\nOrderedDict\n)R}" + text("a") + call(marker) + b"sb",
    "an inert type's argument": lambda marker: b"cnumpy\ndtype\n" + text("O8") + call(marker) + b"0K\x00K\x01\x87R",
    "an object of numpy": lambda marker: (
        b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n" + text("O8") + b"\x85R" + call(marker) + b"\x86R"
    ),
    "a new object": lambda marker: b"ccollections\nCounter\n" + call(marker) + b"0)\x81",
    "a rebuilding function": lambda marker: (
        b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nmkdir\nctorch\nTensor\n" + text(marker) + b"\x85}tR"
    ),
    "a persistent name": lambda marker: b"(" + text("module") + call(marker) + text("a.py") + text("x = 1") + b"tQ",
}  # fmt: skip


class Plain(pickle.Unpickler):
    """What reads pickles without asking."""

    def persistent_load(self, name: Any) -> Any:
        return name


def document(attack: bytes) -> bytes:
    """A pickled state dictionary that holds an attack."""
    return b"\x80\x02}(" + text("state_dict") + b"}" + text("a") + attack + b"su."


def zipped(path: Path, content: bytes, more: Mapping[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": content, "version": b"3\n", "byteorder": b"little", **(more or {})}.items():
            archive.writestr(f"archive/{name}", data)


def legacy(path: Path, content: bytes) -> None:
    start = b"".join(pickle.dumps(each, 2) for each in (MAGIC, PROTOCOL, {"little_endian": True}))
    path.write_bytes(start + content + pickle.dumps([], 2))


def bare(path: Path, content: bytes) -> None:
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_runs_in_any_kind_of_file(attack: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    content = document(ATTACKS[attack](str(marker)))
    for write in (zipped, legacy, bare):
        for name, read in READERS.items():
            write(tmp_path / name, content)
            with pytest.raises(ModelFileError, match=rf"{name} (was refused: besides weights|is not a weight file|is broken)"):
                read(tmp_path / name)
            assert not marker.exists(), (write.__name__, name)
    try:
        Plain(io.BytesIO(content)).load()
    except (TypeError, AttributeError):
        assert marker.exists()
    assert marker.exists()  # the attack is one that works


@pytest.mark.parametrize("entry", ["constants.pkl", "code/__torch__.py", "data/0", "other.pkl", ".data/data.pkl"])
def test_pickles_elsewhere_in_an_archive_are_not_read(entry: str, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path, evil = tmp_path / "a.pt", b"\x80\x02" + call(str(marker)) + b"."
    zipped(path, pickle.dumps({"state_dict": {"a": 1}}, 2), {entry: evil})
    try:
        loaded = load_pickle(path)
    except ModelFileError:
        assert entry in ("constants.pkl", "code/__torch__.py")  # a program of TorchScript
    else:
        assert loaded == {"state_dict": {"a": 1}}
    assert not marker.exists()


def test_odd_contents_become_plain_ones(tmp_path: Path) -> None:
    around: dict[str, Any] = {"x": 1}
    around["itself"] = around
    deep: Any = None
    for _ in range(200):
        deep = [deep, deep]
    content = {"loop": around, "deep": deep, "kind": torch.float16, "numbers": (1, [2.5]), 768: "width", (1, 2): "", "set": {1}}
    torch.save(content, tmp_path / "a.pt")
    loaded = load_pickle(tmp_path / "a.pt")
    assert loaded["loop"] == {"x": 1, "itself": None} and loaded["kind"] is None and loaded["set"] is None
    assert loaded["numbers"] == [1, [2.5]] and loaded[768] == "width" and (1, 2) not in loaded
    levels = 0
    while loaded["deep"] is not None:
        assert loaded["deep"][1] is None
        loaded["deep"], levels = loaded["deep"][0], levels + 1
    assert 6 < levels < 50


def test_attributes_that_hide_methods_do_no_harm(tmp_path: Path) -> None:
    hidden = b"".join(text(name) + b"ccollections\nOrderedDict\n" for name in ("items", "get"))
    inner = b"ccollections\nOrderedDict\n)R}(" + hidden + b"ub"
    zipped(tmp_path / "a.pt", b"\x80\x02" + inner + text("a") + b"K\x01s.")
    assert load_pickle(tmp_path / "a.pt") == {"a": 1}


def test_a_file_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    zipped(tmp_path / "a.pt", b"\x80\x02cbuiltins\nbytearray\n\x8a\x07" + (1 << 50).to_bytes(7, "little") + b"\x85R.")
    with pytest.raises(ModelFileError, match=r"a\.pt (needs more memory|is broken|is not a weight file)"):
        load_pickle(tmp_path / "a.pt")


# --- real files ----------------------------------------------------------------------------------------------------------


class Callback:
    """Stands for a class of a training program, which is not installed where its checkpoints are read."""

    def __init__(self) -> None:
        self.best = torch.tensor(2.0)


def lightning(monkeypatch: pytest.MonkeyPatch) -> type:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    made = type("ModelCheckpoint", (Callback,), {"__module__": name})
    module = types.ModuleType(name)
    vars(module)["ModelCheckpoint"] = made
    for each in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
        monkeypatch.setitem(sys.modules, each, module)
    return made


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_checkpoint_like_sd_v1_4_is_read(zip_format: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    kind = lightning(monkeypatch)
    state = collections.OrderedDict(checkpoint("sd15-tiny"))
    content = {
        "epoch": 8, "global_step": numpy.int64(470_000), "pytorch-lightning_version": "1.4.2", "state_dict": state, "loops": None,
        "callbacks": {kind: {"monitor": "val/loss", "best_model_score": torch.tensor(0.14), "current": numpy.float32(0.5)}},
        "optimizer_states": [{"state": {0: {"step": 3}}}], "lr_schedulers": [], "more": kind(),
    }  # fmt: skip
    torch.save(content, tmp_path / "sd-v1-4.ckpt", _use_new_zipfile_serialization=zip_format)
    monkeypatch.undo()
    assert "pytorch_lightning" not in sys.modules
    source = open_model(tmp_path / "sd-v1-4.ckpt")
    assert source.spec.family == "sd15"
    assert torch.equal(dict(source.read("unet"))["out.2.bias"], state["model.diffusion_model.out.2.bias"])


def embeddings() -> dict[str, tuple[Any, dict[int, int], str]]:
    """Contents, vectors by text tower, name."""
    vectors = torch.randn(3, 8)
    a1111 = {"string_to_token": {"*": torch.tensor(265)}, "name": "cat", "step": 99, "sd_checkpoint": None}
    return {
        "a1111": (a1111 | {"string_to_param": {"*": vectors}}, {0: 3}, "cat"),
        "parameters": (a1111 | {"string_to_param": torch.nn.ParameterDict({"*": vectors})}, {0: 3}, "cat"),
        "a parameter": (a1111 | {"string_to_param": {"*": torch.nn.Parameter(vectors)}}, {0: 3}, "cat"),
        "diffusers": ({"<cat>": vectors[0]}, {0: 1}, "<cat>"),
        "one tensor": ({"emb_params": vectors}, {0: 3}, ""),
        "two towers": ({"clip_l": vectors, "clip_g": torch.randn(2, 16)}, {0: 3, 1: 2}, ""),
    }


@pytest.mark.parametrize("name", embeddings())
def test_textual_inversions_are_read_however_they_are_written(name: str, tmp_path: Path) -> None:
    content, counts, called = embeddings()[name]
    torch.save(content, tmp_path / "a.pt")
    found = read_embedding(tmp_path / "a.pt")
    assert {tower: len(vectors) for tower, vectors in found.vectors.items()} == counts and found.name == called
    assert not any(vectors.requires_grad for vectors in found.vectors.values())


def test_a_parameter_dictionary_of_old_pytorch_keeps_its_tensors(tmp_path: Path) -> None:
    state = b"}(" + text("_parameters") + b"ccollections\nOrderedDict\n)R" + text("*") + b"ctorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x04tQ"
    rebuilt = state + storage + b"K\x00(K\x02K\x02t(K\x02K\x01t\x89ccollections\nOrderedDict\n)RtRsu"
    table = b"ctorch.nn.modules.container\nParameterDict\n)\x81" + rebuilt + b"b"
    content = b"\x80\x02}" + text("string_to_param") + table + b"s."
    zipped(tmp_path / "a.pt", content, {"data/0": torch.arange(4.0).numpy().tobytes()})
    assert torch.equal(read_embedding(tmp_path / "a.pt").vectors[0], torch.arange(4.0).reshape(2, 2))


ONES = torch.ones(2, 2)


@pytest.mark.parametrize("content", [{}, [1], {"a": ONES, "b": ONES}, {"a": ONES[None]}, {"string_to_param": 3}])
def test_what_is_no_textual_inversion_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ModelFileError, match="no textual inversion"):
        read_embedding(tmp_path / "a.pt")


def layers(width: int) -> dict[str, Tensor]:
    return {"linear.0.weight": torch.ones(2 * width, width), "linear.1.weight": torch.ones(width, 2 * width)}


def test_hypernetworks_are_read_with_their_settings(tmp_path: Path) -> None:
    settings = {"layer_structure": [1, 2, 1], "name": "anime"}
    torch.save({320: (layers(4), layers(4)), 768: [layers(6), layers(6)], **settings}, tmp_path / "a.pt")
    found = read_hypernetwork(tmp_path / "a.pt")
    assert set(found.layers) == {320, 768} and found.settings == settings
    assert found.layers[768][1]["linear.1.weight"].shape == (6, 12)
    cases: list[tuple[Any, str]] = [({"a": 1}, "is a width"), ({768: layers(4)}, "lacks the networks"), ([], "no hypernetwork")]
    for content, said in cases:
        torch.save(content, tmp_path / "a.pt")
        with pytest.raises(ModelFileError, match=said):
            read_hypernetwork(tmp_path / "a.pt")


def test_a_misnamed_pickle_is_read_by_what_it_is(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "a.safetensors")
    assert pickled_tensors(tmp_path / "a.safetensors").keys() == {"a"}


@pytest.mark.parametrize("how", ["archive", "compressed", "legacy"])
def test_parts_of_storages_are_read_from_where_they_lie(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.randn(6, 4)
    tensors = {
        "whole": whole, "turned": whole.T, "cut": whole[1:4, 2:], "row": whole[2], "half": torch.randn(3).half(),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "repeated": torch.ones(1).expand(4), "brain": whole.bfloat16(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }  # fmt: skip
    path = tmp_path / "a.pt"
    torch.save({"state_dict": tensors}, path, _use_new_zipfile_serialization=how != "legacy")
    if how == "compressed":
        with zipfile.ZipFile(path) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
    header = read_header(path)
    direct = {key for key, info in header.tensors.items() if info.stored is not None}
    assert direct == (set(tensors) - {"empty", "repeated"} if how == "archive" else set())
    for keys in (list(tensors), sorted(direct)):
        read = dict(read_tensors(path, keys))
        assert all(torch.equal(tensors[key], value) and not value.requires_grad for key, value in read.items())
        assert all(value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes for value in read.values())
    if how == "archive":  # without unpickling again
        monkeypatch.setattr(torch, "load", None)
        found = dict(read_some(path, {key: header.tensors[key] for key in direct}, header.stamp))
        assert torch.equal(found["cut"], tensors["cut"])
