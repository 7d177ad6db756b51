"""Pictures from pictures with everything else there is: a refiner, distilled models, SDXL's sizes, zero-terminal SNR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.pipeline.answering import FACTOR, MODEL, REQUEST, SPEC, Engine, coloured, made, with_channels
from tests.pipeline.test_conditioning import POOLED, embedded, encoded, model
from webui.pipeline.given import Given
from webui.pipeline.masks import cells
from webui.pipeline.noise_table import NoiseTable
from webui.pipeline.protocol import Encode, EncodePicture
from webui.pipeline.refiner import is_over
from webui.tasks import ONLY_MASKED

MASK = torch.zeros(32, 64)
MASK[8:24, 16:48] = 1
GIVEN = Given(picture=coloured(64, 32), mask=MASK)
TASKS = ["img2img", "inpaint"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("strength", [0.3, 0.7])
def test_a_refiner_takes_over_at_its_noise_level_whatever_the_strength(task: str, strength: float) -> None:
    engine, refiner = Engine(), replace(MODEL, name="second")
    wanted = replace(REQUEST, task=task, strength=strength, steps=20, schedule="Uniform", refiner_switch_at=0.8)
    made(wanted, GIVEN, engine, refiner=refiner)
    over = is_over(NoiseTable.from_spec(SPEC), 0.8)
    assert [row.network for row in engine.rows] == ["second" if over(row.at) else "m" for row in engine.rows]
    assert {row.network for row in engine.rows} == {"m", "second"}


def test_each_of_two_models_is_shown_what_it_takes() -> None:
    wanted = replace(REQUEST, task="inpaint", strength=0.9, steps=10, schedule="Uniform", refiner_switch_at=0.5)
    engine, refiner = Engine(), replace(with_channels(5, no_map=0.5), name="second")
    made(wanted, GIVEN, engine, with_channels(9), refiner=refiner)
    shown = {row.network: row.channels for row in engine.rows}
    assert torch.equal(shown["m"][:1], cells(MASK, FACTOR)) and len(shown["m"]) == 5
    assert torch.equal(shown["second"], torch.full((1, 4, 8), 0.5))
    assert {ask.network for ask in engine.of(EncodePicture)} == {"m"}  # both read the same latents


@pytest.mark.parametrize("task", TASKS)
def test_a_distilled_model_gets_one_row_a_step_and_what_it_takes_beside(task: str) -> None:
    plain = with_channels(9)
    spec = replace(plain.spec, unet=replace(plain.spec.unet, guidance_width=8))
    engine = Engine()
    made(replace(REQUEST, task=task, scale=1.5), GIVEN, engine, replace(plain, spec=spec))
    assert {row.guidance for row in engine.rows} == {1.5} and all(len(row.channels) == 5 for row in engine.rows)


class WithTexts(Engine):
    """The stand-in, with texts as SDXL's towers give them."""

    def answer(self, ask: Any) -> Any:
        return encoded(ask) if isinstance(ask, Encode) else super().answer(ask)


def test_sdxl_is_told_the_size_of_what_is_drawn() -> None:
    wanted = replace(REQUEST, task="inpaint", area=ONLY_MASKED, width=96, height=40)
    engine = WithTexts()
    made(wanted, Given(picture=coloured(300, 200), mask=torch.ones(200, 300)), engine, model())
    vector: Tensor = engine.rows[0].conditioning.vector  # type: ignore[assignment]
    torch.testing.assert_close(vector[POOLED:], embedded(40, 96, 0, 0, 40, 96), rtol=0, atol=1e-6)
    engine = WithTexts()
    made(replace(wanted, area="Whole picture", outpaint_left=32, width=90), GIVEN, engine, model())
    vector = engine.rows[0].conditioning.vector  # type: ignore[assignment]
    torch.testing.assert_close(vector[POOLED:], embedded(40, 128, 0, 0, 40, 128), rtol=0, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M", "Heun", "DDIM"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_models_that_end_in_pure_noise_give_numbers(task: str, sampler: str, strength: float) -> None:
    zero = replace(MODEL, spec=replace(SPEC, zero_terminal_snr=True))
    result = made(replace(REQUEST, task=task, sampler=sampler, schedule="DDIM", strength=strength), GIVEN, model=zero)
    assert bool(result.pixels.isfinite().all()) and float(result.pixels.std()) > 0.05
    assert result.latent is not None and bool(result.latent.isfinite().all())
