"""Depth estimators against independent ones: MiDaS written down a second time, the rest by transformers' own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tests.nets.midas_reference import midas
from webui.nets.depth import NEAREST, DepthEstimator, SmallEstimator, depth_anything, dpt, estimator
from webui.nets.depth_small import SmallDepthSpec
from webui.nets.depth_spec import ELONGATED, BitSpec, DepthSpec, SightSpec, fitted_size
from webui.weights.midas import midas_rules
from webui.weights.rules import restored

HYBRID = DepthSpec(
    family="dpt", width=64, layers=12, heads=1, inner=128, patch=16, grid=4, taps=(3, 6, 9, 12), neck=(128, 128, 64, 64),
    factors=(1, 1, 1, 0.5), fusion=32, bit=BitSpec(stem=32, widths=(128, 128, 128), depths=(1, 2, 1)),
    sight=SightSpec(side=64, multiple=32),
)  # fmt: skip
PLAIN = DepthSpec(
    family="dpt", width=128, layers=12, heads=2, inner=64, patch=16, grid=4, taps=(3, 6, 9, 12), neck=(16, 32, 64, 64),
    factors=(4, 2, 1, 0.5), fusion=32, sight=SightSpec(side=64, multiple=32),
)  # fmt: skip
ANYTHING = DepthSpec(
    family="depth_anything", width=64, layers=4, heads=4, inner=256, patch=14, grid=5, taps=(1, 2, 3, 4), neck=(16, 32, 64, 64),
    factors=(4, 2, 1, 0.5), fusion=32,
    sight=SightSpec(side=70, multiple=14, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)  # fmt: skip
METRIC = DepthSpec(**{**vars(ANYTHING), "metres": 20, "gated": True, "normed": False, "bias": False})
SPECS = {"hybrid": HYBRID, "plain": PLAIN, "Depth Anything": ANYTHING, "metric": METRIC}
GATE = 1e-5


def filled(spec: DepthSpec, seed: int = 0) -> DepthEstimator:
    """An estimator with random weights, whose answers lie above nought, so that its last layer cuts nothing off."""
    network = DepthEstimator(spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, value in network.named_parameters():
            spread = torch.randn(value.shape, generator=generator)
            if "position" in key or "cls_token" in key:
                value.copy_(spread)
            elif value.ndim > 1:
                value.copy_(spread * (1.4 / value[0].numel()) ** 0.5)
            else:
                value.copy_((1.0 if key.endswith(("weight", "lambda1")) else 0.0) + 0.2 * spread)
        last = dict(network.head.named_parameters())
        name = "head.4" if spec.family == "dpt" else "conv3"
        last[f"{name}.bias"].fill_(0.3 if spec.metres else 12.0)
    return network.eval().requires_grad_(False)


def close(found: Tensor, expected: Tensor) -> bool:
    """Whether maps are equal but for rounding; they must say something for that to mean anything."""
    assert found.shape == expected.shape
    said = f"{float((found - expected).abs().max() / expected.abs().max()):.1e} apart, deviation {float(expected.std()):.2f}"
    print(said)
    assert expected.std() > 0.05 and (expected > 0).float().mean() > 0.5, said
    return bool((found - expected).abs().max() <= GATE * expected.abs().max())


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def pictures(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 128), (96, 32)])
@pytest.mark.parametrize("name", ["hybrid", "plain"])
def test_midas_equals_its_papers_for_every_shape(name: str, height: int, width: int) -> None:
    network = filled(SPECS[name])
    theirs = restored(midas_rules(hybrid=SPECS[name].bit is not None), network.state_dict(), "MiDaS")
    x = normal(2, 3, height, width)
    assert close(network.estimated(x), midas(theirs, x))


@pytest.mark.parametrize("name", ["hybrid", "plain"])
def test_midas_equals_transformers_where_that_can(name: str) -> None:
    network, theirs = filled(SPECS[name]), dpt(SPECS[name]).eval()
    lacking, foreign = theirs.load_state_dict(network.state_dict(), strict=False)
    assert not foreign and set(lacking) == {"dpt.layernorm.weight", "dpt.layernorm.bias"}
    x = normal(1, 3, 64, 64)
    with torch.no_grad():
        assert close(network.estimated(x), theirs(x).predicted_depth)


@pytest.mark.parametrize(("height", "width"), [(70, 70), (70, 140), (98, 42)])
@pytest.mark.parametrize("name", ["Depth Anything", "metric"])
def test_depth_anything_equals_transformers(name: str, height: int, width: int) -> None:
    network, theirs = filled(SPECS[name]), depth_anything(SPECS[name]).eval()
    lacking, foreign = theirs.load_state_dict(network.state_dict(), strict=False)
    assert not foreign and set(lacking) == {"backbone.embeddings.mask_token"}
    x = normal(2, 3, height, width)
    with torch.no_grad():
        assert close(network.estimated(x), theirs(x).predicted_depth)


@pytest.mark.parametrize(("height", "width"), [(70, 70), (131, 200), (300, 90), (40, 60)])
@pytest.mark.parametrize("name", ["hybrid", "Depth Anything", "metric"])
def test_a_picture_goes_in_and_a_map_comes_out_as_by_transformers_processor(name: str, height: int, width: int) -> None:
    from transformers.modeling_outputs import DepthEstimatorOutput
    from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil

    spec = SPECS[name]
    network, sight = filled(spec), spec.sight
    processor = DPTImageProcessorPil(
        size={"height": sight.side, "width": sight.side}, keep_aspect_ratio=True, ensure_multiple_of=sight.multiple,
        image_mean=list(sight.mean), image_std=list(sight.std),
    )  # fmt: skip
    coarse = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0)) * 100 + 60  # far from where levels are cut off
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")[0]
    numbers = smooth.permute(1, 2, 0).round().numpy().astype(np.uint8)
    picture = torch.tensor(numbers).permute(2, 0, 1)[None] / 255
    theirs = processor(images=Image.fromarray(numbers), return_tensors="pt")["pixel_values"]
    ours = network.seen(picture)
    # Theirs is rounded to whole levels after its columns were resized, and again after its rows.
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1.3 / 255 / min(sight.std)
    output = DepthEstimatorOutput(predicted_depth=network.estimated(ours))
    back = processor.post_process_depth_estimation(output, target_sizes=[(height, width)])[0]["predicted_depth"]
    expected = 1 / back.clamp(min=NEAREST) if spec.metres else back
    assert torch.allclose(network(picture)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (512, 512), (300, 400), (777, 1000), (100, 120), (1080, 1920)])
@pytest.mark.parametrize(("side", "multiple"), [(384, 32), (518, 14)])
def test_sizes_are_those_of_transformers_processor(size: tuple[int, int], side: int, multiple: int) -> None:
    from transformers.models.dpt.image_processing_pil_dpt import get_resize_output_image_size

    expected = get_resize_output_image_size(np.zeros((3, *size)), (side, side), True, multiple)
    assert fitted_size(*size, side, multiple) == (expected.height, expected.width)


@given(
    height=st.integers(1, 16384), width=st.integers(1, 16384),
    sight=st.sampled_from([(384, 32), (518, 14), (128, 16), (32, 32), (2048, 14)]),
)  # fmt: skip
def test_no_picture_is_too_long_for_a_network(height: int, width: int, sight: tuple[int, int]) -> None:
    side, multiple = sight
    rows, columns = fitted_size(height, width, side, multiple)
    assert rows % multiple == 0 and columns % multiple == 0
    for length in (rows, columns):
        assert max(multiple, side // ELONGATED - multiple) <= length <= ELONGATED * side
    if max(height, width) <= 2 * min(height, width):  # the shape is kept but for rounding
        scale = [rows / height, columns / width]
        assert abs(scale[0] * height - scale[1] * height) <= 2 * multiple
        assert min(abs(rows - side), abs(columns - side)) <= multiple / 2


@pytest.mark.parametrize("name", [*SPECS, "small"])
@settings(max_examples=6, deadline=None)
@given(height=st.integers(1, 150), width=st.integers(1, 150))
def test_a_map_has_the_size_of_its_picture(name: str, height: int, width: int) -> None:
    small = SmallDepthSpec(widths=(4, 8), groups=2, side=16)
    network = NETWORKS.setdefault(name, estimator(small) if name == "small" else filled(SPECS[name]))
    found = network(pictures(1, 3, height, width))
    assert found.shape == (1, height, width) and found.dtype == torch.float32 and bool(found.isfinite().all())


NETWORKS: dict[str, Any] = {}


@pytest.mark.parametrize("name", SPECS)
def test_one_picture_does_not_change_anothers_map(name: str) -> None:
    network, both = filled(SPECS[name]), pictures(2, 3, 80, 100)
    apart = torch.cat([network(each[None]) for each in both])
    gate = 1e-4 if SPECS[name].metres else GATE  # where near things are far apart
    assert (network(both) - apart).abs().max() < gate * apart.abs().max() and apart[0].std() > 0.01


@pytest.mark.parametrize("name", SPECS)
def test_networks_in_bfloat16_give_float32_maps_that_are_nearly_the_same(name: str) -> None:
    picture = pictures(1, 3, 70, 70)
    expected = filled(SPECS[name])(picture)
    found = filled(SPECS[name]).to(torch.bfloat16)(picture.to(torch.bfloat16))
    assert found.dtype == torch.float32
    assert np.corrcoef(found.flatten(), expected.flatten())[0, 1] > 0.97


def test_metres_are_turned_so_that_near_is_large() -> None:
    network = filled(METRIC)
    picture = pictures(1, 3, 70, 70)
    metres = network.estimated(network.seen(picture))
    assert metres.max() <= 20 and torch.allclose(network(picture), 1 / metres.clamp(min=NEAREST), rtol=1e-4)
    assert network(picture).max() <= 1 / NEAREST


def test_the_small_estimator_sees_pictures_at_its_size() -> None:
    spec = SmallDepthSpec(widths=(4, 8), groups=2, side=16)
    torch.manual_seed(0)
    network = SmallEstimator(spec).eval().requires_grad_(False)
    seen: list[Mapping[str, Any]] = []
    network.start.register_forward_pre_hook(lambda _, inputs: seen.append({"shape": inputs[0].shape[-2:]}))
    for height, width in ((16, 16), (160, 320), (8, 4), (1000, 10)):
        assert network(pictures(1, 3, height, width)).shape == (1, height, width)
    assert [tuple(each["shape"]) for each in seen] == [(16, 16), (16, 32), (16, 8), (64, 16)]
