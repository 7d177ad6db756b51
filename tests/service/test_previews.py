"""A map for models whose files carry none: fitted once by the autoencoder's own answers, kept, and used only where it is good."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests import tiny_checkpoint
from webui.drawing import Txt2Img
from webui.engine import events
from webui.request import Request
from webui.service.opening import open_engine
from webui.service.previews import FITTED, WORST, Previews, colour_pictures, fitted

MIX = torch.tensor([[1.0, 0.5, -0.3], [-0.7, 1.1, 0.2], [0.4, -0.6, 0.9], [0.3, 0.3, 0.3]])
REQUEST = Request(
    model="m", model_hash="a" * 64, prompt="", steps=1, sampler="Euler", schedule="Karras", scale=1.0, seed=0, width=64, height=48
)


def linear(picture: Tensor) -> Tensor:
    """An autoencoder whose latents a linear map can undo."""
    return torch.einsum("lc,chw->lhw", MIX, functional.avg_pool2d(picture, 8)) * 3 - 0.5


def noisy(picture: Tensor) -> Tensor:
    """One whose latents say nothing of colours."""
    return torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(int(picture.sum())))


class Encoder:
    """Counts what it is asked."""

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self.asked = 0
        self._encode = encode

    def __call__(self, request: Request, picture: Tensor) -> Tensor:
        self.asked += 1
        return self._encode(picture)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tiny_checkpoint.write(tmp_path / "m.safetensors")


def previews(path: Path, encode: Encoder, memory: Path | None = None) -> Previews:
    return Previews(lambda name: path, encode, memory)


def test_the_map_undoes_what_can_be_undone(path: Path) -> None:
    picture = torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(9))
    shown = previews(path, Encoder(linear))(REQUEST, linear(picture))
    assert shown is not None and shown.shape == (8, 6, 3)
    wanted = functional.avg_pool2d(picture, 8).permute(1, 2, 0) * 255
    assert (shown.float() - wanted).abs().max() <= 1.5
    assert fitted(linear).error < 1e-4


def test_a_map_that_shows_nothing_is_not_used_and_that_is_known_once(path: Path, tmp_path: Path) -> None:
    assert fitted(noisy).error > 1.3 * WORST
    encode = Encoder(noisy)
    show = previews(path, encode, tmp_path / FITTED)
    for _ in range(3):
        assert show(REQUEST, torch.zeros(4, 8, 6)) is None
    asked = encode.asked
    assert asked == len(list(colour_pictures())) <= 8
    assert previews(path, encode, tmp_path / FITTED)(REQUEST, torch.zeros(4, 8, 6)) is None
    assert encode.asked == asked, "it was kept that none fits"


def test_what_was_fitted_is_kept_by_the_models_hash_and_what_was_set_for_it(path: Path, tmp_path: Path) -> None:
    memory = tmp_path / "cache" / FITTED
    first = Encoder(linear)
    assert previews(path, first, memory)(REQUEST, torch.zeros(4, 8, 6)) is not None and first.asked > 0
    again = Encoder(linear)
    assert previews(path, again, memory)(REQUEST, torch.zeros(4, 8, 6)) is not None and again.asked == 0
    for other in (dataclasses.replace(REQUEST, model_hash="b" * 64), dataclasses.replace(REQUEST, override={"family": "sd15"})):
        fresh = Encoder(linear)
        assert previews(path, fresh, memory)(other, torch.zeros(4, 8, 6)) is not None and fresh.asked > 0
    memory.write_text(json.dumps({"a" * 64: {"matrix": "?"}}))
    assert previews(path, again, memory)(REQUEST, torch.zeros(4, 8, 6)) is not None and again.asked > 0


def test_where_fitting_fails_it_is_not_tried_for_every_picture(path: Path) -> None:
    def broken(picture: Tensor) -> Tensor:
        raise RuntimeError("no memory")

    encode = Encoder(broken)
    show = previews(path, encode)
    with pytest.raises(RuntimeError):
        show(REQUEST, torch.zeros(4, 8, 6))
    assert show(REQUEST, torch.zeros(4, 8, 6)) is None and encode.asked == 1


def test_the_pictures_are_the_same_every_time_and_colourful() -> None:
    one, two = torch.stack(list(colour_pictures())), torch.stack(list(colour_pictures()))
    assert torch.equal(one, two) and one.min() >= 0 and one.max() <= 1 and one.std() > 0.2


def test_the_engine_fits_one_with_the_models_own_autoencoder_while_somebody_looks(tmp_path: Path) -> None:
    tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    with open_engine(tmp_path, exact=True) as service:
        job = service.engine.submit(service.request(Txt2Img(prompt="a", steps=3, seed=1)))
        with service.engine.events(job, previews=True) as stream:
            told = list(stream)
    assert isinstance(told[-1], events.Finished), told[-1]
    kept = json.loads((tmp_path / "cache" / FITTED).read_text())
    (found,) = kept.values()
    shown = [event for event in told if isinstance(event, events.Preview)]
    assert bool(shown) == (found["error"] <= WORST), "shown exactly where the map is good enough"
    assert not [event for event in told if isinstance(event, events.Notice)]
