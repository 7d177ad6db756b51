"""What texts become for a network: windows for each tower, SDXL's sizes in their order, no text at all, guidance as an input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers.models.embeddings import get_timestep_embedding
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.tiny_checkpoint import MERGES, SPEC
from webui.errors import UserError
from webui.nets.spec import ModelSpec
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.conditioning import conditionings
from webui.pipeline.generate import Model, generate
from webui.pipeline.guidance import distilled, plain_row
from webui.pipeline.patches import NO_PATCHES
from webui.pipeline.protocol import Conditioning, Decode, Encode, Moment, Rows, answer_all
from webui.pipeline.texts import Part, Texts, constant
from webui.request import Request

TOKENIZER = Tokenizer(MERGES)
START = Moment(14.6, 0, 3)
POOLED = 8
BASE, REFINER = POOLED + 6 * 256, POOLED + 5 * 256
REQUEST = Request(
    model="m", prompt="ab", negative="b", steps=3, sampler="Euler", schedule="Karras", scale=2.0, seed=5, width=64, height=32
)  # fmt: skip


def told(label_width: int | None) -> ModelSpec:
    """A model that is told sizes, with two towers that pad differently."""
    first = SPEC.text[0]
    towers = (replace(first, padding=TOKENIZER.end), replace(first, padding=0))
    return replace(SPEC, unet=replace(SPEC.unet, label_width=label_width), text=towers)


def model(label_width: int | None = BASE) -> Model:
    return Model(name="m", spec=told(label_width), tokenizers=(TOKENIZER, TOKENIZER))


def encoded(ask: Encode) -> Conditioning:
    """A conditioning that tells which text it is of."""
    number = float(sum(sum(chunk.ids) for chunk in ask.chunks[0]))
    return Conditioning(torch.full((77 * len(ask.chunks[0]), 4), number), torch.full((POOLED,), number), key=f"text {number}")


def run(request: Request, known: Model) -> tuple[tuple[Conditioning, Conditioning], list[Encode]]:
    """What prompt and negative prompt mean at the first step, and what was asked."""
    asked: list[Encode] = []

    def answer(ask: Any) -> Conditioning:
        asked.append(ask)
        return encoded(ask)

    texts: Texts = answer_all(conditionings(request, known, NO_PATCHES), answer)
    return (texts.parts[0].at(START), texts.negative(START)), asked


def embedded(*numbers: float) -> Tensor:
    """The same numbers by diffusers."""
    return get_timestep_embedding(torch.tensor(numbers), 256, flip_sin_to_cos=True, downscale_freq_shift=0).flatten()


def test_the_base_is_told_original_crop_and_target_height_first() -> None:
    (cond, uncond), asked = run(REQUEST, model())
    for found, ask in ((cond, asked[0]), (uncond, asked[1])):
        assert found.vector is not None
        assert torch.equal(found.vector[:POOLED], encoded(ask).vector)  # type: ignore[arg-type]
        torch.testing.assert_close(found.vector[POOLED:], embedded(32, 64, 0, 0, 32, 64), rtol=0, atol=1e-6)


def test_the_refiner_is_told_a_good_score_and_beside_the_negative_prompt_a_bad_one() -> None:
    (cond, uncond), _ = run(REQUEST, model(REFINER))
    assert cond.vector is not None and uncond.vector is not None
    torch.testing.assert_close(cond.vector[POOLED:], embedded(32, 64, 0, 0, 6.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(uncond.vector[POOLED:], embedded(32, 64, 0, 0, 2.5), rtol=0, atol=1e-6)


def test_each_tower_gets_the_same_text_with_its_own_padding() -> None:
    _, asked = run(REQUEST, model())
    for ask in asked:
        first, second = (chunks[0].ids for chunks in ask.chunks)
        end = first.index(TOKENIZER.end) + 1
        assert first[:end] == second[:end] and set(first[end:]) == {TOKENIZER.end} and set(second[end:]) == {0}


def test_an_empty_negative_prompt_is_no_text_for_sdxl_and_the_empty_text_for_others() -> None:
    for negative in ("", "  \n"):
        (cond, uncond), asked = run(replace(REQUEST, negative=negative), model())
        assert len(asked) == 1 and uncond.tokens.shape == cond.tokens.shape and not uncond.tokens.any()
        assert uncond.vector is not None and not uncond.vector[:POOLED].any() and uncond.vector[POOLED:].any()
        (_, uncond), asked = run(replace(REQUEST, negative=negative), model(None))
        assert len(asked) == 2 and uncond.tokens.any()
    (cond, _), asked = run(replace(REQUEST, prompt=""), model())
    assert len(asked) == 2 and cond.tokens.any()  # an empty prompt is a text, as it always was


def test_an_empty_part_of_a_prompt_is_a_text() -> None:
    asked: list[Encode] = []

    def answer(ask: Any) -> Conditioning:
        asked.append(ask)
        return encoded(ask)

    texts: Texts = answer_all(conditionings(replace(REQUEST, prompt="a AND ", negative=""), model(), NO_PATCHES), answer)
    assert len(asked) == 2 and texts.parts[1].at(START).tokens.any() and not texts.negative(START).tokens.any()


@given(width=st.integers(8, 300), height=st.integers(8, 300))
@settings(max_examples=20, deadline=None)
def test_other_sizes_are_another_conditioning(width: int, height: int) -> None:
    (first, _), _ = run(REQUEST, model())
    (second, _), _ = run(replace(REQUEST, width=width * 8, height=height * 8), model())
    same = (width * 8, height * 8) == (REQUEST.width, REQUEST.height)
    assert (first.key == second.key) is same and torch.equal(first.vector, second.vector) is same  # type: ignore[arg-type]


def test_numbers_that_nobody_knows_are_refused() -> None:
    with pytest.raises(UserError, match=r"'m' wants 1024 numbers .* 1536 and 1280"):
        run(REQUEST, model(POOLED + 4 * 256))


def test_models_without_a_vector_get_none_added() -> None:
    (cond, _), _ = run(REQUEST, model(None))
    assert cond.vector is not None and len(cond.vector) == POOLED  # as the engine sent it


def asked_rows(scale: float, guidance_width: int | None) -> list[Any]:
    """The rows of a whole generation."""
    spec = replace(SPEC, unet=replace(SPEC.unet, guidance_width=guidance_width))
    found = []

    def answer(ask: Any) -> Any:
        match ask:
            case Encode():
                return encoded(ask)
            case Rows():
                found.extend(ask.rows)
                return tuple(torch.zeros_like(row.x) for row in ask.rows)
            case Decode():
                return ask.latent[:3]

    answer_all(generate(replace(REQUEST, scale=scale), Model(name="m", spec=spec, tokenizers=(TOKENIZER,))), answer)
    return found


@pytest.mark.parametrize("scale", [0.0, 1.0, 7.5])
def test_a_distilled_model_gets_one_row_a_step_with_the_scale_as_its_input(scale: float) -> None:
    rows = asked_rows(scale, 32)
    assert [(row.role, row.guidance) for row in rows] == [("cond", scale)] * REQUEST.steps
    assert {row.guidance for row in asked_rows(scale, None)} == {None}


def test_a_distilled_answer_is_the_network_s_own() -> None:
    def answer(ask: Any) -> tuple[Tensor, ...]:
        (row,) = ask.rows
        return (row.x + row.guidance,)

    cond = constant(encoded(run(REQUEST, model())[1][0]))
    denoise = distilled(Texts(parts=(Part(course=cond),), course=cond), 4.0, plain_row())
    assert torch.equal(answer_all(denoise(torch.ones(2), Moment(1.0, 0, 1)), answer), torch.full((2,), 5.0))


@pytest.mark.parametrize(
    "prompt", [" ".join(["[a|b|c|ab|ba|bc|cb|ca]"] + ["abc"] * 70), " AND ".join([" ".join(["abc"] * 80)] + ["b"] * 15)]
)
def test_texts_that_would_take_all_memory_are_refused(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alternation in twenty thousand characters is a text of its own in each of 150 steps, of hundreds of megabytes each."""
    long = replace(REQUEST, prompt=prompt, steps=30)
    run(long, model())
    monkeypatch.setattr("webui.pipeline.conditioning.MOST_NUMBERS", 10 * 77 * 4)
    with pytest.raises(UserError, match="Use shorter ones, fewer changes or fewer parts"):
        run(long, model())
    run(replace(REQUEST, steps=30), model())
