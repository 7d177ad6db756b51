"""A model that was never read whole is read before the engine gets its first job, while nobody who asks has to wait."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.making import WAIT, Core, core, until
from tests.service.pretend import PretendEngine, place_model
from tests.service.test_worker import Scripted
from webui.drawing import Txt2Img
from webui.errors import ModelFileError
from webui.request import Request
from webui.service import catalogue, requests
from webui.service.requests import Resolver
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID
from webui.weights import hashes

DIGEST = "f" * 64


class Reading:
    """Finds out what a request leaves open, as far as the test lets it."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.stopped = threading.Event()
        self.error: Exception | None = None

    def __call__(self, request: Request, told: Callable[[int, int], None]) -> Request:
        try:
            while not self.go_on.wait(0.002):
                told(34, 100)
        except BaseException:
            self.stopped.set()
            raise
        if self.error is not None:
            raise self.error
        return replace(request, model_hash=DIGEST)


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def reading() -> Reading:
    return Reading()


@pytest.fixture
def made(tmp_path: Path, engine: Scripted, reading: Reading) -> Iterator[Core]:
    opened = core(tmp_path, engine, complete=reading, known=False)
    yield opened
    opened.close()


def test_reading_is_told_of_and_the_engine_gets_the_whole_request(made: Core, engine: Scripted, reading: Reading) -> None:
    listener = made.listen(made.owner)
    job = made.submit(count=2)
    listener.until("reading", sentence="Reading m, which is new here: 34 %")
    (view,) = made.queue.view(made.owner)
    assert (view["state"], view["step"], view["reading"]) == ("running", None, "Reading m, which is new here: 34 %")
    assert engine.asked == [] and made.job(job).request["model_hash"] == ""
    reading.go_on.set()
    listener.until("reading", sentence="")
    until(lambda: ("watch", f"{job}/0", True) in engine.asked)
    assert engine.requests[f"{job}/0"].model_hash == made.job(job).request["model_hash"] == DIGEST
    assert made.queue.view(made.owner)[0]["reading"] == ""
    assert made.kinds(job) == ["queued", "started"], "how far it was read is kept nowhere"


@pytest.mark.parametrize("what", ["interrupt", "cancel"])
def test_who_does_not_want_to_wait_ends_it(made: Core, engine: Scripted, reading: Reading, what: str) -> None:
    job = made.submit()
    getattr(made.queue, what)(made.owner, job)
    assert made.job(job).state == "cancelled" and reading.stopped.wait(WAIT)
    assert not [asked for asked in engine.asked if asked[0] == "submit"]


def test_a_picture_that_is_skipped_meanwhile_is_not_made(made: Core, engine: Scripted, reading: Reading) -> None:
    job = made.submit(count=3)
    made.queue.skip(made.owner, job)
    made.queue.skip(made.owner, job, 0)
    reading.go_on.set()
    until(lambda: f"{job}/1" in engine.requests)
    assert engine.requests[f"{job}/1"].count == 2 and made.kinds(job) == ["queued", "started", "skipped"]


def test_a_file_that_cannot_be_read_fails_the_job_with_its_sentence(made: Core, reading: Reading) -> None:
    reading.error = ModelFileError("m.safetensors cannot be read: the disk is gone.")
    job = made.submit()
    reading.go_on.set()
    assert made.ended(job).sentence == "m.safetensors cannot be read: the disk is gone." and made.job(job).state == "failed"


def test_a_program_that_ends_meanwhile_reads_again_at_the_next_start(tmp_path: Path) -> None:
    first = Reading()
    made = core(tmp_path, Scripted(), complete=first, known=False)
    job = made.submit()
    made.close()
    assert first.stopped.is_set()
    second, engine = Reading(), Scripted()
    second.go_on.set()
    made = core(tmp_path, engine, complete=second, known=False)
    until(lambda: f"{job}/0" in engine.requests)
    assert engine.requests[f"{job}/0"].model_hash == DIGEST and made.job(job).attempts == 1
    made.close()


def test_submitting_reads_no_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_model(tmp_path)
    real, begun, go_on = hashes.sha256, threading.Event(), threading.Event()

    def slow(*given: object, **more: object) -> str:
        begun.set()
        assert go_on.wait(WAIT)
        return str(real(*given, **more))  # type: ignore[arg-type]

    monkeypatch.setattr(hashes, "sha256", slow)
    with open_studio(tmp_path, engine=PretendEngine()) as studio:
        owner = studio.users.get(OWNER_ID)
        jobs = [studio.queue.submit(owner, "txt2img", Txt2Img(steps=1)) for _ in range(2)]
        assert begun.wait(WAIT) and [view["reading"] != "" for view in studio.queue.view(owner)] == [True, True]
        go_on.set()
        until(lambda: not studio.queue.view(owner))
        pictures = [studio.pictures.of_job(owner, job)[0] for job in jobs]
        digest = hashlib.sha256((tmp_path / "models" / "builtin" / "model.safetensors").read_bytes()).hexdigest()
        assert all(f"Model hash: {digest[:10]}, Model: builtin" in picture.parameters for picture in pictures)


def test_a_file_is_read_once_and_as_far_as_whoever_is_told_lets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place_model(tmp_path)
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")
    outline = resolver.outline(Txt2Img(seed=1))
    assert outline.model_hash == "" and outline.width > 0
    heard: list[tuple[int, int]] = []

    def enough(done: int, size: int) -> None:
        heard.append((done, size))
        if len(heard) == 2:
            raise LookupError

    monkeypatch.setattr(hashes, "BLOCK", path.stat().st_size // 3)
    with pytest.raises(LookupError):
        resolver.complete(outline, enough)
    assert resolver.known_hash(path) == ""
    whole = resolver.complete(outline)
    assert whole.model_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    assert resolver.outline(Txt2Img(seed=1)) == whole == resolver.request(Txt2Img(seed=1))
    assert resolver.complete(whole, enough) is whole and len(heard) == 2


def test_a_size_that_only_the_network_knows_is_asked_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_model(tmp_path)
    monkeypatch.setattr(catalogue, "is_undecided", lambda *_given: True)
    monkeypatch.setattr(catalogue, "remembered_spec", lambda *_given: None)
    monkeypatch.setattr(catalogue, "settled", lambda _path, _header, spec, *_rest: replace(spec, native_size=768))
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")
    (listed,) = resolver.models()
    assert (listed["family"], listed["native_size"]) == ("Stable Diffusion 2", None)
    outline = resolver.outline(Txt2Img(height=64))
    assert (outline.width, outline.height) == (0, 64) and not requests.is_complete(outline)
    assert (requests.at_most(outline).width, requests.at_most(outline).height) == (768, 64)
    whole = resolver.complete(outline)
    assert (whole.width, whole.height) == (768, 64)
