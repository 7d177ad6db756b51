"""Larger pictures: tiles that show no seams, sizes, filters, and two results mixed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tests.pipeline.answering import REQUEST, Engine, coloured, in_bytes
from webui.errors import UserError
from webui.pipeline.generate import enlarge
from webui.pipeline.given import Given
from webui.pipeline.pictures import unit
from webui.pipeline.protocol import Call
from webui.pipeline.upscale import OVERLAP, TILE, places, tiled
from webui.request import Request
from webui.tasks import LANCZOS, NEAREST

EXTRAS = replace(REQUEST, task="extras", model="")


def times(number: int, tile: Tensor) -> Tensor:
    """Every pixel as a square of its colour."""
    return tile.repeat_interleave(number, 1).repeat_interleave(number, 2)


def result(request: Request, picture: Tensor, *upscalers: str, engine: Engine | None = None) -> Tensor:
    engine = engine or Engine(call=lambda tile: times(4, tile))
    return engine.run(enlarge(request, Given(picture=picture), upscalers=upscalers)).pixels


@given(length=st.integers(1, 5000))
@settings(max_examples=100, deadline=None)
def test_tiles_cover_a_side_and_overlap_enough(length: int) -> None:
    starts = places(length)
    assert starts[0] == 0 and starts[-1] == max(length - TILE, 0)
    assert all(OVERLAP - 1 <= TILE - (after - before) <= TILE for before, after in itertools.pairwise(starts))


@given(width=st.integers(1, 600), height=st.integers(1, 600), number=st.sampled_from([1, 2, 4]))
@settings(max_examples=12, deadline=None)
def test_a_network_that_looks_at_each_pixel_alone_shows_no_tiles(width: int, height: int, number: int) -> None:
    picture = unit(coloured(width, height)[:3])
    engine = Engine(call=lambda tile: times(number, tile))
    found = engine.run(tiled(picture, "upscaler:a"))
    assert torch.allclose(found, times(number, picture), atol=1e-5)
    asks = engine.of(Call)
    assert {tuple(ask.inputs["picture"].shape) for ask in asks} == {(3, min(height, TILE), min(width, TILE))}
    assert [step.at.step for step in engine.steps] == list(range(len(asks))) and {step.at.steps for step in engine.steps} == {
        len(asks)
    }


def test_tiles_that_differ_go_over_into_each_other() -> None:
    """Each tile in a shade of its own: nowhere is there a step as large as between the shades."""
    shades = iter([0.0, 1.0, 0.0, 1.0])
    engine = Engine(call=lambda tile: torch.full_like(times(2, tile), next(shades)))
    found = engine.run(tiled(torch.zeros(3, 100, 2 * TILE - OVERLAP), "upscaler:a"))
    assert float(found.min()) == 0 and float(found.max()) == 1 and float(found.diff(dim=-1).abs().max()) < 1.1 / (2 * OVERLAP)


def test_a_result_too_large_to_hold_is_made_of_a_smaller_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.pipeline.upscale.MOST_BETWEEN", 400 * 400)
    found = Engine(call=lambda tile: times(4, tile)).run(tiled(torch.full((3, 200, 200), 0.5), "upscaler:a"))
    assert found.shape == (3, 400, 400) and torch.allclose(found, torch.tensor(0.5))


@pytest.mark.parametrize(("name", "filter_"), [(LANCZOS, Image.Resampling.LANCZOS), (NEAREST, Image.Resampling.NEAREST)])
def test_filters_are_pil_s(name: str, filter_: Image.Resampling) -> None:
    picture = coloured(30, 20)
    theirs = Image.fromarray(picture[:3].permute(1, 2, 0).numpy()).resize((75, 50), filter_)
    engine = Engine()
    found = result(replace(EXTRAS, width=75, height=50), picture, name, "", engine=engine)
    assert np.array_equal(in_bytes(found).permute(1, 2, 0).numpy(), np.array(theirs)) and not engine.asks


def test_a_network_s_result_of_the_right_size_is_not_touched() -> None:
    picture = coloured(30, 20)
    found = result(replace(EXTRAS, width=120, height=80), picture, "upscaler:a")
    assert torch.equal(in_bytes(found), times(4, picture[:3]))


@pytest.mark.parametrize(("width", "height", "rounds"), [(60, 40, 1), (120, 80, 1), (240, 160, 2), (30, 20, 1)])
def test_a_network_is_asked_until_its_result_is_large_enough(width: int, height: int, rounds: int) -> None:
    engine = Engine(call=lambda tile: times(4, tile))
    found = result(replace(EXTRAS, width=width, height=height), coloured(30, 20), "upscaler:a", engine=engine)
    assert found.shape == (3, height, width) and len(engine.of(Call)) == rounds
    engine = Engine(call=lambda tile: tile)
    result(replace(EXTRAS, width=width * 2, height=height * 2), coloured(30, 20), "upscaler:one", engine=engine)
    assert len(engine.of(Call)) == 1


@given(visibility=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_second_result_is_mixed_in(visibility: int) -> None:
    picture, engine = coloured(20, 20), Engine(call=lambda tile: times(4, tile))
    wanted = replace(EXTRAS, width=80, height=80, visibility_2=visibility / 100)
    found = result(wanted, picture, NEAREST, "upscaler:a", engine=engine)
    first, second = result(wanted, picture, NEAREST), result(wanted, picture, "upscaler:a")
    assert torch.allclose(found, first + (second - first) * visibility / 100, atol=1e-6)
    assert len(engine.of(Call)) == (visibility > 0)


@pytest.mark.parametrize(("crop", "size"), [(True, (60, 60)), (False, (60, 30))])
def test_what_does_not_fit_is_cut_off_or_kept_inside(crop: bool, size: tuple[int, int]) -> None:
    picture = coloured(40, 20)
    picture[:3, :, 10:30] = 0
    found = result(replace(EXTRAS, width=60, height=60, crop=crop), picture, NEAREST)
    assert found.shape == (3, size[1], size[0]) and (not bool(found.any())) is crop


def test_nothing_to_enlarge_is_a_sentence_and_no_upscaler_is_lanczos() -> None:
    with pytest.raises(UserError, match="no picture"):
        Engine().run(enlarge(EXTRAS, Given(), upscalers=(LANCZOS,)))
    wanted = replace(EXTRAS, width=50, height=50)
    assert torch.equal(result(wanted, coloured(20, 20)), result(wanted, coloured(20, 20), LANCZOS))
