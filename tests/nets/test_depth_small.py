"""The small depth estimator: any size in, the same size out, and a description that makes only what fits memory."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.nets.depth_small import KIND, SmallDepth, SmallDepthSpec

TINY = SmallDepthSpec(widths=(4, 4, 8), groups=2, side=16)
side = st.integers(16, 45)


@pytest.fixture(scope="module")
def network() -> SmallDepth:
    torch.manual_seed(0)
    return SmallDepth(TINY).eval().requires_grad_(False)


@given(height=side, width=side)
@settings(max_examples=20)
def test_a_map_has_the_size_of_its_picture(network: SmallDepth, height: int, width: int) -> None:
    disparity = network(torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(height)))
    assert disparity.shape == (2, height, width) and disparity.dtype == torch.float32
    assert disparity.isfinite().all() and disparity.std() > 0


def test_one_picture_does_not_change_anothers_map(network: SmallDepth) -> None:
    pictures = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(1))
    apart = torch.cat([network(picture[None]) for picture in pictures])
    assert torch.allclose(network(pictures), apart, atol=1e-5)


def test_padding_is_cut_off_and_not_seen_far_away(network: SmallDepth) -> None:
    assert TINY.multiple == 4
    whole = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    even = whole.clone()
    even[..., 30:] = even[..., 29:30]  # what padding 30 columns to 32 makes of them
    assert torch.allclose(network(whole[..., :30]), network(even)[..., :30], atol=1e-6)


def test_half_precision_weights_give_float32_maps(network: SmallDepth) -> None:
    half = SmallDepth(TINY).to(torch.bfloat16)
    assert half(torch.rand(1, 3, 16, 16)).dtype == torch.float32


def test_a_description_comes_back_as_it_was() -> None:
    plain = TINY.to_json()
    assert plain == {"kind": KIND, "widths": [4, 4, 8], "groups": 2, "side": 16}
    assert SmallDepthSpec.from_json(plain) == TINY
    assert SmallDepthSpec.from_json(SmallDepthSpec().to_json()) == SmallDepthSpec()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "dpt"}, {"widths": []}, {"widths": [4] * 9}, {"widths": [4096]}, {"widths": "444"}, {"widths": [4, "4"]},
        {"widths": [3]}, {"widths": [4, -4]}, {"groups": 0}, {"groups": 2.0}, {"groups": None}, {"side": 10**9}, {"side": True},
        {"more": 1},
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_built_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="depth estimator"):
        SmallDepthSpec.from_json({**TINY.to_json(), **change})


def test_a_description_must_be_whole() -> None:
    plain = TINY.to_json()
    for name in ("kind", "widths", "groups", "side"):
        with pytest.raises(ValueError, match="depth estimator"):
            SmallDepthSpec.from_json({key: value for key, value in plain.items() if key != name})
    with pytest.raises(ValueError, match="depth estimator"):
        SmallDepthSpec.from_json([])  # type: ignore[arg-type]
