"""Previews: a map that is linear is found exactly, and its error is the one it has on pictures it was not fitted to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.pipeline.preview import Preview, fit_preview

GENERATOR = torch.Generator().manual_seed(0)
LATENTS = torch.randn(20, 5, 6, 4, generator=GENERATOR)
MATRIX = torch.randn(3, 5, generator=GENERATOR) * 0.1
PICTURES = torch.einsum("kc,nchw->nkhw", MATRIX, LATENTS) + torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)


def test_a_linear_map_is_recovered() -> None:
    preview = fit_preview(LATENTS, PICTURES)
    assert torch.allclose(torch.tensor(preview.matrix), MATRIX, atol=1e-5)
    assert preview.bias == pytest.approx((0.4, 0.5, 0.6), abs=1e-5)
    assert preview.error < 1e-5
    shown = preview(LATENTS[0])
    expected = (PICTURES[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8)
    assert shown.dtype == torch.uint8 and shown.shape == (6, 4, 3)
    assert (shown.int() - expected.int()).abs().max() <= 1


def test_the_error_is_that_of_unseen_pictures() -> None:
    noise = 0.1 * torch.randn(PICTURES.shape, generator=torch.Generator().manual_seed(1))
    assert fit_preview(LATENTS, PICTURES + noise).error == pytest.approx(0.1, rel=0.2)
    spoiled = PICTURES.clone()
    spoiled[16:] += 0.5  # the fifth that the fit does not see
    assert fit_preview(LATENTS, spoiled).error == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_few_pictures_have_an_error_too(count: int) -> None:
    spoiled = PICTURES[:count].clone()
    spoiled[-1] += 0.5
    assert fit_preview(LATENTS[:count], spoiled).error == pytest.approx(0.5, rel=1e-3)


def test_one_picture_is_too_few() -> None:
    with pytest.raises(ValueError, match="two pictures or more"):
        fit_preview(LATENTS[:1], PICTURES[:1])


def test_it_survives_json() -> None:
    preview = fit_preview(LATENTS, PICTURES)
    assert Preview.from_json(json.loads(json.dumps(asdict(preview)))) == preview


BIAS = {"bias": [0, 0, 0], "error": 0}


ROWS = [[1.0], [1.0], [1.0]]
NONSENSE: list[object] = [
    {}, [], 3, {"matrix": [[1.0]], **BIAS}, {"matrix": 3, **BIAS}, {"matrix": [[float("nan")]] * 3, **BIAS},
    {"matrix": [[1e300]] * 3, **BIAS}, {"matrix": [[10**400]] * 3, **BIAS}, {"matrix": ROWS, "bias": [0, 0], "error": 0},
    {"matrix": ROWS, "bias": [0, 0, 0], "error": float("inf")},
]  # fmt: skip


@pytest.mark.parametrize("plain", NONSENSE)
def test_nonsense_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match="preview"):
        Preview.from_json(plain)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from([10**400, "1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["matrix", "bias", "error"]), inner, max_size=3),
    max_leaves=20,
)
NUMBERS = st.lists(st.floats() | st.integers(), min_size=2, max_size=4)


@settings(deadline=None, max_examples=150)
@given(JSON | st.fixed_dictionaries({"matrix": st.lists(NUMBERS, min_size=3, max_size=3), "bias": NUMBERS, "error": st.floats()}))
def test_any_json_is_a_map_that_makes_colours_or_is_refused(plain: Any) -> None:
    try:
        preview = Preview.from_json(plain)
    except ValueError:
        return
    colours = preview(torch.ones(len(preview.matrix[0]), 2, 2))
    assert colours.shape == (2, 2, 3) and colours.dtype == torch.uint8
