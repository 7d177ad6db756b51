"""A folder in the layout of diffusers is one model: listed once, chosen by its name, drawn with, and told by its hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.pretend import place_model
from tests.weights.diffusers_folders import write_folder
from webui.drawing import Txt2Img
from webui.engine import events
from webui.service.opening import open_engine
from webui.service.requests import Resolver


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    place_model(folder)
    write_folder(folder / "models" / "checkpoints" / "sub" / "my model v1.5", "sd15")
    return folder


@pytest.fixture
def resolver(root: Path) -> Resolver:
    return Resolver(models_folder=root / "models", cache=root / "cache")


def test_it_is_listed_once_and_its_files_are_not(resolver: Resolver) -> None:
    assert [each.name for each in resolver.checkpoints()] == ["builtin", "sub/my model v1.5"]
    _, found = resolver.models()
    assert (found["folder"], found["problem"], found["native_size"]) == (True, "", 128) and found["bytes"] > 100_000
    assert found["family"] == "Stable Diffusion 1"


def test_it_is_chosen_and_draws(root: Path) -> None:
    with open_engine(root, exact=True) as service:
        params = Txt2Img(prompt="a", model="my model v1.5", steps=1, seed=1, width=64, height=64, scale=1)
        request = service.request(params)
        assert request.model == "sub/my model v1.5" and len(request.model_hash) == 64
        told = list(service.engine.events(service.engine.submit(request)))
        assert isinstance(told[-1], events.Finished), told[-1]


def test_a_folder_that_lacks_a_part_says_which(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "checkpoints" / "half"
    write_folder(folder, "sd15")
    for file in (folder / "vae").iterdir():
        file.unlink()
    (folder / "vae").rmdir()
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")
    (found,) = resolver.models()
    assert found["name"] == "half" and "vae/" in found["problem"]
