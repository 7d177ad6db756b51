"""Pictures from pictures: what a strength leaves, which sizes are worked at, loops, and what is asked again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.answering import MODEL, REQUEST, Engine, coloured, encoded, in_bytes, made, with_channels
from webui.engine.contents import digest
from webui.errors import UserError
from webui.pipeline import noise
from webui.pipeline.generate import generate
from webui.pipeline.given import Given
from webui.pipeline.pictures import Fit, opaque, unit, whole_cells
from webui.pipeline.protocol import Call, Decode, Encode, EncodePicture, Interrupted, Read, Rows, Step
from webui.request import Request
from webui.tasks import A1111, CROP, DIFFUSERS, FILL, LATENT, STRETCH

SIDE = st.integers(16, 70)
MODE = st.sampled_from([STRETCH, CROP, FILL, LATENT])
IMG2IMG = replace(REQUEST, task="img2img")


@given(own_width=SIDE, own_height=SIDE, width=SIDE, height=SIDE, mode=MODE, loops=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_at_strength_0_the_fitted_picture_is_the_result_and_nothing_is_asked(
    own_width: int, own_height: int, width: int, height: int, mode: str, loops: int
) -> None:
    engine, picture = Engine(), coloured(own_width, own_height, alpha=200)
    wanted = replace(IMG2IMG, strength=0.0, width=width, height=height, resize_mode=mode, loops=loops)
    found = in_bytes(made(wanted, Given(picture=picture), engine).pixels)
    assert torch.equal(found, Fit.of(mode, width, height, own_width, own_height)(opaque(picture))) and not engine.asks
    if (own_width, own_height) == (width, height):
        assert torch.equal(found, opaque(picture))


@given(
    width=SIDE, height=SIDE, sampler=st.sampled_from(["Euler", "Euler a", "DPM++ 2M", "Heun", "DDIM"]), mode=MODE,
    convention=st.sampled_from([A1111, DIFFUSERS]), every=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_at_strength_1_it_is_txt2img(width: int, height: int, sampler: str, mode: str, convention: str, every: bool) -> None:
    plain = replace(REQUEST, width=width, height=height, sampler=sampler, strength=1.0)
    wanted = replace(plain, task="img2img", resize_mode=mode, convention=convention, all_steps=every)
    engine = Engine(predict=lambda row: row.x * 0.1)
    found = made(wanted, Given(picture=coloured(30, 40)), engine)
    expected = made(plain, engine=Engine(predict=lambda row: row.x * 0.1))
    assert torch.equal(found.pixels, expected.pixels) and torch.equal(found.latent, expected.latent)
    assert not engine.of(EncodePicture) and found.pixels.shape == (3, height, width)


@given(width=SIDE, height=SIDE, percent=st.integers(1, 99), mode=st.sampled_from([STRETCH, CROP, FILL]))
@settings(max_examples=40, deadline=None)
def test_it_works_at_whole_cells_and_returns_the_size_asked_for(width: int, height: int, percent: int, mode: str) -> None:
    engine, picture = Engine(), coloured(50, 40)
    wanted = replace(IMG2IMG, width=width, height=height, strength=percent / 100, resize_mode=mode)
    found = made(wanted, Given(picture=picture), engine)
    assert found.pixels.shape == (3, height, width)
    (ask,) = engine.of(EncodePicture)
    fitted = unit(Fit.of(mode, width, height, 50, 40)(picture[:3]))
    assert torch.equal(ask.picture, whole_cells(fitted, 8))
    start = engine.rows[0]
    unit_noise = noise.initial(wanted.seed, tuple(start.x.shape))
    assert torch.allclose(start.x, encoded(ask.picture) + unit_noise * start.at.sigma, atol=1e-5)


def test_a_latent_may_be_resized_instead_of_the_picture() -> None:
    engine = Engine()
    found = made(replace(IMG2IMG, resize_mode=LATENT, width=96, height=80), Given(picture=coloured(45, 33)), engine)
    (ask,) = engine.of(EncodePicture)
    assert ask.picture.shape == (3, 40, 48) and engine.rows[0].x.shape == (4, 10, 12) and found.pixels.shape == (3, 80, 96)


def test_transparent_pixels_are_white_and_a_drawing_counts() -> None:
    picture, sketch = coloured(64, 32, alpha=0), torch.zeros(4, 32, 64, dtype=torch.uint8)
    sketch[:, :16, :32] = torch.tensor([255, 0, 0, 255], dtype=torch.uint8)[:, None, None]
    engine = Engine()
    made(IMG2IMG, Given(picture=picture, sketch=sketch), engine)
    (ask,) = engine.of(EncodePicture)
    assert ask.picture[:, 0, 0].tolist() == [1, 0, 0] and ask.picture[:, -1, -1].tolist() == [1, 1, 1]


def test_without_a_picture_there_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no picture"):
        made(IMG2IMG)


@pytest.mark.parametrize("prompts", [("", "ab"), ("", "")])
def test_a_prompt_is_not_needed(prompts: tuple[str, str]) -> None:
    prompt, negative = prompts
    assert made(replace(IMG2IMG, prompt=prompt, negative=negative), Given(picture=coloured(20, 20))).pixels.isfinite().all()


# --- loops ----------------------------------------------------------------------------------------------------------------------


def test_each_loop_begins_with_the_result_before_and_noise_of_its_own() -> None:
    engine = Engine()
    made(replace(IMG2IMG, loops=3, width=60), Given(picture=coloured(60, 32)), engine)
    kinds = [type(ask) for ask in engine.asks if not isinstance(ask, (Encode, Rows))]
    assert kinds == [EncodePicture, Decode] * 3
    starts = [row for row in engine.rows if row.at.step == 0]
    pictures = [ask.picture for ask in engine.of(EncodePicture)]
    for loop, (row, picture) in enumerate(zip(starts, pictures, strict=True)):
        fresh = noise.initial(IMG2IMG.seed + loop, tuple(row.x.shape))
        assert torch.allclose(row.x, encoded(picture) + fresh * row.at.sigma, atol=1e-5)
    decoded = engine.answer(engine.of(Decode)[0])[..., :60]
    assert torch.equal(pictures[1][..., :60], decoded)


@given(loops=st.integers(1, 4), percent=st.integers(1, 100))
@settings(max_examples=20, deadline=None)
def test_the_steps_of_all_loops_are_told_as_one_row(loops: int, percent: int) -> None:
    engine = Engine()
    made(replace(IMG2IMG, loops=loops, strength=percent / 100, steps=10), Given(picture=coloured(20, 20)), engine)
    assert [step.at.step for step in engine.steps] == list(range(len(engine.rows)))
    assert {step.at.steps for step in engine.steps} == {len(engine.rows)}


@pytest.mark.parametrize("stop_at", [0, 3, 4, 7])
def test_an_interrupt_in_a_loop_keeps_what_there_is(stop_at: int) -> None:
    wanted = replace(IMG2IMG, loops=4, strength=0.99)
    engine, generation, sent = Engine(), generate(replace(wanted), MODEL, given=Given(picture=coloured(64, 32))), None
    stopped = False
    while True:
        try:
            ask = generation.send(sent)
        except StopIteration as end:
            picture = end.value
            break
        if isinstance(ask, Step) and ask.at.step == stop_at:
            ask, stopped = generation.throw(Interrupted(ask.denoised)), True
        assert not (stopped and isinstance(ask, Rows))
        sent = None if isinstance(ask, Step) else engine.answer(ask)
    assert stopped and picture.pixels.shape == (3, 32, 64)
    assert len(engine.of(Rows)) == stop_at + 1 and len(engine.of(Decode)) == stop_at // 4 + 1


def test_an_interrupt_while_the_texts_of_a_later_loop_are_read_keeps_the_loop_before() -> None:
    engine, generation, sent = Engine(), generate(replace(IMG2IMG, loops=2), MODEL, given=Given(picture=coloured(64, 32))), None
    while True:
        ask = generation.send(sent)
        if isinstance(ask, Encode) and engine.of(Decode):
            break
        sent = None if isinstance(ask, Step) else engine.answer(ask)
    with pytest.raises(StopIteration) as end:
        generation.throw(Interrupted(torch.zeros(4, 4, 8)))
    assert end.value.value.pixels.shape == (3, 32, 64)


# --- where and how often --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["img2img", "depth", "inpaint"])
def test_the_state_stays_where_the_answers_come_from(task: str) -> None:
    model = with_channels(5 if task == "depth" else 4)
    engine = Engine(device="meta", predict=lambda row: torch.zeros_like(row.x))
    mask = torch.zeros(32, 64)
    mask[4:20, 8:30] = 1
    generation = generate(
        replace(REQUEST, task=task), model, device="meta", given=Given(picture=coloured(64, 32), mask=mask, depth=mask)
    )
    sent: Any = None
    while not isinstance(ask := generation.send(sent), Decode):
        sent = None if isinstance(ask, Step) else engine.answer(ask)
    assert ask.latent.device.type == "meta" and {row.x.device.type for row in engine.rows} == {"meta"}
    assert all(row.channels is None or row.channels.device.type == "meta" for row in engine.rows)


def contents(engine: Engine, kind: type) -> set[object]:
    """What was asked of one kind, by content: an engine that keeps answers computes each once."""
    if kind is EncodePicture:
        return {digest(ask.picture) for ask in engine.of(kind)}
    if kind is Call:
        return {digest(ask.inputs["picture"]) for ask in engine.of(kind)}
    return {ask.chunks for ask in engine.of(kind)}


def asked(request: Request, **more: Any) -> Engine:
    engine, mask = Engine(), torch.zeros(32, 64)
    mask[4:20, 8:30] = 1
    made(request, Given(picture=coloured(64, 32), mask=mask), engine, **more)
    return engine


def test_what_did_not_change_is_asked_with_equal_tensors() -> None:
    before = asked(replace(REQUEST, task="inpaint"))
    prompt = asked(replace(REQUEST, task="inpaint", prompt="ba", seed=9))
    assert contents(prompt, EncodePicture) == contents(before, EncodePicture)
    assert contents(prompt, Encode) != contents(before, Encode)
    blur = asked(replace(REQUEST, task="inpaint", mask_blur=9))
    assert contents(blur, Encode) == contents(before, Encode) and contents(blur, EncodePicture) == contents(before, EncodePicture)
    filled = asked(replace(REQUEST, task="inpaint", masked_content="fill"))
    assert contents(filled, EncodePicture) != contents(before, EncodePicture)
    model = with_channels(5)
    weak = asked(replace(REQUEST, task="depth"), model=model, estimator="depth:a")
    strong = asked(replace(REQUEST, task="depth", strength=0.9, prompt="ba"), model=model, estimator="depth:a")
    assert contents(weak, Call) == contents(strong, Call) and len(contents(weak, Call)) == 1
    assert contents(weak, EncodePicture) == contents(strong, EncodePicture)


def test_pictures_stay_where_they_were_decoded_unless_they_are_put_together() -> None:
    assert not asked(replace(REQUEST, task="img2img")).of(Read)
    assert len(asked(replace(REQUEST, task="inpaint")).of(Read)) == 1
