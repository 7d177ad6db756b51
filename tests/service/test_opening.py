"""From a folder with a model file to pictures."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny_checkpoint
from tests.random_weights import checkpoint
from webui.drawing import Txt2Img
from webui.engine import events
from webui.errors import ModelFileError, UserError
from webui.pipeline.canvas import Canvas, canvas_of
from webui.pipeline.given import Given
from webui.request import Request
from webui.service.decoding import facts_of
from webui.service.folders import cache_folder
from webui.service.given import among
from webui.service.keeping import digest_of
from webui.service.opening import Service, limits_on, open_engine
from webui.service.previews import Previews, preview_of
from webui.tasks import NOT_MASKED, Inpaint
from webui.weights import hashes
from webui.weights.defaults import DEFAULTS_KEY
from webui.weights.families import PREVIEW_KEY
from webui.weights.files import save

PREVIEW = '{"matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "bias": [0, 0, 0], "error": 0.1}'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    own = {DEFAULTS_KEY: '{"scale": 4.5}', PREVIEW_KEY: PREVIEW}
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors", metadata=own)
    tiny_checkpoint.write(folder / "models" / "checkpoints" / "other.safetensors", seed=1)
    return folder


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[Service]:
    with open_engine(root, exact=True) as opened:
        yield opened


def pictures(service: Service, request: Request) -> list[events.Picture]:
    told = list(service.engine.events(service.engine.submit(request)))
    assert isinstance(told[-1], events.Finished), told[-1]
    return [event for event in told if isinstance(event, events.Picture)]


def test_a_request_takes_the_models_name_hash_and_defaults(service: Service, root: Path) -> None:
    request = service.request(Txt2Img(prompt="x", sampler="k_euler_a"))
    assert (request.model, request.scale, request.width, request.height) == ("builtin", 4.5, 64, 64)
    assert request.model_hash == hashes.sha256(root / "models/builtin/model.safetensors")
    assert (request.sampler, request.schedule) == ("Euler a", "Uniform")
    assert service.request(Txt2Img(model="other")).scale == 7.0
    seeds = {service.request(Txt2Img()).seed for _ in range(5)}
    assert len(seeds) == 5 and all(0 <= seed < 2**32 for seed in seeds)


def test_two_models_take_turns_and_each_makes_its_own_pictures(service: Service) -> None:
    params = Txt2Img(prompt="ab", seed=3, steps=2, count=2, reproducible=True)
    requests = [service.request(dataclasses.replace(params, model=name)) for name in ("builtin", "other", "builtin")]
    first, second, again = (pictures(service, request) for request in requests)
    assert [event.pixels.shape for event in first] == [(64, 64, 3)] * 2
    assert not np.array_equal(first[0].pixels, second[0].pixels)
    assert np.array_equal(first[1].pixels, again[1].pixels)
    alone = pictures(service, requests[0].picture(1))
    assert np.array_equal(alone[0].pixels, first[1].pixels)


def test_what_a_job_s_pictures_are_drawn_on_is_made_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: io.BytesIO() for name in ("picture", "mask")}
    Image.effect_noise((64, 64), 90).convert("RGB").save(files["picture"], "PNG")
    Image.new("L", (64, 64), 0).save(files["mask"], "PNG")
    contents = {digest_of(file.getvalue()): file.getvalue() for file in files.values()}
    inputs = {name: facts_of(digest_of(file.getvalue()), file.getvalue()) for name, file in files.items()}
    made: list[Request] = []

    def counted(request: Request, given: Given) -> Canvas:
        made.append(request)
        return canvas_of(request, given)

    monkeypatch.setattr("webui.service.opening.canvas_of", counted)
    with open_engine(root, exact=True, open_input=among(contents)) as opened:
        params = Inpaint(prompt="ab", seed=3, steps=2, count=3, mask_mode=NOT_MASKED, width=64, height=64, reproducible=True)
        found = pictures(opened, opened.resolver.request(params, inputs))
        assert len(made) == 1 and len({event.pixels.tobytes() for event in found}) == 3
        (alone,) = pictures(opened, opened.resolver.request(dataclasses.replace(params, seed=5, count=1), inputs))
    assert np.array_equal(alone.pixels, found[2].pixels), "and is the same for each"


@pytest.mark.parametrize("params", [Txt2Img(sampler="Eular"), Txt2Img(schedule="Karas"), Txt2Img(model="bultin")])
def test_unknown_names_are_refused_before_anything_is_queued(service: Service, params: Txt2Img) -> None:
    with pytest.raises(UserError, match="did you mean"):
        service.request(params)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "models" / "builtin" / "model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a model")
    with open_engine(tmp_path) as service, pytest.raises(ModelFileError, match=r"model\.safetensors"):
        service.request(Txt2Img())
    for defaults in ("[1]", '{"scale": 99}', '{"scale": NaN}'):
        tiny_checkpoint.write(path, metadata={DEFAULTS_KEY: defaults})
        with open_engine(tmp_path) as service, pytest.raises(ModelFileError, match=r"model\.safetensors: Its webui.defaults"):
            service.request(Txt2Img())


def test_a_model_whose_size_its_header_leaves_open_gets_the_size_its_network_answers(tmp_path: Path) -> None:
    tensors = dict(checkpoint("sd21-v-tiny"))
    last = "model.diffusion_model.out.2."
    tensors |= {last + "weight": torch.zeros_like(tensors[last + "weight"]), last + "bias": torch.full((4,), -3.0)}
    save(tmp_path / "models" / "checkpoints" / "two.safetensors", tensors)
    with open_engine(tmp_path) as service:
        (listed,) = service.resolver.models()
        assert listed["native_size"] is None and listed["problem"] == "" and listed["undecided"]
        requests = [service.request(Txt2Img(model="two")) for _ in range(2)]
        assert {(request.width, request.height) for request in requests} == {(768, 768)}
        (listed,) = service.resolver.models()
        assert (listed["undecided"], listed["prediction"], listed["native_size"]) == (False, "v", 768)
        assert service.request(Txt2Img(model="two", width=64, height=64)).width == 64


def test_the_cache_is_kept_out_of_git(tmp_path: Path) -> None:
    assert (cache_folder(tmp_path) / ".gitignore").read_text() == "*\n"
    (tmp_path / "file").write_text("")
    cache_folder(tmp_path / "file")  # cannot be made, and need not be


def test_previews_come_from_the_models_own_map_and_only_where_it_has_one(root: Path) -> None:
    files = {"builtin": root / "models/builtin/model.safetensors", "other": root / "models/checkpoints/other.safetensors"}
    show = Previews(files.__getitem__)
    common = {"prompt": "", "steps": 1, "sampler": "Euler", "schedule": "Karras", "scale": 1.0, "seed": 0}
    request = Request(model="builtin", width=64, height=48, **common)
    shown = show(request, torch.full((4, 8, 6), 0.5))
    assert shown is not None and shown.shape == (8, 6, 3) and shown.dtype == torch.uint8
    assert set(shown.flatten().tolist()) == {128}
    assert show(dataclasses.replace(request, model="other"), torch.zeros(4, 8, 6)) is None


def test_a_map_that_makes_no_sense_is_none(tmp_path: Path) -> None:
    three = '{"matrix": [[1, 1, 1], [1, 1, 1], [1, 1, 1]], "bias": [0, 0, 0], "error": 0.1}'  # the model has four channels
    for nonsense in ("{", "[]", '{"matrix": [[1]]}', "[" * 100_000, PREVIEW.replace("0.1", "1" * 400), three):
        assert preview_of(tiny_checkpoint.write(tmp_path / "m.safetensors", metadata={PREVIEW_KEY: nonsense})) is None


def test_a_small_budget_draws_the_same_picture(root: Path) -> None:
    made = []
    for megabytes in (0, 1):
        with open_engine(root, exact=True, memory_megabytes=megabytes) as service:
            made.append(pictures(service, service.request(Txt2Img(prompt="ab", seed=3, steps=2)))[0].pixels)
            room = service._networks.holding.residency.ledger
            assert room.peak <= (megabytes or 10**6) * 10**6
    assert np.array_equal(made[0], made[1])


def test_a_file_that_was_copied_again_is_opened_again(tmp_path: Path) -> None:
    path = tiny_checkpoint.write(tmp_path / "models" / "builtin" / "model.safetensors")
    with open_engine(tmp_path, exact=True, memory_megabytes=1) as service:
        request = service.request(Txt2Img(prompt="ab", seed=3, steps=2))
        before = pictures(service, request)[0].pixels
        os.utime(path, ns=(1, 1))
        assert np.array_equal(pictures(service, request)[0].pixels, before)


def test_only_a_device_of_its_own_has_a_second_call_waiting() -> None:
    assert limits_on("cpu").in_flight == 1 and limits_on("cuda").in_flight == limits_on("mps").in_flight == 2
