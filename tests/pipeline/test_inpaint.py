"""Pictures made anew in part: what is not masked stays as it is to the byte, what is masked is made by every kind of model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.pipeline.answering import FACTOR, REQUEST, Engine, coloured, decoded, encoded, in_bytes, made, with_channels
from webui.pipeline import noise
from webui.pipeline.given import Given
from webui.pipeline.inpaint import hard, soft
from webui.pipeline.masks import cells, grown
from webui.pipeline.pictures import unit
from webui.pipeline.protocol import Decode, EncodePicture, Moment
from webui.request import Request
from webui.tasks import FILLED, LATENT_NOISE, LATENT_NOTHING, MASKED, NOT_MASKED, ONLY_MASKED, ORIGINAL, WHOLE

INPAINT = replace(REQUEST, task="inpaint")
CONTENTS = st.sampled_from([FILLED, ORIGINAL, LATENT_NOISE, LATENT_NOTHING])
SIDE = st.integers(16, 72)


def rectangle(width: int, height: int, box: tuple[int, int, int, int]) -> Tensor:
    mask = torch.zeros(height, width)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    return mask


@st.composite
def masks(draw: st.DrawFn, width: int, height: int) -> Tensor:
    """Lines, dots, rectangles at and away from edges, everything, nothing, in full or in grey."""
    mask = torch.zeros(height, width)
    for _ in range(draw(st.integers(0, 2))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        across, down = draw(st.integers(1, width)), draw(st.integers(1, height))
        mask[top : top + down, left : left + across] = draw(st.sampled_from([1.0, 1.0, 0.5, 0.2]))
    return mask


@st.composite
def requests(draw: st.DrawFn, area: str) -> Request:
    """Inpainting of every kind."""
    strength = draw(st.integers(0, 100)) / 100
    return replace(
        INPAINT, area=area, width=draw(SIDE), height=draw(SIDE), strength=strength, steps=draw(st.integers(1, 5)),
        mask_blur=draw(st.integers(0, 8)), mask_grow=draw(st.integers(-4, 8)), masked_content=draw(CONTENTS),
        soft=draw(st.booleans()), mask_mode=draw(st.sampled_from([MASKED, NOT_MASKED])), padding=draw(st.integers(0, 40)),
        sampler=draw(st.sampled_from(["Euler", "Euler a", "DPM++ 2M", "DDIM"])), loops=draw(st.integers(1, 2)),
    )  # fmt: skip


def out_of_reach(mask: Tensor, request: Request) -> Tensor:
    """Pixels so far from what is painted that no growing and no blurring gets there, whatever it is made by."""
    painted = 1 - mask if request.mask_mode == NOT_MASKED else mask
    reach = max(request.mask_grow, 0) + 2 * (int(2.5 * request.mask_blur + 0.5) if request.mask_blur else 0)
    near = torch.nn.functional.max_pool2d((painted > 0).float()[None], 2 * reach + 1, 1, reach)[0]
    return near == 0


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("area", [WHOLE, ONLY_MASKED])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_not_masked_equals_the_picture_to_the_byte(channels: int, area: str, data: st.DataObject) -> None:
    wanted = data.draw(requests(area))
    width, height = (wanted.width, wanted.height) if area == WHOLE else (data.draw(SIDE), data.draw(SIDE))
    mask, picture = data.draw(masks(width, height)), coloured(width, height)
    engine = Engine(predict=lambda row: torch.full_like(row.x, 5.0))
    result = made(wanted, Given(picture=picture, mask=mask), engine, with_channels(channels))
    assert result.pixels.shape == (3, height, width)
    kept = out_of_reach(mask, wanted)
    assert torch.equal(in_bytes(result.pixels)[:, kept], picture[:3, kept])
    if wanted.strength == 0 or bool(kept.all()):
        assert torch.equal(in_bytes(result.pixels), picture[:3]) and not engine.asks


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_full_mask_is_img2img_and_an_empty_one_nothing(data: st.DataObject) -> None:
    wanted = replace(data.draw(requests(WHOLE)), masked_content=ORIGINAL, mask_mode=MASKED, mask_grow=0)
    given_ = Given(picture=coloured(40, 30), mask=torch.ones(30, 40))
    found, plain = made(wanted, given_), made(replace(wanted, task="img2img"), given_)
    assert torch.equal(found.pixels, plain.pixels)
    engine = Engine()
    nothing = made(replace(wanted, mask_mode=NOT_MASKED), given_, engine)
    assert torch.equal(nothing.pixels, made(replace(wanted, task="img2img", strength=0.0), given_).pixels) and not engine.asks


@pytest.mark.parametrize(("first", "second", "held"), [(9, 4, True), (4, 9, True), (9, 9, False), (4, 4, True)])
def test_a_refiner_that_knows_of_no_mask_is_kept_from_what_is_not_masked(first: int, second: int, held: bool) -> None:
    """Whoever draws: what the refiner sees there is the picture, not what it makes of it step by step."""
    mask, picture = rectangle(64, 32, (16, 8, 48, 24)), coloured(64, 32)
    wanted = replace(INPAINT, steps=8, strength=1.0, mask_blur=0, refiner="r", refiner_switch_at=0.5)
    engine = Engine(predict=lambda row: torch.full_like(row.x, 5.0))
    refiner = replace(with_channels(second), name="r")
    made(wanted, Given(picture=picture, mask=mask), engine, with_channels(first), refiner=refiner)
    assert {row.network for row in engine.rows} == {"m", "r"}
    (ask,) = engine.of(Decode)
    outside = cells(mask, FACTOR)[0] == 0
    assert torch.equal(ask.latent[:, outside], encoded(unit(picture[:3]))[:, outside]) == held


def test_inside_the_mask_everything_is_new() -> None:
    mask = rectangle(64, 32, (16, 8, 48, 24))
    engine = Engine()
    result = made(replace(INPAINT, mask_blur=0), Given(picture=coloured(64, 32), mask=mask), engine)
    (ask,) = engine.of(Decode)
    assert torch.equal(result.pixels[:, mask == 1], decoded(ask.latent)[:, mask == 1])
    assert torch.equal(result.pixels[:, mask == 0], unit(coloured(64, 32)[:3])[:, mask == 0])


@given(at=st.integers(0, 31), down=st.booleans(), blur=st.sampled_from([0, 2]), shrunk=st.sampled_from([1, 3]))
@settings(max_examples=30, deadline=None)
def test_a_line_thinner_than_a_cell_acts(at: int, down: bool, blur: int, shrunk: int) -> None:
    """Also where the mask is larger than the picture, so that the line is thinner than a pixel."""
    mask = torch.zeros(32 * shrunk, 64 * shrunk)
    line = (slice(None), at * shrunk) if down else (at * shrunk, slice(None))
    mask[line] = 1
    engine = Engine(predict=lambda row: torch.full_like(row.x, 1.0))
    dark = coloured(64, 32)
    dark[:3] = 0
    result = made(replace(INPAINT, mask_blur=blur), Given(picture=dark, mask=mask), engine)
    fitted = (slice(None), at) if down else (at, slice(None))
    assert bool((in_bytes(result.pixels)[:, *fitted] > 10).all())


def test_euler_keeps_what_is_kept_under_the_noise_it_began_with() -> None:
    engine, mask = Engine(), rectangle(64, 32, (16, 8, 48, 24))
    made(replace(INPAINT, steps=8, strength=0.9), Given(picture=coloured(64, 32), mask=mask), engine)
    (ask,) = engine.of(EncodePicture)
    kept = (cells(mask, FACTOR) == 0).expand(4, -1, -1)
    fresh = noise.initial(INPAINT.seed, (4, 4, 8))
    for row in engine.rows:
        expected = encoded(ask.picture) + fresh * row.at.sigma
        assert torch.allclose(row.x[kept], expected[kept], atol=1e-4)
    assert not torch.allclose(engine.rows[-1].x[~kept], expected[~kept], atol=1e-2)


def test_at_full_strength_the_masked_part_begins_with_noise_alone_and_the_rest_with_the_picture() -> None:
    engine, mask = Engine(), rectangle(64, 32, (16, 8, 48, 24))
    made(replace(INPAINT, strength=1.0), Given(picture=coloured(64, 32), mask=mask), engine)
    start, free = engine.rows[0], (cells(mask, FACTOR) > 0).expand(4, -1, -1)
    fresh = noise.initial(INPAINT.seed, (4, 4, 8)) * start.at.sigma
    assert torch.equal(start.x[free], fresh[free]) and not torch.allclose(start.x[~free], fresh[~free], atol=1e-2)


@pytest.mark.parametrize(("kind", "expected"), [(LATENT_NOTHING, 0.0), (LATENT_NOISE, 1.0)])
def test_there_may_be_noise_or_nothing_under_the_mask(kind: str, expected: float) -> None:
    engine, mask = Engine(), rectangle(64, 32, (16, 8, 48, 24))
    made(replace(INPAINT, masked_content=kind), Given(picture=coloured(64, 32), mask=mask), engine)
    start, free = engine.rows[0], (cells(mask, FACTOR) > 0).expand(4, -1, -1)
    fresh = noise.initial(INPAINT.seed, (4, 4, 8))
    assert torch.allclose(start.x[free], (fresh * (expected + start.at.sigma))[free], atol=1e-4)


def test_the_colours_around_may_stand_under_the_mask() -> None:
    picture, mask = coloured(64, 32), rectangle(64, 32, (16, 8, 48, 24))
    picture[:3] = torch.where(mask > 0, 255, 40).to(torch.uint8)
    engine = Engine()
    made(replace(INPAINT, masked_content=FILLED), Given(picture=picture, mask=mask), engine)
    (ask,) = engine.of(EncodePicture)
    assert torch.allclose(ask.picture, torch.tensor(40 / 255), atol=1e-5)


# --- the mask -------------------------------------------------------------------------------------------------------------------


def test_without_a_mask_what_is_transparent_is_made_anew_and_its_colours_count() -> None:
    picture = coloured(64, 32)
    picture[3, 8:24, 16:48] = 0
    engine = Engine()
    result = made(replace(INPAINT, mask_blur=0), Given(picture=picture), engine)
    changed = (in_bytes(result.pixels) != picture[:3]).any(dim=0)
    assert torch.equal(changed, picture[3] == 0)
    assert torch.equal(engine.of(EncodePicture)[0].picture, unit(picture[:3]))


def test_a_mask_of_another_size_lies_where_it_lay() -> None:
    picture = coloured(64, 32)
    small, large = rectangle(8, 4, (2, 1, 6, 3)), rectangle(64, 32, (16, 8, 48, 24))
    changed = []
    for mask in (small, large):
        result = made(replace(INPAINT, mask_blur=0), Given(picture=picture, mask=mask))
        changed.append((in_bytes(result.pixels) != picture[:3]).any(dim=0))
    assert torch.equal(changed[1], large > 0)
    assert bool(changed[0][12:20, 20:44].all()) and not bool(changed[0][grown(large, 7) == 0].any())


def test_growing_and_inverting_come_before_blurring() -> None:
    mask, picture = rectangle(64, 32, (24, 12, 40, 20)), coloured(64, 32)

    def changed(**more: object) -> Tensor:
        result = made(replace(INPAINT, mask_blur=0, **more), Given(picture=picture, mask=mask))
        return (in_bytes(result.pixels) != picture[:3]).any(dim=0)

    assert torch.equal(changed(mask_grow=5), grown(mask, 5) > 0)
    assert torch.equal(changed(mask_mode=NOT_MASKED), mask == 0)
    assert torch.equal(changed(mask_mode=NOT_MASKED, mask_grow=3), grown(1 - mask, 3) > 0)


# --- soft -----------------------------------------------------------------------------------------------------------------------


@given(steps=st.integers(1, 40), shade=st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_a_soft_mask_frees_a_cell_for_its_part_of_the_steps(steps: int, shade: int) -> None:
    """As differential diffusion's own code has it: kept where 1 - strength is above step / steps."""
    strengths = torch.full((1, 2, 2), shade / 255)
    free = soft(strengths)
    found = [bool(free(Moment(1.0, step, steps)).all()) for step in range(steps)]
    assert found == [not (255 - shade) * steps > 255 * step for step in range(steps)]
    assert found == sorted(found) and sum(found) == math.floor(shade * steps / 255 + 1e-9)
    assert bool(hard(strengths)(Moment(1.0, 0, steps)).all()) is (shade > 0)


def test_soft_inpainting_changes_more_where_the_mask_is_brighter() -> None:
    picture = coloured(64, 32)
    picture[:3] = 0
    mask = torch.linspace(0, 1, 8).repeat_interleave(8).expand(32, 64)
    engine = Engine(predict=lambda row: torch.full_like(row.x, 1.0) * (0.5 if row.at.step < 2 else 1))
    result = made(replace(INPAINT, soft=True, mask_blur=0, steps=8, strength=1.0), Given(picture=picture, mask=mask), engine)
    columns = result.pixels.mean(dim=(0, 1))
    assert float(columns[0]) == 0 and bool((columns.diff() > -1e-6).all()) and float(columns[-1]) > 0.9
    strengths = cells(mask, FACTOR)
    fresh = noise.initial(INPAINT.seed, (4, 4, 8))
    for row in engine.rows:
        kept = (strengths * 8 < 8 - row.at.step - 1e-3).expand(4, -1, -1)
        assert torch.allclose(row.x[kept], -1 + (fresh * row.at.sigma)[kept], atol=1e-3)


# --- the masked part alone, and more than there was -----------------------------------------------------------------------------


def test_only_the_masked_part_is_drawn_enlarged_to_the_size() -> None:
    picture, mask = coloured(200, 100), rectangle(200, 100, (150, 40, 170, 60))
    engine = Engine(predict=lambda row: torch.full_like(row.x, 0.25))
    wanted = replace(INPAINT, area=ONLY_MASKED, width=96, height=64, padding=10, mask_blur=0)
    result = made(wanted, Given(picture=picture, mask=mask), engine)
    assert result.pixels.shape == (3, 100, 200) and engine.rows[0].x.shape == (4, 8, 12)
    assert torch.allclose(result.pixels[:, mask == 1], torch.tensor(0.625), atol=1e-4)
    assert torch.equal(in_bytes(result.pixels)[:, mask == 0], picture[:3, mask == 0])
    (ask,) = engine.of(EncodePicture)
    inner = ask.picture[:, 24:40, 36:60]  # 60 x 40 pixels around 160, 50, at 1.6 times their size
    shown = unit(picture[:3])[:, 45:55, 152:168]
    assert torch.allclose(inner.mean(dim=(1, 2)), shown.mean(dim=(1, 2)), atol=0.05)


def test_a_part_of_another_shape_than_the_size_is_not_distorted() -> None:
    picture = coloured(200, 20)
    engine = Engine()
    wanted = replace(INPAINT, area=ONLY_MASKED, width=64, height=64, padding=0, mask_blur=0)
    made(wanted, Given(picture=picture, mask=rectangle(200, 20, (50, 0, 114, 20))), engine)
    (ask,) = engine.of(EncodePicture)
    assert torch.equal(ask.picture[:, 22:42], unit(picture[:3])[:, :, 50:114])
    assert torch.equal(ask.picture[:, 0], ask.picture[:, 22]) and torch.equal(ask.picture[:, -1], ask.picture[:, 41])


@given(
    sides=st.tuples(*[st.integers(0, 40)] * 4), area=st.sampled_from([WHOLE, ONLY_MASKED]), blur=st.integers(0, 6),
    content=CONTENTS,
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_outpainting_adds_pixels_and_keeps_the_picture(
    sides: tuple[int, int, int, int], area: str, blur: int, content: str
) -> None:
    left, right, top, bottom = sides
    picture, engine = coloured(64, 32), Engine(predict=lambda row: torch.full_like(row.x, 0.25))
    wanted = replace(
        INPAINT, area=area, mask_blur=blur, masked_content=content, outpaint_left=left, outpaint_right=right, outpaint_top=top,
        outpaint_bottom=bottom, strength=1.0,
    )  # fmt: skip
    result = made(wanted, Given(picture=picture), engine)
    assert result.pixels.shape == (3, 32 + top + bottom, 64 + left + right)
    reach = int(2.5 * blur + 0.5) if blur else 0
    inside = torch.zeros(result.pixels.shape[-2:], dtype=torch.bool)
    inside[top : top + 32, left : left + 64] = True
    edges = [reach * (side > 0) for side in (top, bottom, left, right)]
    own = torch.zeros_like(inside)
    own[top + edges[0] : top + 32 - edges[1], left + edges[2] : left + 64 - edges[3]] = True
    own &= inside
    expected = torch.zeros(3, *inside.shape, dtype=torch.uint8)
    expected[:, inside] = picture[:3].flatten(1)
    assert torch.equal(in_bytes(result.pixels)[:, own], expected[:, own])
    far = torch.ones_like(inside)
    far[max(top - reach, 0) : top + 32 + reach, max(left - reach, 0) : left + 64 + reach] = False
    resampled = 0.1 if area == ONLY_MASKED else 1e-3  # with pixels of the picture beside it
    assert torch.allclose(result.pixels[:, far], torch.tensor(0.625), atol=resampled)


# --- models made for it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_soft", [False, True])
def test_an_inpainting_model_is_shown_the_mask_and_the_picture_without_what_is_masked(is_soft: bool) -> None:
    picture, mask, engine = coloured(64, 32), rectangle(64, 32, (16, 8, 48, 24)), Engine()
    wanted = replace(INPAINT, soft=is_soft, mask_blur=0)
    made(wanted, Given(picture=picture, mask=mask), engine, with_channels(9))
    without = torch.where(mask > 0, 0.5, unit(picture[:3]))
    for row in engine.rows:
        assert torch.equal(row.channels, torch.cat([cells(mask, FACTOR), encoded(without)]))
    clean = encoded(unit(picture[:3])) + noise.initial(wanted.seed, (4, 4, 8)) * engine.rows[-1].at.sigma
    outside = (cells(mask, FACTOR) == 0).expand(4, -1, -1)
    assert torch.allclose(engine.rows[-1].x[outside], clean[outside], atol=1e-3) is is_soft


@pytest.mark.parametrize("task", ["txt2img", "img2img"])
def test_an_inpainting_model_draws_whole_pictures_too(task: str) -> None:
    engine = Engine()
    made(replace(REQUEST, task=task), Given(picture=coloured(64, 32)), engine, with_channels(9))
    nothing = torch.full((3, 32, 64), 0.5)
    for row in engine.rows:
        assert torch.equal(row.channels, torch.cat([torch.ones(1, 4, 8), encoded(nothing)]))
