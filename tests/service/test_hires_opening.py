"""Pictures drawn twice by the engine as people use it: models, files and functions by name, the same picture from its text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests.service.test_further_sources import Place, upscaler
from tests.tiny_checkpoint import write
from webui import infotext
from webui.drawing import Txt2Img
from webui.engine import events
from webui.request import Request, parameters_of

PARAMS = Txt2Img(prompt="ab", seed=3, steps=2, width=64, height=64, hires_upscaler="Latent", hires_steps=3, reproducible=True)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    write(made.models / "builtin" / "model.safetensors")
    write(made.models / "checkpoints" / "other.safetensors", seed=1)
    with made.service:
        yield made


def told(place: Place, request: Request) -> list[events.Event]:
    engine = place.service.engine
    return list(engine.events(engine.submit(request)))


def drawn(place: Place, params: Txt2Img) -> events.Picture:
    (picture,) = (each for each in told(place, place.service.request(params)) if isinstance(each, events.Picture))
    return picture


def test_the_same_picture_comes_of_its_text(place: Place) -> None:
    upscaler(place.models / "upscalers" / "Two.safetensors")
    first = drawn(place, replace(PARAMS, hires_upscaler="two", hires_width=96, hires_height=64, hires_model="other", tiling=True))
    assert first.pixels.shape == (64, 96, 3)
    raw, _ = infotext.raw_parameters(infotext.parse(infotext.write(parameters_of(first.request))), Txt2Img)
    again = drawn(place, Txt2Img.read(raw))
    assert np.array_equal(again.pixels, first.pixels) and again.request == first.request


@pytest.mark.parametrize(
    "own",
    [
        {"hires_upscaler": "Lanczos"}, {"hires_model": "other"}, {"hires_strength": 0.2}, {"hires_prompt": "a"}, {"tiling": True},
        {"hires_sampler": "Euler a"}, {"hires_cfg": 1.0}, {"hires_steps": 4}, {"hires_scale": 1.5},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_is_set_for_it_makes_another_picture(place: Place, own: dict[str, Any]) -> None:
    plain, other = drawn(place, PARAMS), drawn(place, replace(PARAMS, **own))
    assert plain.pixels.shape == (128, 128, 3) and not np.array_equal(plain.pixels, other.pixels)


def test_its_steps_are_told_as_one_row(place: Place) -> None:
    heard = told(place, place.service.request(PARAMS))
    assert [(each.step, each.steps) for each in heard if isinstance(each, events.Progress)] == [(n + 1, 5) for n in range(5)]


def test_a_function_that_an_extension_registered_enlarges(tmp_path: Path) -> None:
    asked = []

    def threefold(picture: Tensor) -> Tensor:
        asked.append(tuple(picture.shape))
        return picture.repeat_interleave(3, 1).repeat_interleave(3, 2)

    place = Place(tmp_path, upscaler_functions={"Threefold": threefold})
    write(place.models / "builtin" / "model.safetensors")
    with place.service:
        assert drawn(place, replace(PARAMS, hires_upscaler="threefold")).pixels.shape == (128, 128, 3)
    assert asked == [(3, 64, 64)]


def test_a_file_that_is_broken_or_gone_is_a_sentence(place: Place) -> None:
    path = upscaler(place.models / "upscalers" / "Half.safetensors")
    request = place.service.request(replace(PARAMS, hires_upscaler="Half"))
    path.write_bytes(path.read_bytes()[:-100])
    for _ in range(2):
        (*_, last) = told(place, request)
        assert isinstance(last, events.Failed) and "Half" in last.sentence
        path.unlink(missing_ok=True)
