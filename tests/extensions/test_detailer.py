"""The detailer: parts found by a mask, by depth or by anybody's detector are drawn again, and nothing else is touched."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from extensions.detailer import MASK, NEAREST, detectors, finish, noted_estimator, params, resolve
from extensions.detailer.drawing import chosen, request_of
from extensions.detailer.regions import connected, divided, parts_of_mask
from webui.engine import events
from webui.errors import UserError
from webui.extension import parameters
from webui.pipeline.extended import Job, JobHooks
from webui.request import Request
from webui.service.given import among
from webui.service.opening import Service, open_engine

ROOT = Path(__file__).resolve().parents[2]
VISIBLE = 5.0  # of 255, the mean difference of two pictures that are not the same
SIZE = 128


def written(pixels: np.ndarray) -> bytes:
    """A picture as it is brought."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def two_squares() -> np.ndarray:
    pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
    pixels[8:56, 8:56] = 255
    pixels[80:120, 72:120] = 255
    return pixels


CONTENT = written(two_squares())
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NOTHING: Mapping[str, Any] = {
    "model": "m", "prompt": "", "steps": 1, "sampler": "Euler", "schedule": "Karras", "scale": 1.0, "seed": 0, "width": 8,
    "height": 8,
}  # fmt: skip
DEFAULTS: Mapping[str, Any] = {name: each.default for name, each in parameters(params()[0].params).items()}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The built-in model, with the extensions that come with the program."""
    with open_engine(ROOT, exact=True, open_input=among({DIGEST: CONTENT})) as opened:
        yield opened


def wanted(service: Service, **values: Any) -> Request:
    """A request with these values of the detailer."""
    kind = service.resolver.tasks()["txt2img"]
    own = {f"detailer_{name}": value for name, value in values.items()}
    plain = kind(prompt="a red ball on a grey floor", seed=5, width=SIZE, height=SIZE, steps=6, sampler="Euler", **own)
    return service.request(plain)


def drawn(service: Service, request: Request) -> tuple[np.ndarray, list[events.Event]]:
    """The picture of a request, and all that was told."""
    job = service.engine.submit(request)
    told: list[events.Event] = []
    with service.engine.events(job) as stream:
        while not told or not isinstance(told[-1], events.LAST):
            event = stream.next(timeout=120)
            assert event is not None
            told.append(event)
    assert isinstance(told[-1], events.Finished), told[-1]
    return next(each.pixels for each in told if isinstance(each, events.Picture)), told


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def test_the_white_parts_of_a_mask_are_drawn_again_and_the_rest_is_the_same(service: Service) -> None:
    plain, _ = drawn(service, wanted(service))
    request = wanted(service, detector=MASK, mask=DIGEST, strength=0.9, prompt="a blue cube", grow=0, blur=0, steps=4)
    assert set(request.extensions) == {"detailer"}
    found, told = drawn(service, request)
    white = two_squares()[..., 0] > 0
    assert np.array_equal(found[~white], plain[~white])
    assert difference(found[:64][white[:64]], plain[:64][white[:64]]) > VISIBLE
    assert difference(found[64:][white[64:]], plain[64:][white[64:]]) > VISIBLE
    last = [each for each in told if isinstance(each, events.Progress)][-1]
    assert last.step == last.steps and last.steps > 6
    again, _ = drawn(service, request)
    assert np.array_equal(again, found)
    assert np.array_equal(drawn(service, wanted(service))[0], plain)


def test_what_is_nearest_is_found_by_the_depth_of_the_finished_picture(service: Service) -> None:
    plain, _ = drawn(service, wanted(service))
    request = wanted(service, detector=NEAREST, strength=1.0, prompt="a blue cube", confidence=0.0, most=1, steps=4)
    assert request.extensions["detailer"]["noted"]["estimator"] == noted_estimator(service.resolver.files)
    found, _ = drawn(service, request)
    changed = np.abs(found.astype(int) - plain.astype(int)).max(axis=-1) > 0
    assert 0.002 < changed.mean() < 0.95
    assert difference(found[changed], plain[changed]) > VISIBLE


def test_a_detector_that_is_gone_costs_no_picture_and_is_told(service: Service) -> None:
    plain, _ = drawn(service, wanted(service))
    request = wanted(service, detector=MASK, mask=DIGEST)
    own = request.extensions["detailer"]
    gone = replace(request, extensions={"detailer": {**own, "values": {**own["values"], "detector": "Faces"}}})
    found, told = drawn(service, gone)
    assert np.array_equal(found, plain)
    assert any(isinstance(each, events.Notice) and "'Faces'" in each.sentence for each in told)


def test_what_cannot_be_found_is_refused_when_it_is_submitted(service: Service) -> None:
    with pytest.raises(UserError, match="no mask"):
        wanted(service, detector=MASK)
    assert "detailer" not in wanted(service).extensions
    assert service.resolver.further_choices()["detectors"][:3] == ["None", MASK, NEAREST]


# --- regions and requests, without a network ------------------------------------------------------------------------


def blobs(draw: st.DataObject) -> tuple[Tensor, int]:
    """Squares in cells of their own, which touch nowhere, and how many."""
    places = draw.draw(st.lists(st.integers(0, 15), min_size=0, max_size=6, unique=True))
    mask = torch.zeros(64, 64)
    for place in places:
        side, top, left = 3 + place % 5, place // 4 * 16 + 4, place % 4 * 16 + 4
        mask[top : top + side, left : left + side] = 1
    return mask, len(places)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_parts_make_up_the_mask_touch_nowhere_and_come_by_size(data: st.DataObject) -> None:
    mask, count = blobs(data)
    parts = connected(mask)
    assert parts.shape == (count, 64, 64)
    assert torch.equal(parts.sum(0) if count else torch.zeros_like(mask), mask)
    areas = [float(part.sum()) for part in parts]
    assert areas == sorted(areas, reverse=True)


def test_a_bent_part_is_one_and_a_large_mask_is_told_apart_too() -> None:
    spiral = torch.zeros(300, 500)
    spiral[20, 20:480] = spiral[20:280, 479] = spiral[279, 20:480] = spiral[120:280, 20] = 1
    spiral = torch.nn.functional.max_pool2d(spiral[None], 5, 1, 2)[0]
    spiral[140:200, 200:300] = 1
    assert len(connected(spiral)) == 2
    rgba = torch.cat([spiral.expand(3, -1, -1) * 255, torch.full((1, 300, 500), 255.0)]).to(torch.uint8)
    assert parts_of_mask(rgba, torch.zeros(3, 150, 250)).shape == (2, 150, 250)
    rgba[3] = 0  # what is transparent is not white
    assert parts_of_mask(rgba, torch.zeros(3, 150, 250)).shape == (0, 150, 250)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.05, 0.4), st.floats(0.6, 0.95), st.floats(0.1, 0.9))
def test_two_groups_are_divided_between_them(low: float, high: float, part: float) -> None:
    values = torch.full((1000,), low)
    values[: int(1000 * part)] = high
    assert low < divided(values) + 1 / 64 and divided(values) - 1 / 64 < high
    level = divided(values)
    assert bool((values[: int(1000 * part)] > level).all()) and not bool((values[int(1000 * part) :] > level).any())


def test_of_all_parts_those_count_that_are_sure_large_and_first() -> None:
    masks = torch.zeros(5, 10, 10)
    masks[0, :5] = 0.9
    masks[1, 5:] = 0.2
    masks[2, :2, :2] = 0.8
    masks[3, :1, :1] = 1.0
    pixels = torch.zeros(3, 10, 10)
    values = {"detector": "any", "confidence": 0.3, "smallest": 2.0, "most": 4}
    assert [int(part.sum()) for part in chosen(masks, values, pixels)] == [50, 4]
    assert [int(part.sum()) for part in chosen(masks, {**values, "most": 1}, pixels)] == [50]
    assert len(chosen(masks, {**values, "confidence": 0.0, "smallest": 0.0}, pixels)) == 4  # an empty one is none
    for wrong in (None, torch.zeros(10, 10), torch.zeros(1, 9, 10)):
        with pytest.raises(UserError, match="detector 'any'"):
            chosen(wrong, values, pixels)


def job(request: Request, **values: Any) -> Job:
    given: dict[str, Any] = dict.fromkeys((
        "noted", "tags", "second", "spec", "network", "device", "pictures", "weights", "files", "encode", "generate",
        "network_of", "tell",
    ))  # fmt: skip
    return Job(request=request, values={**DEFAULTS, **values}, **given)


def test_a_part_is_drawn_as_the_picture_was_but_for_what_was_set() -> None:
    extensions = {
        "detailer": {"values": {"detector": MASK}, "noted": {}}, "lora": {"values": {}, "noted": {"tags": {"lora:a:1": {}}}},
        "controlnet": {"values": {"weight": 1.0}, "noted": {}},
    }
    own = Request(
        model="m", prompt="a", negative="b", steps=20, sampler="Euler", schedule="Karras", scale=5.0, seed=2**64 - 1, width=640,
        height=512, tiling=True, loops=3, hires={"width": 1}, inputs={"picture": "1"}, extensions=extensions,
    )  # fmt: skip
    first, second = (request_of(job(own), index) for index in range(2))
    assert (first.task, first.prompt, first.negative, first.steps) == ("inpaint", "a", "b", 20)
    assert (first.width, first.height) == (640, 512)
    assert (first.loops, first.hires, first.inputs, first.tiling, first.area) == (1, {}, {}, False, "Only masked")
    assert list(first.extensions) == ["lora"]
    assert (first.seed, second.seed) == (2**64 - 1, 0)
    changed = request_of(job(own, prompt="c", size=768, steps=9, strength=0.7, blur=9, grow=1, padding=2), 0)
    assert (changed.prompt, changed.width, changed.height, changed.steps, changed.strength) == ("c", 768, 768, 9, 0.7)
    assert (changed.mask_blur, changed.mask_grow, changed.padding) == (9, 1, 2)


def test_hooks_are_there_and_what_is_off_asks_for_nothing() -> None:
    assert set(detectors()) == {MASK, NEAREST} and callable(resolve)
    picture: Any = object()
    steps = finish(job(Request(**NOTHING), detector="None"), picture)
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is picture
    assert JobHooks(name="detailer", finish=finish).patches is None
