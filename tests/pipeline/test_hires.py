"""A picture drawn small, enlarged and drawn on: what the second pass begins with, whose it is, and what an interruption keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from tests.pipeline.answering import FACTOR, MODEL, REQUEST, Engine, decoded, encoded, in_bytes, settled, with_channels
from tests.pipeline.test_upscale import times
from webui.errors import Stopped, UserError
from webui.pipeline.brownian import Path
from webui.pipeline.generate import Model, Picture, generate
from webui.pipeline.given import Given
from webui.pipeline.hires import enlarged_picture, resized_latent
from webui.pipeline.noise import Seeds
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.pictures import unit
from webui.pipeline.protocol import Call, Decode, Encode, EncodePicture, Interrupted, Row, Rows, Step
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.pipeline.strength import way
from webui.request import Request
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST

FIRST = replace(REQUEST, strength=1.0)
WIDTH, HEIGHT = FIRST.width, FIRST.height
OTHER = replace(MODEL, name="other")
NETWORK = "upscaler:x"


def twice(first: Request = FIRST, **own: Any) -> Request:
    """The request with a second pass twice as large by the latent alone, as far as nothing else is said."""
    sides = {"full_width": 2 * WIDTH, "full_height": 2 * HEIGHT}
    plain = {
        "upscaler": "Latent", "upscaler_hash": "", "scale_by": 2.0, "to_width": None, "to_height": None, "steps": first.steps,
        "strength": 0.6, "sampler": first.sampler, "schedule": first.schedule, "sampler_options": {}, "scale": first.scale,
        "prompt": "", "negative": "", "model": "", "model_hash": "", "override": {},
    }  # fmt: skip
    given = {"width": own.get("full_width", 2 * WIDTH), "height": own.get("full_height", 2 * HEIGHT)}
    return replace(first, hires=plain | sides | given | own)


def made(request: Request, engine: Engine, model: Model = MODEL, **more: Any) -> Picture:
    """The picture, by the upscaler that the request names."""
    upscaler = more.pop("upscaler", request.hires.get("upscaler", ""))
    return engine.run(generate(request, model, device=engine.device, upscaler=upscaler, **more))


def noise(seed: int, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def begins(request: Request, clean: Tensor) -> Tensor:
    """The state of the second pass before its first step: the clean latent under the fresh noise of the same seed."""
    second = request.second()
    path = way(second, SAMPLERS[second.sampler], SCHEDULES[second.schedule], NoiseTable.from_spec(MODEL.spec))
    return clean + path.noised * noise(request.seed, clean.shape)


def second_rows(engine: Engine, request: Request) -> list[Row]:
    """The first row of each step of the second pass."""
    return engine.rows[request.steps :]


# --- what it begins with --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LATENT_UPSCALES)
def test_latents_are_resized_as_torch_does_and_noised_by_the_same_seed(name: str) -> None:
    mode, antialias = LATENT_UPSCALES[name]
    request, engine = twice(upscaler=name, full_width=104, full_height=56), Engine()
    result = made(request, engine)
    assert not engine.of(EncodePicture) and len(engine.of(Decode)) == 1, "nothing is decoded in between"
    small = made(FIRST, Engine()).latent
    assert small is not None
    large = interpolate(small[None], size=(7, 13), mode=mode, antialias=antialias)[0]
    rows = second_rows(engine, request)
    assert torch.allclose(rows[0].x, begins(request, large), atol=1e-5) and result.pixels.shape == (3, 56, 104)


def test_modes_differ() -> None:
    latent = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0))
    smaller = {resized_latent(latent, 4, 4, name).numpy().tobytes() for name in LATENT_UPSCALES}
    assert len(smaller) == len(LATENT_UPSCALES)


@settings(deadline=None, max_examples=20)
@given(sampler=st.sampled_from(sorted(SAMPLERS)), strength=st.integers(1, 99), steps=st.integers(1, 8))
def test_at_scale_1_it_is_img2img_of_the_first_latent(sampler: str, strength: int, steps: int) -> None:
    own = {"sampler": sampler, "schedule": "Karras", "steps": steps, "strength": strength / 100}
    request = twice(full_width=WIDTH, full_height=HEIGHT, **own)
    picture = made(request, Engine())
    first = made(FIRST, Engine()).latent

    class Same(Engine):
        def answer(self, ask: Any) -> Any:
            return first if isinstance(ask, EncodePicture) else super().answer(ask)

    wanted = replace(FIRST, task="img2img", all_steps=True, **own)
    blank = torch.zeros(4, HEIGHT, WIDTH, dtype=torch.uint8)
    alone = Same().run(generate(wanted, MODEL, given=Given(picture=blank)))
    assert picture.latent is not None and torch.equal(picture.latent, alone.latent)


def test_brownian_noise_is_of_a_path_over_the_whole_schedule_though_its_end_alone_is_gone() -> None:
    """So A1111 has it, in the second pass and in img2img."""
    table, schedule = NoiseTable.from_spec(MODEL.spec), SCHEDULES["Karras"]
    request = twice(sampler="DPM++ 2M SDE", schedule="Karras", strength=0.5, steps=6)
    engine = Engine()
    made(request, engine)
    whole = schedule(12, table)
    here, there = second_rows(engine, request)[:2]
    assert here.at.sigma == whole[6] and there.at.sigma == whole[7]
    clean, h = settled(here), math.log(whole[6] / whole[7])
    fresh = there.x - clean - (here.x - clean) * math.exp(-2 * h)
    path = Path(Seeds(request.seed), tuple(here.x.shape), whole[-2], whole[0])
    expected = path.noise(whole[6], whole[7]) * whole[7] * math.sqrt(-math.expm1(-2 * h))
    assert torch.allclose(fresh, expected, atol=1e-5)


def test_the_whole_strength_still_has_the_picture_under_its_noise() -> None:
    request, engine = twice(strength=1.0), Engine()
    made(request, engine)
    (row, *_), sigma = second_rows(engine, request), SCHEDULES["Karras"](4, NoiseTable.from_spec(MODEL.spec))[0]
    clean = row.x - sigma * noise(FIRST.seed, row.x.shape)
    small = made(FIRST, Engine()).latent
    assert small is not None
    assert torch.allclose(clean, interpolate(small[None], scale_factor=2.0, mode="bilinear")[0], atol=1e-4)


@pytest.mark.parametrize("upscaler", ["Latent (nearest)", NEAREST])
def test_at_strength_0_nothing_is_drawn_on(upscaler: str) -> None:
    request, engine = twice(strength=0.0, upscaler=upscaler), Engine()
    result = made(request, engine)
    assert len(engine.rows) == FIRST.steps
    small = made(FIRST, Engine()).pixels
    assert float((result.pixels - times(2, small)).abs().max()) < 1 / 255


@pytest.mark.parametrize(("name", "filter_"), [(LANCZOS, Image.Resampling.LANCZOS), (NEAREST, Image.Resampling.NEAREST)])
def test_a_filter_enlarges_the_picture_which_is_encoded_again(name: str, filter_: Image.Resampling) -> None:
    request, engine = twice(upscaler=name, full_width=107, full_height=60, width=104, height=56), Engine()
    made(request, engine)
    (ask,), small = engine.of(EncodePicture), in_bytes(made(FIRST, Engine()).pixels)
    theirs = Image.fromarray(small.permute(1, 2, 0).numpy()).resize((107, 60), filter_)
    expected = torch.frombuffer(bytearray(theirs.tobytes()), dtype=torch.uint8).view(60, 107, 3).permute(2, 0, 1)
    assert torch.equal(in_bytes(ask.picture), expected[:, :56, :104]), "whole cells of it"
    assert torch.allclose(second_rows(engine, request)[0].x, begins(request, encoded(ask.picture)), atol=1e-5)


def test_a_network_enlarges_tile_by_tile_what_is_decoded() -> None:
    engine = Engine(call=lambda tile: times(4, tile))
    request = twice(upscaler=NETWORK)
    result = made(request, engine)
    (call,), (ask,) = engine.of(Call), engine.of(EncodePicture)
    small = made(FIRST, Engine()).pixels
    assert call.network == NETWORK and torch.allclose(call.inputs["picture"], small, atol=0.5 / 255)
    assert ask.picture.shape == (3, 2 * HEIGHT, 2 * WIDTH) and result.pixels.shape == ask.picture.shape
    assert float((ask.picture - times(2, small)).abs().mean()) < 0.02


def test_what_is_beyond_the_size_is_cut_off_in_the_middle_of_the_latent() -> None:
    request, engine = twice(full_width=128, full_height=120, height=64), Engine()
    made(request, engine)
    small = made(FIRST, Engine()).latent
    assert small is not None
    large = interpolate(small[None], size=(15, 16), mode="bilinear")[0]
    assert torch.allclose(second_rows(engine, request)[0].x, begins(request, large[:, 3:11]), atol=1e-5)


# --- whose it is ----------------------------------------------------------------------------------------------------------------


def test_its_prompt_sampler_steps_scale_and_model_are_its_own() -> None:
    own = {"prompt": "ab ab", "steps": 3, "scale": 1.0, "sampler": "Heun", "model": "other", "upscaler": LANCZOS}
    engine, request = Engine(), twice(**own)
    made(request, engine, larger=OTHER)
    rows = second_rows(engine, request)
    texts = [(ask.network, len(ask.chunks)) for ask in engine.of(Encode)]
    assert {name for name, _ in texts[:2]} == {"m"} and {name for name, _ in texts[2:]} == {"other"} and len(texts) > 2
    assert {row.network for row in rows} == {"other"} and len(rows) == 3 * 2 - 1, "Heun's last step is one evaluation"
    assert {len(ask.rows) for ask in engine.of(Rows)[FIRST.steps :]} == {1} and {row.at.steps for row in rows} == {3}
    assert [ask.network for ask in engine.of(Decode)] == ["m", "other"]
    assert [ask.network for ask in engine.of(EncodePicture)] == ["other"]


def test_a_prompt_s_schedule_goes_on_from_the_first_pass() -> None:
    """A1111: steps are counted on, parts from 1 to 2 are those of the second pass, and a step is still before its own number."""
    engine = Engine()
    made(replace(twice(), prompt="[a:ab ab ab:6] [ab:a:1.25]"), engine)
    texts = [id(row.conditioning) for row in engine.rows]
    first, second = texts[: FIRST.steps], texts[FIRST.steps :]
    assert len(set(first)) == 1, "nothing is switched yet"
    assert [each == second[0] for each in second] == [True, True, False, False] and second[2] != second[3]


def test_models_with_other_latents_are_refused_before_the_first_step() -> None:
    spec = replace(OTHER.spec, vae=replace(OTHER.spec.vae, scale=0.5))
    with pytest.raises(UserError, match="cannot go on with the latents of 'm'"):
        made(twice(), Engine(), larger=replace(OTHER, spec=spec))


def test_a_refiner_takes_over_in_the_second_pass_alone() -> None:
    engine, request = Engine(), replace(twice(strength=0.9, schedule="Uniform", steps=10), refiner="other", refiner_switch_at=0.5)
    made(request, engine, refiner=OTHER)
    networks = [row.network for row in engine.rows]
    assert networks[: FIRST.steps] == ["m"] * FIRST.steps
    assert networks[FIRST.steps :] == sorted(networks[FIRST.steps :]) and set(networks[FIRST.steps :]) == {"m", "other"}
    assert engine.of(Decode)[-1].network == "m"


def test_an_inpainting_model_is_shown_that_all_is_masked_at_each_size() -> None:
    engine, request = Engine(), twice()
    made(request, engine, model=with_channels(9))
    assert [ask.picture.shape[-2:] for ask in engine.of(EncodePicture)] == [(HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH)]
    channels = [row.channels for row in engine.rows]
    assert all(each is not None and each.shape[-2:] == row.x.shape[-2:] for each, row in zip(channels, engine.rows, strict=True))


def test_another_autoencoder_is_that_of_both_passes() -> None:
    engine = Engine()
    made(twice(upscaler=LANCZOS), engine, vae="v")
    assert {ask.vae for kind in (Decode, EncodePicture) for ask in engine.of(kind)} == {"v"}


# --- what is told, and what an interruption keeps -------------------------------------------------------------------------------


@pytest.mark.parametrize(("upscaler", "between"), [("Latent", 0), (LANCZOS, 0), (NETWORK, 2)])
def test_steps_are_told_as_one_row(upscaler: str, between: int) -> None:
    first = replace(FIRST, width=300)
    engine, request = Engine(call=lambda tile: times(2, tile)), twice(first, upscaler=upscaler, full_width=600, steps=7)
    made(request, engine)
    total = FIRST.steps + between + 7
    assert [step.at.step for step in engine.steps] == list(range(total))
    assert {step.at.steps for step in engine.steps} == {total}
    assert {step.denoised.shape[0] for step in engine.steps} == {4}, "what is seen of tiles is the latent they are of"


@dataclass(eq=False)
class Stopping:
    """Throws an interruption at the ask number `at`, as the engine does: with the latent that was told last."""

    at: int
    engine: Engine = field(default_factory=lambda: Engine(call=lambda tile: times(2, tile)))
    told: Tensor | None = None
    passes: list[tuple[int, int]] = field(default_factory=list)

    def run(self, generation: Any) -> Picture:
        asked, sent, stopped = 0, None, False
        while True:
            try:
                ask = generation.send(sent)
                if asked == self.at and not stopped and isinstance(ask, (Rows, Encode, Call, Step)):
                    stopped = True
                    self.note(ask)
                    ask = generation.throw(Interrupted(self.told))
            except StopIteration as end:
                return end.value
            asked += 1
            assert not stopped or not isinstance(ask, (Rows, Encode, Call)), "no more work after it"
            self.note(ask)
            sent = None if isinstance(ask, Step) else self.engine.answer(ask)

    def note(self, ask: Any) -> None:
        if isinstance(ask, Step):
            self.told = ask.denoised
            self.passes.append(tuple(ask.denoised.shape[-2:]))


@pytest.mark.parametrize("upscaler", ["Latent", NETWORK])
def test_an_interruption_keeps_what_there_is(upscaler: str) -> None:
    def predict(row: Row) -> Tensor:
        return settled(row) * (1 + row.at.step)  # another one in every step

    request, small = twice(upscaler=upscaler), made(FIRST, Engine(predict=predict)).latent
    whole = Stopping(at=-1)
    whole.engine.predict = predict
    whole.run(generate(request, MODEL, upscaler=upscaler, larger=OTHER))
    kept = set()
    for at in range(len(whole.engine.asks) + 2 * FIRST.steps):
        stopping = Stopping(at=at)
        stopping.engine.predict = predict
        try:
            picture = stopping.run(generate(request, MODEL, upscaler=upscaler, larger=OTHER))
        except (Stopped, Interrupted):
            assert stopping.told is None
            continue
        assert picture.latent is not None
        large = (2 * HEIGHT // FACTOR, 2 * WIDTH // FACTOR)
        kept.add((tuple(picture.latent.shape[-2:]), len([size for size in stopping.passes if size == large]) > 0))
        if large in stopping.passes:
            assert picture.latent.shape[-2:] == large
        elif len(stopping.passes) >= FIRST.steps:
            assert small is not None and torch.allclose(picture.latent, small, atol=1e-5), "the first pass's picture, whole"
        else:
            assert torch.equal(picture.latent, stopping.told)
        assert torch.equal(picture.pixels, decoded(picture.latent))
        assert stopping.engine.of(Decode)[-1].network == ("other" if large in stopping.passes else "m")
    assert kept == {((HEIGHT // FACTOR, WIDTH // FACTOR), False), ((2 * HEIGHT // FACTOR, 2 * WIDTH // FACTOR), True)}


# --- edges that fit -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(name=st.sampled_from(sorted(LATENT_UPSCALES)), number=st.integers(1, 3), down=st.integers(0, 5), across=st.integers(0, 8))
def test_a_circular_latent_is_resized_alike_wherever_it_begins(name: str, number: int, down: int, across: int) -> None:
    latent = torch.randn(4, 6, 9, generator=torch.Generator().manual_seed(1))

    def large(given: Tensor) -> Tensor:
        return resized_latent(given, 6 * number, 9 * number, name, circular=True)

    moved = large(latent.roll((down, across), (-2, -1)))
    assert torch.allclose(moved, large(latent).roll((down * number, across * number), (-2, -1)), atol=1e-5)
    plain = resized_latent(latent, 6 * number, 9 * number, name)
    inside = slice(3 * number, 4 * number)
    assert torch.allclose(large(latent)[..., inside, inside], plain[..., inside, inside], atol=1e-5)


@pytest.mark.parametrize("upscaler", [LANCZOS, NEAREST, NETWORK])
def test_a_circular_picture_is_enlarged_alike_wherever_it_begins(upscaler: str) -> None:
    picture = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(2))

    def large(given: Tensor) -> Tensor:
        engine = Engine(call=lambda tile: interpolate(tile[None], scale_factor=2.0, mode="bilinear")[0])
        return engine.run(enlarged_picture(given, 96, 80, upscaler, circular=True))

    moved = large(picture.roll((7, 20), (-2, -1)))
    assert torch.allclose(moved, large(picture).roll((14, 40), (-2, -1)), atol=1.01 / 255)
    plain = Engine(call=lambda tile: interpolate(tile[None], scale_factor=2.0, mode="bilinear")[0]).run(
        enlarged_picture(picture, 96, 80, upscaler)
    )
    assert torch.allclose(large(picture)[:, 20:60, 20:70], plain[:, 20:60, 20:70], atol=1.01 / 255)
    assert torch.equal(in_bytes(unit(in_bytes(picture))), in_bytes(picture))


def test_a_smaller_size_needs_no_network() -> None:
    engine = Engine(call=lambda tile: times(2, tile))
    found = engine.run(enlarged_picture(torch.rand(3, 40, 48), 24, 20, NETWORK))
    assert found.shape == (3, 20, 24) and not engine.of(Call)
