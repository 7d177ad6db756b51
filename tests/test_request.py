"""Requests leave nothing open, survive JSON, and fall apart into single pictures."""

from __future__ import annotations

import dataclasses
import json

import pytest

from webui.drawing import Txt2Img
from webui.errors import UnknownName, UserError
from webui.params import LARGEST_SEED
from webui.request import ModelFacts, Request, SamplerFacts, parameters_of, resolve

MODEL = ModelFacts(name="builtin", hash="0123456789abcdef" * 4, native_size=128, scale=5.0)
SAMPLER = SamplerFacts(name="Euler", schedule="Karras", options=("s_churn", "s_noise"))


def resolved(params: Txt2Img) -> Request:
    return resolve(params, model=MODEL, sampler=SAMPLER, random_seed=lambda: 77)


def test_everything_left_open_is_filled_in() -> None:
    request = resolved(Txt2Img(prompt="a ball", sampler="k_euler", eta=0.5, s_churn=3))
    assert request == Request(
        model="builtin", model_hash=MODEL.hash, prompt="a ball", steps=20, sampler="Euler", schedule="Karras", scale=5.0, seed=77,
        width=128, height=128, sampler_options={"s_churn": 3.0},
    )  # fmt: skip


def test_what_was_chosen_stays() -> None:
    sides = {"width": 64, "height": 72}
    params = Txt2Img(prompt="x", negative="y", steps=3, scale=0, seed=0, count=4, clip_skip=2, reproducible=True, **sides)
    request = resolved(params)
    for name in ("prompt", "negative", "steps", "scale", "seed", "width", "height", "count", "clip_skip", "reproducible"):
        assert getattr(request, name) == getattr(params, name)


def test_a_request_survives_json() -> None:
    plain = resolved(Txt2Img(prompt="ü", s_churn=1))
    request = dataclasses.replace(plain, inputs={"mask": "ab"}, extensions={"x": {"y": [1, None]}})
    assert Request.from_dict(json.loads(json.dumps(request.to_dict()))) == request


def test_a_request_with_other_fields_is_refused() -> None:
    plain = resolved(Txt2Img()).to_dict()
    with pytest.raises(UnknownName, match="did you mean steps"):
        Request.from_dict({**plain, "stepz": 1})
    del plain["prompt"]
    with pytest.raises(UserError, match="prompt"):
        Request.from_dict(plain)


def test_a_pictures_request_is_its_own_job() -> None:
    request = resolved(Txt2Img(seed=5, count=3))
    assert [request.picture(index).seed for index in range(3)] == [5, 6, 7]
    assert request.picture(2) == resolved(Txt2Img(seed=7))
    assert request.picture(2).picture(0) == request.picture(2)
    assert resolved(Txt2Img(seed=LARGEST_SEED, count=2)).picture(1).seed == 0
    with pytest.raises(IndexError):
        request.picture(3)


def test_a_requests_parameters_resolve_to_it_again() -> None:
    request = resolved(Txt2Img(prompt="x", s_churn=2, count=2))
    params = parameters_of(request)
    assert params.model_hash == MODEL.hash[:10] and params.model == "builtin"
    assert resolved(params) == request


def test_a_clip_skip_beyond_the_text_tower_is_a_sentence() -> None:
    model = ModelFacts(name="small", native_size=64, text_layers=4)
    sampler = SamplerFacts(name="Euler", schedule="Karras")
    assert resolve(Txt2Img(clip_skip=4), model=model, sampler=sampler, random_seed=lambda: 1).clip_skip == 4
    with pytest.raises(UserError, match="Clip skip was 5; the text tower of small has 4 layers"):
        resolve(Txt2Img(clip_skip=5), model=model, sampler=sampler, random_seed=lambda: 1)
