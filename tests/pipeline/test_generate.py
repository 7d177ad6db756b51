"""The line from request to picture, guidance and windows, driven by answers that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.tiny_checkpoint import MERGES, SPEC
from webui.errors import Stopped
from webui.nets.tokenizer import Tokenizer
from webui.pipeline.generate import Model, generate
from webui.pipeline.guidance import guided, plain_row
from webui.pipeline.patches import Patches, WeightPatch
from webui.pipeline.protocol import Conditioning, Decode, Encode, Interrupted, Moment, Rows, Step, answer_all
from webui.pipeline.texts import Part, Texts, constant
from webui.request import Request

TOKENIZER = Tokenizer(MERGES)
MODEL = Model(name="m", spec=SPEC, tokenizers=(TOKENIZER,))
REQUEST = Request(model="m", prompt="ab", steps=3, sampler="Euler", schedule="Karras", scale=2.0, seed=5, width=64, height=32)


def conditioning(value: float) -> Conditioning:
    return Conditioning(torch.full((1, 1), value))


CASES = [(0, ["uncond"], 3.0), (1, ["cond"], 5.0), (4, ["cond", "uncond"], 11.0)]


@pytest.mark.parametrize(("scale", "roles", "expected"), CASES)
def test_guidance_asks_for_what_it_needs(scale: float, roles: list[str], expected: float) -> None:
    asked: list[str] = []

    def answer(ask: Any) -> tuple[Tensor, ...]:
        asked.extend(row.role for row in ask.rows)
        return tuple(row.conditioning.tokens[0] for row in ask.rows)

    texts = Texts(parts=(Part(course=constant(conditioning(5.0))),), course=constant(conditioning(3.0)))
    denoise = guided(texts, scale, plain_row())
    assert float(answer_all(denoise(torch.zeros(1), Moment(1.0, 0, 1)), answer)) == expected  # 3 + 4 * (5 - 3) = 11
    assert asked == roles


def run(request: Request, device: str = "cpu", stop_at: int | None = None) -> tuple[Any, list[Any]]:
    """Drive one generation; the predicted clean latent is always 0.25, and a picture is three channels of its latent."""
    asks: list[Any] = []
    generation = generate(request, MODEL, device=device)
    sent: Any = None
    while True:
        try:
            ask = generation.send(sent)
        except StopIteration as end:
            return end.value, asks
        asks.append(ask)
        match ask:
            case Encode():
                sent = conditioning(float(len(asks)))
            case Rows():
                sent = tuple(torch.full_like(row.x, 0.25) for row in ask.rows)
            case Decode():
                sent = ask.latent[:3]
            case Step():
                sent = None
                if stop_at == ask.at.step:
                    asks.append(generation.throw(Interrupted(ask.denoised)))
                    sent = asks[-1].latent[:3]


def test_the_picture_is_what_was_predicted_last() -> None:
    picture, asks = run(REQUEST)
    assert torch.allclose(picture.latent, torch.full((4, 4, 8), 0.25), atol=1e-5)
    rows = [ask for ask in asks if isinstance(ask, Rows)]
    assert [len(ask.rows) for ask in rows] == [2, 2, 2] and rows[0].rows[0].x.dtype == torch.float32
    assert len({row.conditioning.key for row in rows[0].rows} | {id(row.conditioning) for row in rows[0].rows}) == 3


def test_the_state_stays_where_the_answers_come_from() -> None:
    for sampler in ("Euler", "Euler a"):
        picture, asks = run(replace(REQUEST, sampler=sampler), device="meta")
        assert picture.latent.device.type == "meta"
        assert {row.x.device.type for ask in asks if isinstance(ask, Rows) for row in ask.rows} == {"meta"}


def test_an_interrupt_decodes_the_last_estimate() -> None:
    picture, asks = run(REQUEST, stop_at=0)
    assert torch.equal(picture.latent, torch.full((4, 4, 8), 0.25))
    assert sum(isinstance(ask, Rows) for ask in asks) == 1
    generation = generate(REQUEST, MODEL)
    generation.send(None)
    generation.send(conditioning(0.0))
    generation.send(conditioning(1.0))
    with pytest.raises(Stopped, match="nothing to keep"):
        generation.throw(Interrupted(None))


def test_the_same_content_on_another_weight_is_another_patch() -> None:
    first, second = (Patches(weights=(WeightPatch(key=key, delta=lambda w: w, content="sha:0.8"),)) for key in ("a", "b"))
    assert first.key != second.key
    assert (first + second).key == (second + first).key
