"""What every engine behind the plain interface does: the same tests over the one in a thread and over the pretend one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import tiny_checkpoint
from tests.service import making
from tests.service.pretend import PretendEngine
from webui.engine import events
from webui.engine.log import EventStream, Log
from webui.request import Request
from webui.service.engines import EngineHandle, ThreadEngine
from webui.service.outbox import Outbox
from webui.weights.families import PREVIEW_KEY

PREVIEW = '{"matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "bias": [0, 0, 0], "error": 0.1}'
WAIT = 60.0  # seconds; nothing takes so long but a machine that is very busy
LONG = {"steps": 150, "count": 40}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    tiny_checkpoint.write(folder / "models" / "builtin" / "model.safetensors", metadata={PREVIEW_KEY: PREVIEW})
    return folder


@pytest.fixture(params=["pretend", "thread"])
def engine(request: pytest.FixtureRequest, root: Path) -> Iterator[EngineHandle]:
    made: EngineHandle = PretendEngine(0.001) if request.param == "pretend" else ThreadEngine(root, exact=True)
    yield made
    made.close()


def plain(**more: Any) -> dict[str, Any]:
    common: dict[str, Any] = {"model": "builtin", "prompt": "ab", "steps": 3, "sampler": "Euler", "schedule": "Karras"}
    made = Request(**common | {"scale": 2.0, "seed": 5, "width": 64, "height": 48} | more).to_dict()
    assert json.loads(json.dumps(made)) == made
    return made


def heard(engine: EngineHandle, *keys: str) -> dict[str, list[events.Event]]:
    """All events of requests, to the last of each."""
    told: dict[str, list[events.Event]] = {key: [] for key in keys}
    while not all(each and isinstance(each[-1], events.LAST) for each in told.values()):
        entry = engine.next(WAIT)
        assert entry is not None, f"nothing came after {told}"
        told[entry[0]].append(entry[1])
    return told


def of(told: list[events.Event], kind: type[events.Event]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def until(engine: EngineHandle, kind: type[events.Event]) -> events.Event:
    while True:
        entry = engine.next(WAIT)
        assert entry is not None
        if isinstance(entry[1], kind):
            return entry[1]


def test_a_request_becomes_its_pictures(engine: EngineHandle) -> None:
    engine.submit("a", plain(count=2))
    told = heard(engine, "a")["a"]
    pictures = of(told, events.Picture)
    assert sorted(event.picture for event in pictures) == [0, 1]
    assert {event.picture: event.request.seed for event in pictures} == {0: 5, 1: 6}
    assert all(event.pixels.shape == (48, 64, 3) and not event.interrupted for event in pictures)
    assert told[-1].pictures == 2 and isinstance(told[-1], events.Finished)  # type: ignore[attr-defined]
    assert not of(told, events.Preview), "nobody watched"
    for number in (0, 1):
        steps = [event.step for event in of(told, events.Progress) if event.picture == number]
        assert steps == sorted(set(steps)) and all(0 < step <= 3 for step in steps)
    assert engine.next(0) is None


def test_the_same_request_is_the_same_picture(engine: EngineHandle) -> None:
    engine.submit("once", plain())
    (first,) = of(heard(engine, "once")["once"], events.Picture)
    engine.submit("once", plain())
    (again,) = of(heard(engine, "once")["once"], events.Picture)
    engine.submit("other", plain(seed=900))
    (other,) = of(heard(engine, "other")["other"], events.Picture)
    assert (first.pixels == again.pixels).all()
    assert (first.pixels != other.pixels).any()


def test_several_requests_run_beside_each_other(engine: EngineHandle) -> None:
    keys = [f"job {number}" for number in range(4)]
    for key in keys:
        engine.submit(key, plain(count=2))
    told = heard(engine, *keys)
    assert all(len(of(each, events.Picture)) == 2 for each in told.values())


def test_an_interrupted_request_keeps_its_pictures_as_they_are(engine: EngineHandle) -> None:
    engine.submit("a", plain(**LONG))
    until(engine, events.Progress)
    engine.interrupt("a")
    told = heard(engine, "a")["a"]
    assert isinstance(told[-1], events.Interrupted)
    pictures = of(told, events.Picture)
    assert len(pictures) == told[-1].pictures < LONG["count"]
    assert pictures and all(event.interrupted for event in pictures)


def test_a_skipped_picture_is_dropped_and_the_rest_is_made(engine: EngineHandle) -> None:
    engine.submit("a", plain(steps=40, count=6))
    until(engine, events.Progress)
    engine.skip("a", 5)
    told = heard(engine, "a")["a"]
    assert [event.picture for event in of(told, events.Skipped)] == [5]
    assert sorted(event.picture for event in of(told, events.Picture)) == [0, 1, 2, 3, 4]
    assert isinstance(told[-1], events.Finished)


def test_skipping_drops_what_is_being_made(engine: EngineHandle) -> None:
    engine.submit("a", plain(**LONG))
    until(engine, events.Progress)
    engine.skip("a")
    dropped = until(engine, events.Skipped)
    engine.cancel("a")
    told = heard(engine, "a")["a"]
    assert dropped.picture == 0 and isinstance(told[-1], events.Cancelled)  # type: ignore[attr-defined]


def test_a_cancelled_request_is_heard_of_no_more(engine: EngineHandle) -> None:
    engine.submit("a", plain(**LONG))
    engine.submit("b", plain(count=2))
    until(engine, events.Started)
    engine.cancel("a")
    told = heard(engine, "a", "b")
    assert isinstance(told["a"][-1], events.Cancelled)
    assert isinstance(told["b"][-1], events.Finished)
    assert not of(told["a"], events.Picture)


def test_previews_are_made_while_somebody_watches(engine: EngineHandle) -> None:
    engine.submit("a", plain(**LONG))
    until(engine, events.Progress)
    engine.watch("a", True)
    shown = until(engine, events.Preview)
    assert shown.pixels.ndim == 3 and shown.pixels.shape[2] == 3 and shown.pixels.dtype == "uint8"  # type: ignore[attr-defined]
    engine.watch("a", False)
    engine.cancel("a")
    heard(engine, "a")
    assert engine.next(0) is None


def test_a_request_that_makes_no_sense_fails_alone(engine: EngineHandle) -> None:
    engine.submit("good", plain(steps=20))
    engine.submit("bad", {"prompt": "no more than this"})
    told = heard(engine, "good", "bad")
    (failed,) = of(told["bad"], events.Failed)
    assert failed.by_request and "incomplete" in failed.sentence
    assert isinstance(told["good"][-1], events.Finished)


def test_wishes_for_what_does_not_run_are_ignored(engine: EngineHandle) -> None:
    for ask in (engine.interrupt, engine.skip, engine.cancel):
        ask("nobody")
    engine.watch("nobody", True)
    engine.submit("a", plain())
    assert isinstance(heard(engine, "a")["a"][-1], events.Finished)
    engine.cancel("a")
    engine.submit("a", plain())
    assert isinstance(heard(engine, "a")["a"][-1], events.Finished)


def test_closing_ends_what_runs_and_keeps_nobody_waiting(engine: EngineHandle) -> None:
    engine.warm()
    engine.submit("a", plain(**LONG))
    until(engine, events.Progress)
    ended = threading.Event()

    def read() -> None:
        while engine.next() is not None:
            pass
        ended.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    began = time.monotonic()
    engine.close()
    assert ended.wait(WAIT) and time.monotonic() - began < WAIT
    assert engine.next() is None


def test_a_folder_without_models_fails_the_job_with_a_sentence(tmp_path: Path) -> None:
    engine = ThreadEngine(tmp_path, exact=True)
    engine.submit("a", plain(model="gone"))
    (failed,) = of(heard(engine, "a")["a"], events.Failed)
    assert "gone" in failed.sentence and failed.by_request
    engine.close()


def test_an_engine_that_cannot_be_opened_fails_each_job_and_is_tried_again(tmp_path: Path, monkeypatch: Any) -> None:
    tries = []

    def broken(*given: Any) -> Any:
        tries.append(given)
        raise OSError("no such device")

    monkeypatch.setattr("webui.service.engines.open_service", broken)
    engine = ThreadEngine(tmp_path)
    engine.warm()
    for key in ("a", "b"):
        engine.submit(key, plain())
        (failed,) = heard(engine, key)[key]
        assert isinstance(failed, events.Failed)
        assert "no such device" in failed.sentence and failed.error_id in failed.sentence
    assert len(tries) == 3
    engine.close()


def test_an_engine_that_was_never_needed_imports_no_torch_and_closes_at_once(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("webui.service.engines.open_service", lambda *_given: pytest.fail("opened"))
    engine = ThreadEngine(tmp_path)
    engine.cancel("nobody")
    engine.close()
    assert engine.next() is None


def test_a_closed_outbox_has_nothing_whatever_late_writers_put_into_it() -> None:
    box = Outbox()
    for key in ("a", "b"):
        box.open(key)
    box.put("a", events.Skipped(picture=1, job=""))
    box.close()
    box.put("a", events.Skipped(picture=2, job=""))
    box.put("b", events.Cancelled(job=""))
    assert box.next(0) is None and box.next() is None, "nobody who waits is kept waiting, and nothing is told any more"


class Streamed:
    """An engine whose jobs end when the test says."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.forgotten: list[str] = []
        self.cancelled: list[str] = []

    def submit(self, request: Request) -> str:
        name = f"job {len(self.logs)}"
        self.logs[name] = Log()
        return name

    def events(self, job: str, previews: bool = False) -> EventStream:
        return EventStream(self.logs[job], previews)

    def forget(self, job: str) -> None:
        self.forgotten.append(job)

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)


def test_a_key_that_is_given_again_at_once_is_the_new_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = Streamed()
    service = SimpleNamespace(engine=streamed, close=lambda: None)
    monkeypatch.setattr("webui.service.engines.open_service", lambda *_given: service)
    engine = ThreadEngine(tmp_path)
    engine.submit("a", plain())
    making.until(lambda: len(streamed.logs) == 1)
    busy = threading.Event()

    def wait() -> None:
        assert busy.wait(WAIT)

    engine._engine._wishes.put(("", None, wait))
    engine.submit("a", plain())
    streamed.logs["job 0"].add(events.Cancelled(job="job 0"))
    busy.set()
    making.until(lambda: bool(streamed.forgotten))
    assert streamed.forgotten == ["job 0"] and engine.next(0) is None, "that was the other request's end"
    engine.cancel("a")
    making.until(lambda: bool(streamed.cancelled))
    assert streamed.cancelled == ["job 1"]
    streamed.logs["job 1"].add(events.Cancelled(job="job 1"))
    engine.close()


def test_the_outbox_keeps_the_newest_progress_and_every_picture() -> None:
    box = Outbox()
    box.open("a")
    box.open("b")
    for step in range(1, 1000):
        box.put("a", events.Progress(job="", picture=0, step=step, steps=1000, seconds_left=None))
    box.put("b", events.Progress(job="", picture=0, step=1, steps=9, seconds_left=None))
    box.put("a", events.Skipped(picture=1, job=""))
    box.put("a", events.Finished(job="", pictures=0))
    box.put("a", events.Finished(job="", pictures=0))
    box.put("never opened", events.Skipped(picture=1, job=""))
    told = []
    while (entry := box.next(0)) is not None:
        told.append(entry)
    assert [(key, type(event).__name__) for key, event in told] == [
        ("a", "Progress"), ("b", "Progress"), ("a", "Skipped"), ("a", "Finished"),
    ]  # fmt: skip
    assert told[0][1].step == 999  # type: ignore[attr-defined]
