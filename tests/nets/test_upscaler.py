"""Upscalers against a second implementation, written from the papers, on random weights: every size, folded or not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.networks_beside import compact, real_esrgan
from webui.nets.upscaler import Upscaler, upscaler
from webui.nets.upscaler_spec import CompactSpec, RRDBSpec, UpscalerSpec

SPECS: dict[str, UpscalerSpec] = {
    "4x": RRDBSpec(features=8, growth=4, blocks=2),
    "2x, folded": RRDBSpec(features=8, growth=4, blocks=1, unshuffle=2),
    "1x, folded": RRDBSpec(features=8, growth=4, blocks=1, unshuffle=4),
    "8x": RRDBSpec(features=6, growth=4, blocks=1, doublings=3),
    "1x": RRDBSpec(features=8, growth=4, blocks=1, doublings=0),
    "ESRGAN+": RRDBSpec(features=8, growth=4, blocks=2, doublings=1, plus=True),
    "compact": CompactSpec(features=8, convolutions=3),
    "compact 2x": CompactSpec(features=6, convolutions=1, scale=2),
}
GATE = 1e-5


def weights(spec: UpscalerSpec, seed: int = 0) -> dict[str, Tensor]:
    """Random weights with the names of Real-ESRGAN's files, of a size that keeps numbers about as large as they come in."""
    shapes = real_esrgan(spec) if isinstance(spec, RRDBSpec) else compact(spec)
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(shape, generator=generator) * (0.1 if len(shape) == 1 else (1.5 / torch.Size(shape[1:]).numel()) ** 0.5)
        for key, shape in shapes.items()
    }


def network(spec: UpscalerSpec) -> Upscaler:
    module = upscaler(spec)
    module.load_state_dict(weights(spec), strict=True)
    return module.eval().requires_grad_(False)


def reference(spec: UpscalerSpec, given: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The same from the papers: every convolution by name, nothing shared with what is tested."""

    def conv(name: str, value: Tensor) -> Tensor:
        return functional.conv2d(value, given[f"{name}.weight"], given.get(f"{name}.bias"), padding=1)

    def bent(value: Tensor) -> Tensor:
        return torch.where(value > 0, value, 0.2 * value)

    def twice(value: Tensor) -> Tensor:
        return value.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    if isinstance(spec, CompactSpec):
        y = conv("body.0", x)
        for number in range(spec.convolutions + 1):
            slope = given[f"body.{2 * number + 1}.weight"][:, None, None]
            y = conv(f"body.{2 * number + 2}", torch.where(y > 0, y, slope * y))
        rows = y.unflatten(1, (3, spec.scale, spec.scale)).permute(0, 1, 4, 2, 5, 3)
        base = x.repeat_interleave(spec.scale, dim=2).repeat_interleave(spec.scale, dim=3)
        return base + rows.flatten(4, 5).flatten(2, 3)
    fold = spec.unshuffle
    folded = x.unflatten(3, (-1, fold)).unflatten(2, (-1, fold)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    first = conv("conv_first", folded)
    trunk = first
    for n in range(spec.blocks):
        inner = trunk
        for m in (1, 2, 3):
            name = f"body.{n}.rdb{m}.conv"
            x1 = bent(conv(f"{name}1", inner))
            x2 = bent(conv(f"{name}2", torch.cat((inner, x1), 1)))
            if spec.plus:
                x2 = x2 + functional.conv2d(inner, given[f"{name}1x1.weight"])
            x3 = bent(conv(f"{name}3", torch.cat((inner, x1, x2), 1)))
            x4 = bent(conv(f"{name}4", torch.cat((inner, x1, x2, x3), 1)))
            if spec.plus:
                x4 = x4 + x2
            inner = inner + 0.2 * conv(f"{name}5", torch.cat((inner, x1, x2, x3, x4), 1))
        trunk = trunk + 0.2 * inner
    y = first + conv("conv_body", trunk)
    for number in range(1, spec.doublings + 1):
        y = bent(conv(f"conv_up{number}", twice(y)))
    return conv("conv_last", bent(conv("conv_hr", y)))


@pytest.mark.parametrize("name", SPECS)
def test_answers_equal_the_papers(name: str) -> None:
    spec = SPECS[name]
    x = torch.rand(2, 3, 12, 8, generator=torch.Generator().manual_seed(3))
    expected = reference(spec, weights(spec), x)
    found = network(spec).enlarged(x)
    assert found.shape == (2, 3, 12 * spec.scale, 8 * spec.scale) and expected.std() > 0.05
    assert (found - expected).abs().max() < GATE * expected.abs().max()


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(list(SPECS)), height=st.integers(1, 11), width=st.integers(1, 11))
def test_any_size_is_enlarged_by_the_scale_and_stays_a_picture(name: str, height: int, width: int) -> None:
    spec = SPECS[name]
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(height))
    found = network(spec)(picture)
    assert found.shape == (1, 3, height * spec.scale, width * spec.scale) and found.dtype == torch.float32
    assert found.min() >= 0 and found.max() <= 1
    assert (found > 0).any() and (found < 1).any()


def test_a_picture_that_cannot_be_folded_is_continued_by_its_last_pixels() -> None:
    spec = SPECS["2x, folded"]
    picture = torch.rand(1, 3, 7, 5, generator=torch.Generator().manual_seed(1))
    whole = functional.pad(picture, (0, 1, 0, 1), mode="replicate")
    assert torch.equal(network(spec)(picture), network(spec)(whole)[..., :14, :10])


def test_one_picture_does_not_change_anothers_result() -> None:
    pictures = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    module = network(SPECS["4x"])
    apart = torch.cat([module(picture[None]) for picture in pictures])
    assert torch.allclose(module(pictures), apart, atol=1e-4)  # sums are made in another order for more rows


def test_half_precision_weights_give_float32_pictures() -> None:
    module = network(SPECS["compact"]).to(torch.bfloat16)
    picture = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    assert module(picture).dtype == torch.float32
    assert (module(picture) - network(SPECS["compact"])(picture)).abs().max() < 0.1


@pytest.mark.parametrize("change", [{"blocks": 0}, {"features": 10**9}, {"growth": -1}, {"doublings": 5}, {"unshuffle": 3}])
def test_numbers_that_no_upscaler_has_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"blocks|doublings"):
        RRDBSpec(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"features": 0}, {"convolutions": 10**6}, {"scale": 0}, {"scale": 17}])
def test_numbers_that_no_small_upscaler_has_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"convolutions|scale"):
        CompactSpec(**change)
