"""A VAE, a refiner and what an owner set reach the pixels, and leave no trace in the next picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import tiny_checkpoint
from webui.drawing import Txt2Img
from webui.engine import events
from webui.errors import ModelFileError
from webui.request import named
from webui.service.opening import Service, open_engine
from webui.service.overrides import NO_OPTIONS, FileOptions
from webui.weights import layouts
from webui.weights.files import read_tensors, save

Pixels = np.ndarray


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    models = folder / "models"
    tiny_checkpoint.write(models / "builtin" / "model.safetensors")
    other = tiny_checkpoint.write(models / "checkpoints" / "other.safetensors", seed=1)
    vae = {key.removeprefix(layouts.VAE): value for key, value in read_tensors(other) if key.startswith(layouts.VAE)}
    save(models / "VAE" / "colours.safetensors", vae)
    near = tiny_checkpoint.write(models / "checkpoints" / "near.safetensors", seed=2)
    save(near.with_name("near.vae.safetensors"), vae)
    return folder


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[Service]:
    with open_engine(root, exact=True) as opened:
        yield opened


def drawn(service: Service, **params: object) -> Pixels:
    request = service.request(Txt2Img(**{"prompt": "ab", "steps": 4, "seed": 3, "reproducible": True} | params))  # type: ignore[arg-type]
    told = list(service.engine.events(service.engine.submit(request)))
    assert isinstance(told[-1], events.Finished), told[-1]
    (pixels,) = [event.pixels for event in told if isinstance(event, events.Picture)]
    return np.asarray(pixels).astype(int)


def differ(one: Pixels, other: Pixels) -> bool:
    return bool(np.abs(one - other).max() > 2)


def test_a_vae_decodes_in_place_of_the_models_own(service: Service) -> None:
    before = drawn(service)
    assert differ(drawn(service, vae="colours"), before)
    assert np.array_equal(drawn(service), before)


def test_a_vae_that_was_replaced_since_its_job_began_is_refused(root: Path) -> None:
    path = root / "models" / "VAE" / "replaced.safetensors"
    vae = dict(read_tensors(path.with_name("colours.safetensors")))
    save(path, vae)
    with open_engine(root, exact=True) as service:
        request = service.request(Txt2Img(vae="replaced"))
        service._start(request)
        save(path, {key: value + 1 for key, value in vae.items()})
        found = service._open_vae(named(request.vae, request.vae_hash), service._describe(request).spec.vae)
        with pytest.raises(ModelFileError, match=r"replaced\.safetensors"):
            list(found.read("vae"))
    path.unlink()


def test_the_vae_beside_a_model_is_taken_by_itself(service: Service) -> None:
    own = drawn(service, model="near", vae="None")
    beside = drawn(service, model="near")
    assert differ(own, beside) and np.array_equal(beside, drawn(service, model="near", vae="colours"))


def test_a_refiner_takes_over_and_is_the_model_itself_where_it_never_does(service: Service) -> None:
    before = drawn(service)
    early, late = (drawn(service, refiner="other", refiner_switch_at=at) for at in (0.2, 0.7))
    assert differ(early, before) and differ(early, late)
    assert np.array_equal(drawn(service, refiner="other", refiner_switch_at=1), before)
    assert np.array_equal(drawn(service, refiner="builtin", refiner_switch_at=0.5), before)


def test_what_an_owner_sets_makes_another_model_of_the_file_and_the_jobs_before_keep_theirs(service: Service) -> None:
    before = drawn(service)
    waiting = service.request(Txt2Img(prompt="ab", steps=4, seed=3, reproducible=True))
    service.resolver.overrides.put(waiting.model_hash, FileOptions(prediction="eps", native_size=128))
    try:
        assert drawn(service).shape == (128, 128, 3)
        assert differ(drawn(service, width=64, height=64), before)
        told = list(service.engine.events(service.engine.submit(waiting)))
        (pixels,) = [event.pixels for event in told if isinstance(event, events.Picture)]
        assert np.array_equal(np.asarray(pixels).astype(int), before), "it was asked for before"
    finally:
        service.resolver.overrides.put(waiting.model_hash, NO_OPTIONS)
    assert np.array_equal(drawn(service), before)
