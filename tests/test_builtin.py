"""The model that ships: it is there, small enough, known by its header, and draws what it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.builtin.recipe.networks import model_spec, tokenizer
from webui.drawing import Txt2Img
from webui.engine import events
from webui.service.opening import Service, open_engine
from webui.service.previews import preview_of
from webui.weights.families import detect
from webui.weights.files import read_header

ROOT = Path(__file__).parents[1]
CHECKPOINT = ROOT / "models" / "builtin" / "model.safetensors"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with open_engine(ROOT, exact=True) as opened:
        yield opened


def draw(service: Service, prompt: str, **more: object) -> np.ndarray:
    request = service.request(Txt2Img(prompt=prompt, model="builtin", seed=1, **more))  # type: ignore[arg-type]
    told = list(service.engine.events(service.engine.submit(request)))
    assert isinstance(told[-1], events.Finished), told[-1]
    (picture,) = [event for event in told if isinstance(event, events.Picture)]
    return picture.pixels.astype(int)


def total(*patterns: str) -> int:
    return sum(path.stat().st_size for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())


def test_what_ships_stays_small() -> None:
    assert 0 < total("models/builtin/*.safetensors") <= 32 * MEGABYTE
    assert 0 < total("tests/data/**/*") <= 8 * MEGABYTE
    assert 0 < total("docs/**/*.png", "models/builtin/*.png") <= 6 * MEGABYTE


def test_the_checkpoint_is_the_one_that_the_recipe_describes() -> None:
    header = read_header(CHECKPOINT)
    assert detect(header) == model_spec(tokenizer().size)
    preview = preview_of(CHECKPOINT)
    assert preview is not None and 0 < preview.error < 0.15


def test_a_ball_has_the_colour_that_was_asked_for(service: Service) -> None:
    """The most coloured part of the picture, since nothing else in it is: floor and wall are grey."""
    for colour, channel in (("red", 0), ("green", 1), ("blue", 2)):
        pixels = draw(service, f"a large {colour} ball on a grey floor", steps=12)
        strong = [int((pixels[..., c] - np.delete(pixels, c, axis=-1).max(axis=-1) > 60).sum()) for c in range(3)]
        assert strong[channel] > 400, (colour, strong)  # a large ball covers some 2,000 pixels
        assert sum(strong) - strong[channel] < strong[channel] / 4, (colour, strong)


def test_alone_a_picture_is_the_same_to_the_bit(service: Service) -> None:
    first, second = (draw(service, "a white cone", steps=4, reproducible=True) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, draw(service, "a black cone", steps=4, reproducible=True))


def test_the_card_tells_the_figures_of_the_evaluation() -> None:
    found = json.loads((CHECKPOINT.parent / "evaluation.json").read_text())
    card = (CHECKPOINT.parent / "README.md").read_text()
    for name, value in found["prompts"].items():
        assert f"| {name} | {value:g} | {found['control'][name]:g} |" in card
    for name, value in found["others"].items():
        assert f"| {name} | {value:g} |" in card
