"""Upscalers' files: every way of naming one network gives the same weights; what is none, or broken, is told in a sentence."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.networks_beside import OTHER_UPSCALERS, Shapes, bsrgan, compact, esrgan, real_esrgan
from webui.errors import ModelFileError
from webui.nets.upscaler import upscaler
from webui.nets.upscaler_spec import CompactSpec, RRDBSpec, UpscalerSpec
from webui.weights.files import save
from webui.weights.upscaler_files import open_upscaler
from webui.weights.upscaler_layouts import upscaler_weights

SPEC = RRDBSpec(features=8, growth=4, blocks=2)
SPECS: tuple[UpscalerSpec, ...] = (
    SPEC, RRDBSpec(features=8, growth=4, blocks=1, doublings=0), RRDBSpec(features=8, growth=6, blocks=11, doublings=1),
    RRDBSpec(features=8, growth=4, blocks=1, doublings=3), RRDBSpec(features=8, growth=4, blocks=3, plus=True),
    RRDBSpec(features=8, growth=4, blocks=1, unshuffle=2), RRDBSpec(features=8, growth=4, blocks=1, unshuffle=4),
    CompactSpec(features=8, convolutions=4), CompactSpec(features=4, convolutions=1, scale=1),
)  # fmt: skip
WAYS: dict[str, Callable[[RRDBSpec], Shapes]] = {"first": esrgan, "second": bsrgan, "ours": real_esrgan}


def filled(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights whose values follow from their place among the others, so that a wrong one is seen."""
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def published(spec: UpscalerSpec) -> Shapes:
    return real_esrgan(spec) if isinstance(spec, RRDBSpec) else compact(spec)


@pytest.mark.parametrize("spec", SPECS)
def test_the_table_of_weights_is_the_networks_own(spec: UpscalerSpec) -> None:
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in upscaler(spec).state_dict().items()}
    assert dict(upscaler_weights(spec)) == own == published(spec)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("spec", [spec for spec in SPECS if isinstance(spec, RRDBSpec)])
def test_every_way_of_naming_one_network_gives_the_same_weights(way: str, spec: RRDBSpec, tmp_path: Path) -> None:
    tensors = filled(WAYS[way](spec))
    save(tmp_path / "a.safetensors", tensors)
    source = open_upscaler(tmp_path / "a.safetensors")
    assert source.spec == spec and source.scale == spec.scale and source.parts == ("upscaler",)
    read = dict(source.read("upscaler"))
    # The names were written in the same order, network by network, so the weights stand in the same order too.
    assert all(torch.equal(read[key], value) for key, value in zip(real_esrgan(spec), tensors.values(), strict=True))
    source.build("upscaler").load_state_dict(read, strict=True, assign=True)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("around", ["params_ema.", "params.", "state_dict.", "module."])
def test_what_stands_around_a_network_is_seen_through(spec: UpscalerSpec, around: str, tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", {around + key: value for key, value in filled(published(spec)).items()})
    assert open_upscaler(tmp_path / "a.safetensors").spec == spec


@pytest.mark.parametrize("around", [None, "params", "params_ema", "state_dict"])
def test_pickles_are_read_averages_first(around: str | None, tmp_path: Path) -> None:
    plain: dict[str, Any] = dict(filled(published(SPEC)))
    content = plain if around is None else {around: plain, "iter": 3}
    if around == "params_ema":
        content["params"] = {key: torch.zeros_like(value) for key, value in plain.items()}
    torch.save(content, tmp_path / "a.pth")
    source = open_upscaler(tmp_path / "a.pth")
    read = dict(source.read("upscaler", dtype=torch.float32))
    assert source.spec == SPEC and all(torch.equal(read[key], value) for key, value in plain.items())


def test_averages_in_safetensors_come_first_too(tmp_path: Path) -> None:
    tensors = filled(published(SPEC))
    both = {f"params.{key}": torch.zeros_like(value) for key, value in tensors.items()}
    save(tmp_path / "a.safetensors", both | {f"params_ema.{key}": value for key, value in tensors.items()})
    read = dict(open_upscaler(tmp_path / "a.safetensors").read("upscaler"))
    assert all(torch.equal(read[key], value) for key, value in tensors.items())


@pytest.mark.parametrize("name", OTHER_UPSCALERS)
def test_another_kind_of_upscaler_is_named(name: str, tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", filled(OTHER_UPSCALERS[name]))
    with pytest.raises(ModelFileError, match=rf"^a\.safetensors: It is an upscaler of another kind \({name}\).*extension"):
        open_upscaler(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"conv_hr.bias": None}, "lacks 1 of .* conv_hr.bias"),
        ({"body.1.rdb2.conv3.weight": None}, "lacks 1 of .*rdb2.conv3"),
        ({"conv_up2.weight": None}, "weights that a model of its kind does not have: conv_up2.bias"),
        ({"body.0.rdb1.conv1.weight": None}, "shapes that no upscaler has"),
        ({"conv_last.weight": None}, "shapes that no upscaler has"),
        ({"conv_hr.weight": (8, 8, 1, 1)}, r"conv_hr.weight of the upscaler has the shape \[8, 8, 1, 1\]"),
        ({"conv_first.weight": (8, 1, 3, 3)}, "for pictures of 1 channels"),
        ({"conv_first.weight": (8, 27, 3, 3)}, "shapes that no upscaler has"),
        ({"conv_first.weight": (8,)}, "shapes that no upscaler has"),
        ({"conv_last.weight": (1, 8, 3, 3)}, "for pictures of 1 channels"),
        ({"body.0.rdb1.conv1.weight": (0, 8, 3, 3)}, "shapes that no upscaler has"),
        ({"extra.weight": (1,)}, "does not have: extra.weight"),
        ({"conv_first.weight": None}, "no upscaler of a kind that is built in"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, tuple[int, ...] | None], said: str, tmp_path: Path) -> None:
    shapes = {key: shape for key, shape in {**published(SPEC), **change}.items() if shape is not None}
    save(tmp_path / "a.safetensors", filled(shapes))
    with pytest.raises(ModelFileError, match=said) as raised:
        open_upscaler(tmp_path / "a.safetensors")
    assert str(raised.value).startswith("a.safetensors: ") and str(raised.value).endswith(".")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"body.1.weight": None}, "activations have no weights"),
        ({"body.10.weight": (47, 8, 3, 3)}, "shapes that no upscaler has"),
        ({"body.10.weight": None, "body.10.bias": None}, "shapes that no upscaler has|does not have"),
        ({"body.0.weight": (8, 4, 3, 3)}, "for pictures of 4 channels"),
    ],
)
def test_what_is_wrong_with_a_small_one_is_said(change: dict[str, tuple[int, ...] | None], said: str, tmp_path: Path) -> None:
    spec = CompactSpec(features=8, convolutions=4)
    shapes = {key: shape for key, shape in {**published(spec), **change}.items() if shape is not None}
    save(tmp_path / "a.safetensors", filled(shapes))
    with pytest.raises(ModelFileError, match=said):
        open_upscaler(tmp_path / "a.safetensors")


def test_a_first_release_that_was_cut_is_told(tmp_path: Path) -> None:
    shapes = {key: shape for key, shape in esrgan(SPEC).items() if key.startswith(("model.0.", "model.1.sub.0"))}
    save(tmp_path / "a.safetensors", filled(shapes))
    with pytest.raises(ModelFileError, match="last layers are missing"):
        open_upscaler(tmp_path / "a.safetensors")


class Attack:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-run",)


@pytest.mark.parametrize("place", ["params", "params_ema", "beside"])
def test_code_in_a_pickle_is_refused_and_not_run(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content: dict[str, Any] = {"params": dict(filled(published(SPEC)))}
    content[place] = Attack() if place == "beside" else {**content["params"], "conv_first.weight": Attack()}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ModelFileError, match=r"was refused.*could run code"):
        open_upscaler(tmp_path / "a.pth")
    assert not (tmp_path / "was-run").exists()


@settings(max_examples=25, deadline=None)
@given(data=st.data(), pickled=st.booleans())
def test_a_cut_file_is_told_or_read_whole(data: st.DataObject, pickled: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.pth"
    tensors = filled(published(CompactSpec(features=4, convolutions=1, scale=1)))
    torch.save({"params": tensors}, path) if pickled else save(path, tensors)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ModelFileError) as raised:
        list(open_upscaler(path).read("upscaler"))
    assert "a.pth" in str(raised.value)


def test_a_file_that_was_changed_since_is_not_mixed(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", filled(published(SPEC)))
    source = open_upscaler(tmp_path / "a.safetensors")
    save(tmp_path / "a.safetensors", filled(real_esrgan(RRDBSpec(features=8, growth=4, blocks=3))))
    with pytest.raises(ModelFileError, match="was changed since it was opened"):
        list(source.read("upscaler"))
