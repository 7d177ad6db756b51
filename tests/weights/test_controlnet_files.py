"""Files with ControlNets: every layout loads to the same bits, families are told by the header, and others are refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.nets.controlling import CONTROLS, PREFIX, as_diffusers, control_weights, spec_of
from tests.nets.families import SD1
from webui.errors import ModelFileError
from webui.nets.controlnet import ControlNet
from webui.nets.controlnet_spec import HINT_WIDTHS, ControlSpec
from webui.weights import controlnet_layouts, kind_details, kinds
from webui.weights.controlnet_files import open_controlnet
from webui.weights.families import FAMILIES
from webui.weights.files import Header, TensorInfo, read_header, save

WHOLE = {"model.diffusion_model.out.0.weight": torch.ones(4), "first_stage_model.quant_conv.bias": torch.ones(8)}
Write = Callable[[Path, Mapping[str, Tensor]], object]


def pickled(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A file as the first release was published."""
    torch.save({"state_dict": dict(tensors)}, path)


def in_layout(name: str, spec: ControlSpec) -> dict[str, Tensor]:
    """A ControlNet's weights as they are published."""
    weights = control_weights(spec)
    if name == "diffusers":
        return as_diffusers(spec, weights)
    prefixed = {PREFIX + key: value for key, value in weights.items()}
    return {"bare": weights, "with a prefix": prefixed, "beside a checkpoint": prefixed | WHOLE}[name]


@pytest.mark.parametrize("write", [save, pickled], ids=["safetensors", "pickle"])
@pytest.mark.parametrize("layout", ["bare", "with a prefix", "beside a checkpoint", "diffusers"])
def test_every_layout_loads_to_the_same_bits(layout: str, write: Write, tmp_path: Path) -> None:
    spec = spec_of(SD1)
    write(tmp_path / "it.safetensors", in_layout(layout, spec))
    source = open_controlnet(tmp_path / "it.safetensors")
    assert source.spec == spec and source.parts == ("controlnet",)
    assert_same_weights(dict(source.read("controlnet")), control_weights(spec))
    network = source.build("controlnet")
    network.load_state_dict(dict(source.read("controlnet")), assign=True)
    assert isinstance(network, ControlNet)


@pytest.mark.parametrize("name", CONTROLS)
def test_diffusers_files_of_every_family_load_to_the_same_bits(name: str, tmp_path: Path) -> None:
    spec = spec_of(CONTROLS[name])
    save(tmp_path / "it.safetensors", in_layout("diffusers", spec))
    source = open_controlnet(tmp_path / "it.safetensors")
    # What they were made for is as wide as the tiny model's text, but for one that never looks at it.
    small = not spec.unet.middle_depth
    context = controlnet_layouts.WITHOUT_TEXT if small else spec.unet.context_width
    assert source.spec == dataclasses.replace(spec, unet=dataclasses.replace(spec.unet, context_width=context))
    assert_same_weights(dict(source.read("controlnet")), control_weights(spec))


def assert_same_weights(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@pytest.mark.parametrize(
    ("family", "words"),
    [("sd15", "Stable Diffusion 1"), ("sd21-base", "Stable Diffusion 2"), ("sdxl-base", "Stable Diffusion XL")],
)
def test_published_sizes_are_told_by_their_header(family: str, words: str) -> None:
    spec = ControlSpec(unet=FAMILIES[family].unet, hint_widths=HINT_WIDTHS)
    header = header_of(dict(controlnet_layouts.control_weights(spec)))
    assert controlnet_layouts.described(header, Path()).spec == spec
    assert kind_details.details(kinds.CONTROLNET, header) == (f"a ControlNet for {words}", ())


@pytest.mark.parametrize("name", CONTROLS)
def test_the_table_of_weights_is_the_networks_own(name: str) -> None:
    spec = spec_of(CONTROLS[name])
    with torch.device("meta"):
        own = {key: tuple(value.shape) for key, value in ControlNet(spec).state_dict().items()}
    assert dict(controlnet_layouts.control_weights(spec)) == own


def test_what_is_missing_or_misshapen_is_named(tmp_path: Path) -> None:
    weights = control_weights(spec_of(SD1))
    path = tmp_path / "it.safetensors"
    save(path, {key: value for key, value in weights.items() if key != "zero_convs.3.0.bias"})
    with pytest.raises(ModelFileError, match=r"^it\.safetensors: The ControlNet lacks 1 of \d+ weights: zero_convs\.3\.0\.bias"):
        open_controlnet(path)
    save(path, weights | {"zero_convs.3.0.bias": torch.ones(5)})
    with pytest.raises(ModelFileError, match=r"zero_convs\.3\.0\.bias of the ControlNet has the shape \[5\]"):
        open_controlnet(path)
    save(path, weights | {"odd.weight": torch.ones(5)})
    with pytest.raises(ModelFileError, match="1 weights that a model of its kind does not have: odd"):
        open_controlnet(path)
    save(path, {key: value for key, value in weights.items() if not key.startswith("input_hint_block.4.")})
    with pytest.raises(ModelFileError, match=r"incomplete: input_hint_block\.4\.weight"):
        open_controlnet(path)
    assert kind_details.details(kinds.CONTROLNET, read_header(path))[1] != ()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"task_embedding": (6, 32)}, "union of several"),
        ({"lora_controlnet": (1,)}, "Control-LoRA"),
        ({"difference": (1,)}, "difference between"),
        ({"controlnet_blocks.0.weight": (8, 8)}, "not built in"),
    ],
)
def test_others_are_refused_by_what_they_are(keys: Mapping[str, tuple[int, ...]], words: str) -> None:
    header = header_of(dict(controlnet_layouts.control_weights(spec_of(SD1))) | dict(keys))
    with pytest.raises(ModelFileError, match=words):
        controlnet_layouts.described(header, Path())


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "it.safetensors", {"lora_unet_mid.lora_up.weight": torch.ones(2, 2)})
    with pytest.raises(ModelFileError, match="no ControlNet"):
        open_controlnet(tmp_path / "it.safetensors")


def test_a_checkpoint_is_told_where_a_controlnet_belongs() -> None:
    header = header_of(dict(controlnet_layouts.control_weights(spec_of(SD1))))
    assert kinds.refusal(header.tensors.keys()) == "It is a ControlNet, not a checkpoint. Put it into models/ControlNet."
    for key, name in (("lora_controlnet", "a Control-LoRA"), ("lllite_unet_input_blocks_4_1.conditioning1.0.weight", "LLLite")):
        found = kinds.kind_of([key])
        assert found is not None and name in found.name


def header_of(shapes: Mapping[str, tuple[int, ...]]) -> Header:
    return Header(tensors={key: TensorInfo(shape=shape, dtype="F16") for key, shape in shapes.items()}, metadata={})
