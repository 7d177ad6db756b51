"""Upscalers and depth estimators at work: files, replaced and broken ones, and what extensions register."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from tests.networks_beside import real_esrgan
from tests.tiny_checkpoint import DEPTH, write
from webui.engine import events
from webui.engine.device import CPU_FLOAT32
from webui.engine.local import LocalNetworks
from webui.engine.placing import brought
from webui.errors import JobError, UnknownName, UserError
from webui.nets.upscaler_spec import RRDBSpec
from webui.params import Params
from webui.pipeline.protocol import Call
from webui.service.decoding import facts_of
from webui.service.further_sources import Further
from webui.service.given import among
from webui.service.opening import Service
from webui.service.requests import Resolver
from webui.tasks import MAP, NEAREST, Depth, Extras
from webui.weights.network_file import NetworkFile
from webui.weights.upscaler_files import open_upscaler

ROOT = Path(__file__).parents[2]
TINY = RRDBSpec(features=4, blocks=1, growth=2, doublings=1)


class Place:
    """A folder with models, the pictures that were brought, and an engine."""

    def __init__(self, root: Path, **registered: Any) -> None:
        self.contents: dict[str, bytes] = {}
        self.models = root / "models"
        opened = among(self.contents)
        resolver = Resolver(models_folder=self.models, cache=root / "cache", open_input=opened, **registered)
        self.service = Service(resolver=resolver, cache=root / "cache", exact=True, open_input=opened)

    def run(self, params: Params, picture: np.ndarray, task: str = "") -> events.Event:
        """The picture that comes of it, or why none does."""
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        self.contents[digest] = buffer.getvalue()
        inputs = {"picture": facts_of(digest, buffer.getvalue())}
        engine = self.service.engine
        job = engine.submit(self.service.resolver.request(params, inputs, task))
        return next(each for each in engine.events(job) if isinstance(each, events.Picture | events.Failed))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.service:
        yield made


def picture(width: int = 20, height: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def upscaler(path: Path, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: torch.randn(shape, generator=generator) * 0.3 for key, shape in real_esrgan(TINY).items()}, path)
    return path


def by_itself(path: Path) -> np.ndarray:
    """What the network of a file makes of the picture."""
    network = brought(open_upscaler(path), "upscaler", CPU_FLOAT32)
    with torch.no_grad():
        larger: Tensor = network(torch.from_numpy(picture()).permute(2, 0, 1)[None] / 255)[0]
    return (larger * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_a_file_enlarges_and_one_that_took_its_place_does_so_its_own_way(place: Place) -> None:
    path = upscaler(place.models / "upscalers" / "Two.safetensors")
    made = place.run(Extras(upscaler="two", scale_by=2), picture())
    assert isinstance(made, events.Picture) and made.pixels.shape == (24, 40, 3)
    assert np.array_equal(made.pixels, by_itself(path)) and made.pixels.std() > 1
    upscaler(path, seed=1)
    again = place.run(Extras(upscaler="two", scale_by=2), picture())
    assert isinstance(again, events.Picture)
    assert np.array_equal(again.pixels, by_itself(path)) and not np.array_equal(again.pixels, made.pixels)


def test_a_broken_file_is_a_sentence_and_costs_no_other_job(place: Place) -> None:
    path = upscaler(place.models / "upscalers" / "Half.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    failed = place.run(Extras(upscaler="Half", scale_by=2), picture())
    assert isinstance(failed, events.Failed) and "Half" in failed.sentence
    assert isinstance(place.run(Extras(upscaler=NEAREST, scale_by=2), picture()), events.Picture)


def test_the_estimator_that_ships_makes_the_map_that_a_picture_is_drawn_to(place: Place) -> None:
    write(place.models / "checkpoints" / "deep.safetensors", spec=DEPTH)
    (place.models / "builtin").mkdir()
    shutil.copy(ROOT / "models" / "builtin" / "depth.safetensors", place.models / "builtin")
    drawn = place.run(Depth(model="deep", steps=1, width=64, height=64), picture(64, 64))
    assert isinstance(drawn, events.Picture), drawn
    alone = place.run(Depth(model="deep"), picture(64, 64), MAP)
    assert isinstance(alone, events.Picture), alone
    assert np.array_equal(drawn.maps["depth"], alone.maps["depth"]) and alone.maps["depth"].std() > 1000
    assert (alone.maps["depth"].min(), alone.maps["depth"].max()) == (0, 65535)


def test_what_extensions_register_is_chosen_by_name_and_used(tmp_path: Path) -> None:
    asked: list[tuple[int, ...]] = []

    def threefold(picture: Tensor) -> Tensor:
        asked.append(tuple(picture.shape))
        return picture.repeat_interleave(3, 1).repeat_interleave(3, 2)

    def slope(picture: Tensor) -> Tensor:
        return torch.arange(picture.shape[1])[:, None].expand(picture.shape[1:]).float()

    place = Place(tmp_path, estimator_functions={"Slope": slope}, upscaler_functions={"Threefold": threefold})
    write(place.models / "checkpoints" / "deep.safetensors", spec=DEPTH)
    with place.service as service:
        networks = service.resolver.networks
        assert "Slope" in networks.estimator_names(own=False) and "Threefold" in networks.upscaler_names()
        made = place.run(Extras(upscaler="threefold", scale_by=3), picture())
        assert isinstance(made, events.Picture) and asked == [(3, 12, 20)]
        assert np.array_equal(made.pixels, picture().repeat(3, 0).repeat(3, 1))
        mapped = place.run(Depth(model="deep", estimator="slope"), picture(), MAP)
        assert isinstance(mapped, events.Picture)
        assert np.array_equal(mapped.maps["depth"][:, 0], np.linspace(0, 65535, 12).round())
        with pytest.raises(UnknownName, match="Threefold"):
            place.run(Extras(upscaler="Threefolt"), picture())
        networks.more_upscalers.pop("Threefold")
        with pytest.raises(UnknownName, match="Threefold"):
            place.run(Extras(upscaler="Threefold"), picture())


def test_networks_of_extensions_are_opened_when_they_are_asked_and_again_when_their_file_changed(tmp_path: Path) -> None:
    class Plus(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.number = torch.nn.Parameter(torch.empty(1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.number

    path, opened = tmp_path / "plus.safetensors", []

    def opener(rest: str) -> Any:
        opened.append(rest)
        return NetworkFile(tmp_path / f"{rest}.safetensors", Plus)

    openers = {"plus": opener, "twice": lambda rest: lambda x: 2 * x, "wrong": lambda rest: 3}
    further = Further(Resolver(models_folder=tmp_path, cache=tmp_path / "cache").networks, "cpu")
    networks = LocalNetworks(lambda name: pytest.fail(name), open_other=further.open)
    save_file({"number": torch.tensor([5.0])}, path)
    first, reloaded = further.added("plus:plus", openers, "load 1"), further.added("plus:plus", openers, "load 2")
    assert first != reloaded and not opened
    for _ in range(2):
        assert networks.call(Call(first, {"x": torch.ones(1)})) == 6
    assert opened == ["plus"]
    save_file({"number": torch.tensor([7.0])}, path)
    os.utime(path, ns=(1, 1))
    assert networks.call(Call(first, {"x": torch.ones(1)})) == 8
    assert networks.call(Call(further.added("twice:", openers), {"x": 4})) == 8
    with pytest.raises(UserError, match="expected a NetworkFile"):
        networks.call(Call(further.added("wrong:", openers), {}))
    with pytest.raises(UnknownName, match="kind of network 'none'"):
        further.added("none:x", openers)
    with pytest.raises(JobError, match="no network"):
        networks.call(Call("plus:plus", {}))
