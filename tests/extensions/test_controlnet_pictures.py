"""ControlNets through the real service: files are found, held and asked, pictures follow them, and nothing stays behind."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.nets.controlling import control_weights, spec_of
from tests.nets.families import SD1
from tests.random_weights import random_tensor
from webui.engine import events
from webui.errors import UnknownName, UserError
from webui.request import Request
from webui.service.composed import composed_tasks
from webui.service.given import among
from webui.service.opening import Service, open_engine
from webui.weights.families import detect
from webui.weights.files import read_header, save

ROOT = Path(__file__).resolve().parents[2]
BUILTIN = ROOT / "models" / "builtin" / "model.safetensors"
VISIBLE = 5.0  # of 255, the mean difference of two pictures that are not the same


def written(pixels: np.ndarray) -> bytes:
    """A picture as it is brought."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def scene(left: int) -> bytes:
    """A white square on black."""
    pixels = np.zeros((96, 160, 3), np.uint8)
    pixels[24:72, left : left + 48] = 255
    return written(pixels)


PICTURES = {hashlib.sha256(content).hexdigest(): content for content in (scene(20), scene(90))}
FIRST, SECOND = PICTURES


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The built-in model beside two ControlNets with random weights: one that fits it, and one for another family."""
    folder = tmp_path_factory.mktemp("other")
    unet = detect(read_header(BUILTIN)).unet
    fitting = spec_of(replace(unet, in_channels=8, heads=8, head_width=None))
    weights = control_weights(fitting)
    for key in [key for key in weights if key.startswith(("zero_convs.", "middle_block_out."))]:
        weights[key] = random_tensor(key, weights[key].shape) * (0.02 if key.endswith("bias") else 0.05)
    weights["input_hint_block.14.weight"] *= 400  # so that the picture counts as much as the latent
    save(folder / "ControlNet" / "random.safetensors", weights)
    save(folder / "ControlNet" / "other.safetensors", control_weights(spec_of(SD1)))
    with open_engine(ROOT, exact=True, open_input=among(PICTURES), models_from=(folder,)) as opened:
        yield opened


def request(service: Service, task: str = "txt2img", **more: Any) -> Request:
    kind = composed_tasks(service.resolver.extensions)[task]
    given = {"prompt": "a red ball", "model": "builtin", "seed": 3, "steps": 4, "width": 64, "height": 64} | more
    return service.request(kind(**given))  # type: ignore[arg-type]


def drawn(service: Service, *requests: Request) -> list[np.ndarray]:
    """The picture of each, all submitted at once."""
    jobs = [service.engine.submit(each) for each in requests]
    found = []
    for job in jobs:
        told = list(service.engine.events(job))
        assert isinstance(told[-1], events.Finished), told[-1]
        found += [event.pixels.astype(int) for event in told if isinstance(event, events.Picture)]
    return found


def controlled(**more: Any) -> dict[str, Any]:
    return {"controlnet_model_1": "random", "controlnet_picture_1": FIRST} | more


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_a_picture_follows_its_map_and_leaves_no_trace(service: Service) -> None:
    (plain,) = drawn(service, request(service))
    (first,) = drawn(service, request(service, **controlled()))
    (other,) = drawn(service, request(service, **controlled(controlnet_picture_1=SECOND)))
    assert apart(plain, first) > VISIBLE and apart(first, other) > VISIBLE
    (again,) = drawn(service, request(service))
    assert np.array_equal(plain, again)
    (weightless,) = drawn(service, request(service, **controlled(controlnet_weight_1=0.0)))
    assert np.array_equal(plain, weightless)


def test_jobs_at_once_are_each_what_it_is_alone(service: Service) -> None:
    two = controlled(controlnet_model_2="random", controlnet_picture_2=SECOND, controlnet_end_2=0.5)
    requests = [request(service), request(service, **controlled()), request(service, **two)]
    alone = [drawn(service, each)[0] for each in requests]
    together = drawn(service, *requests)
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1
    assert apart(alone[1], alone[2]) > 1


@pytest.mark.parametrize("preprocessor", ["Edges", "Depth"])
def test_preprocessors_make_maps_of_pictures(service: Service, preprocessor: str) -> None:
    (as_it_is,) = drawn(service, request(service, **controlled()))
    (made,) = drawn(service, request(service, **controlled(controlnet_preprocessor_1=preprocessor)))
    assert apart(as_it_is, made) > 1


def test_the_second_pass_and_pictures_to_start_from_are_steered_too(service: Service) -> None:
    large = {"hires_upscaler": "Latent", "hires_scale": 2.0, "hires_steps": 3, "hires_strength": 0.7}
    plain, steered = drawn(service, request(service, **large), request(service, **controlled(**large)))
    assert plain.shape == steered.shape == (128, 128, 3) and apart(plain, steered) > VISIBLE


def test_files_are_named_in_the_text_and_those_that_do_not_fit_are_refused(service: Service) -> None:
    resolver = service.resolver
    noted = request(service, **controlled()).extensions["controlnet"]["noted"]
    said = resolver.extensions.metadata("controlnet", request(service), {}, noted)
    assert said == {"ControlNet hashes": f"random: {noted['1']['sha256'][:10]}"}
    assert "controlnet" not in request(service).extensions
    with pytest.raises(UnknownName, match="random"):
        request(service, **controlled(controlnet_model_1="randon"))
    with pytest.raises(UserError, match="ControlNet 1 has no picture to follow"):
        request(service, controlnet_model_1="random")
    told = list(service.engine.events(service.engine.submit(request(service, **controlled(controlnet_model_1="other")))))
    assert isinstance(told[-1], events.Failed) and "texts of width 48" in told[-1].sentence and told[-1].by_request


def test_what_can_be_chosen_are_the_files_there_are(service: Service) -> None:
    assert service.resolver.further_choices()["ControlNet files"] == ["None", "other", "random"]
    off = request(service, controlnet_model_1="none", controlnet_picture_1=FIRST)
    assert off.extensions["controlnet"]["noted"] == {}
    assert np.array_equal(*drawn(service, request(service), off))
