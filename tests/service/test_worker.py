"""The worker between rows and engine: what is told is on disk, what fails fails alone, and the thread never dies."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.service.making import Core, core, until
from tests.service.pretend import PretendEngine, gradient
from webui.engine import events
from webui.errors import StorageError
from webui.request import Request
from webui.service import gallery, keeping, picture_texts
from webui.service.jobs import GOES_ON
from webui.service.running import Running, gaps
from webui.service.turns import Slots


class Scripted:
    """An engine that does what the test says: `tell` is its next event, `asked` what it was asked for."""

    def __init__(self) -> None:
        self.pretend = PretendEngine()
        self.asked: list[tuple[Any, ...]] = []
        self.requests: dict[str, Request] = {}
        self.refuse: Exception | None = None

    def warm(self) -> None:
        self.asked.append(("warm",))

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        self.asked.append(("submit", key))
        if self.refuse is not None:
            raise self.refuse
        self.requests[key] = Request.from_dict(json.loads(json.dumps(request)))
        self.pretend._outbox.open(key)

    def next(self, timeout: float | None = None) -> tuple[str, events.Event] | None:
        told = self.pretend.next(timeout)
        if told is not None and isinstance(told[1], events.Queued):  # stands for an engine whose events raise
            raise ConnectionError("the engine is gone")
        return told

    def watch(self, key: str, on: bool) -> None:
        self.asked.append(("watch", key, on))

    def interrupt(self, key: str) -> None:
        self.asked.append(("interrupt", key))

    def skip(self, key: str, picture: int | None = None) -> None:
        self.asked.append(("skip", key, picture))

    def cancel(self, key: str) -> None:
        self.asked.append(("cancel", key))

    def close(self) -> None:
        self.asked.append(("close",))
        self.pretend.close()

    def tell(self, key: str, event: events.Event) -> None:
        self.pretend._outbox.put(key, event)

    def picture(self, key: str, number: int = 0, interrupted: bool = False) -> None:
        own = self.requests[key].picture(number)
        pixels = gradient(own.width, own.height, own.seed)
        self.tell(key, events.Picture(
            job=key, picture=number, pixels=pixels, request=own, batched=True, interrupted=interrupted,
        ))  # fmt: skip

    def progress(self, key: str, step: int, picture: int = 0) -> None:
        self.tell(key, events.Progress(job=key, picture=picture, step=step, steps=3, seconds_left=None))

    def finish(self, key: str) -> None:
        self.tell(key, events.Finished(job=key, pictures=0))


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def made(tmp_path: Path, engine: Scripted) -> Iterator[Core]:
    opened = core(tmp_path, engine)
    yield opened
    opened.close()


def files(root: Path) -> list[Path]:
    return sorted((root / "outputs").glob("*.png"))


def test_a_picture_is_on_disk_and_in_the_gallery_before_anybody_hears_of_it(made: Core, engine: Scripted, tmp_path: Path) -> None:
    seen: list[tuple[list[Path], list[Any]]] = []

    def look() -> None:
        if any(event["kind"] == "picture" for event in subscription.take()):
            looking = threading.Thread(target=lambda: seen.append((files(tmp_path), made.pictures.search(made.owner))))
            looking.start()  # another one than that which writes, and sees what it has not committed yet
            looking.join()

    subscription = made.broadcast.subscribe(1, look)
    job = made.submit(prompt="a cat", seed=5, count=2)
    engine.picture(f"{job}/0", 1, interrupted=True)
    engine.finish(f"{job}/0")
    made.ended(job)
    ((written, (row,)),) = seen
    assert [path.name for path in written] == ["00000-6.png"]
    assert (row.path, row.job, row.place, row.seed, row.interrupted) == (written[0].absolute(), job, 1, "6", True)
    text = gallery.read_text(written[0])
    assert text == row.parameters == picture_texts.text_of(engine.requests[f"{job}/0"].picture(1), batched=True, interrupted=True)
    assert "Interrupted: True" in text and "Shared calls: True" in text
    assert row.bytes == written[0].stat().st_size
    told = made.jobs.events(job)[2]
    assert told == {
        "job": job, "number": 3, "kind": "picture", "picture": 1, "id": row.id, "width": 64, "height": 64, "seed": "6",
        "interrupted": True,
    }  # fmt: skip
    assert made.database.all("SELECT * FROM saving") == []


def test_jobs_of_one_person_fill_the_slots_and_the_next_begins_when_one_ends(made: Core, engine: Scripted) -> None:
    jobs = [made.submit() for _ in range(6)]
    assert engine.asked == [("submit", f"{job}/0") for job in jobs[:4]]
    engine.finish(f"{jobs[2]}/0")
    made.ended(jobs[2])
    until(lambda: made.job(jobs[4]).state == "running")
    assert made.job(jobs[5]).state == "queued"


def test_people_take_turns(made: Core, engine: Scripted) -> None:
    mine = [made.submit() for _ in range(6)]
    anna = made.user("anna")
    hers = made.submit(anna)
    engine.finish(f"{mine[0]}/0")
    until(lambda: made.job(hers).state == "running")
    engine.finish(f"{mine[1]}/0")
    until(lambda: made.job(mine[4]).state == "running")


def test_progress_and_time_left_are_told_and_kept_nowhere(made: Core, engine: Scripted) -> None:
    listener = made.listen(made.owner)
    job = made.submit()
    behind = made.submit()
    engine.progress(f"{job}/0", 1)
    assert listener.until("progress")["seconds_left"] is None
    engine.progress(f"{job}/0", 2)
    told = listener.until("progress", step=2)
    assert told["job"] == job and told["number"] == 0 and told["picture"] == 0 and told["steps"] == 3
    assert told["seconds_left"] > 0
    view = {each["job"]: each for each in made.queue.view(made.owner)}
    assert (view[job]["step"], view[job]["steps"], view[job]["picture"]) == (2, 3, 0)
    assert 0 < view[job]["seconds_left"] < view[behind]["seconds_left"]
    assert set(made.kinds(job)) == {"queued", "started"}


def test_previews_are_made_only_while_somebody_watches_and_the_newest_is_had(made: Core, engine: Scripted) -> None:
    job = made.submit()
    key = f"{job}/0"
    engine.progress(key, 1)
    assert ("watch", key, True) not in engine.asked
    listener = made.listen(made.owner)
    until(lambda: ("watch", key, True) in engine.asked)
    for step in (1, 2):
        engine.tell(key, events.Preview(job=key, picture=0, step=step, pixels=gradient(16, 8, step * 1000)))
        listener.until("preview", step=step)
    shown = made.queue.preview(made.owner, job, 0)
    assert shown is not None and shown[1] == listener.until("preview", step=2)["sequence"]
    with Image.open(io.BytesIO(shown[0])) as picture:
        assert picture.format == "JPEG" and picture.size == (16, 8)
        assert np.abs(np.asarray(picture).astype(int) - gradient(16, 8, 2000)).mean() < 8
    assert made.queue.preview(made.owner, job, 1) is None
    listener.subscription.close()
    until(lambda: ("watch", key, False) in engine.asked)
    engine.picture(key)
    until(lambda: made.queue.preview(made.owner, job, 0) is None)
    assert "picture" in made.kinds(job)


def test_who_waits_is_told_how_many_are_before(made: Core, engine: Scripted) -> None:
    listener = made.listen(made.owner)
    jobs = [made.submit() for _ in range(6)]
    assert listener.until("queued", job=jobs[5], number=0)["ahead"] == 5
    engine.finish(f"{jobs[0]}/0")
    assert listener.until("queued", job=jobs[5], number=0, ahead=4)["seconds_left"] is None


def test_interrupting_keeps_what_there_is(made: Core, engine: Scripted) -> None:
    job = made.submit(count=2)
    made.queue.interrupt(made.owner, job)
    assert engine.asked[-1] == ("interrupt", f"{job}/0")
    engine.picture(f"{job}/0", 0, interrupted=True)
    engine.tell(f"{job}/0", events.Skipped(job="", picture=1))
    engine.tell(f"{job}/0", events.Interrupted(job="", pictures=1))
    assert made.ended(job).state == "interrupted"
    assert made.jobs.events(job)[-1]["pictures"] == 1
    assert made.kinds(job)[2:] == ["picture", "skipped", "interrupted"]


def test_cancelling_ends_a_job_at_once_and_what_still_comes_is_ignored(made: Core, engine: Scripted, tmp_path: Path) -> None:
    job, other = made.submit(), made.submit()
    made.queue.cancel(made.owner, job)
    assert made.job(job).state == "cancelled"
    assert ("cancel", f"{job}/0") in engine.asked
    engine.picture(f"{job}/0")
    engine.picture(f"{other}/0")
    engine.finish(f"{other}/0")
    made.ended(other)
    assert made.kinds(job) == ["queued", "started", "cancelled"] and len(files(tmp_path)) == 1


def test_a_cancelled_waiting_job_never_begins(made: Core, engine: Scripted) -> None:
    jobs = [made.submit() for _ in range(5)]
    made.queue.cancel(made.owner, jobs[4])
    for job in jobs[:4]:
        engine.finish(f"{job}/0")
        made.ended(job)
    assert made.kinds(jobs[4]) == ["queued", "cancelled"]
    assert ("submit", f"{jobs[4]}/0") not in engine.asked


def test_a_picture_skipped_while_its_job_waits_is_not_made(made: Core, engine: Scripted) -> None:
    first = [made.submit() for _ in range(4)]
    job = made.submit(count=4, seed=10)
    made.queue.skip(made.owner, job, 1)
    made.queue.skip(made.owner, job, 1)
    engine.finish(f"{first[0]}/0")
    until(lambda: made.job(job).state == "running")
    assert engine.requests[f"{job}/0"].count == 1
    rest = engine.requests[f"{job}/2"]
    assert (rest.count, rest.seed) == (2, 12)
    made.queue.skip(made.owner, job, 3)
    assert engine.asked[-1] == ("skip", f"{job}/2", 1)
    made.queue.skip(made.owner, job)
    assert set(engine.asked[-2:]) == {("skip", f"{job}/0", None), ("skip", f"{job}/2", None)}
    engine.picture(f"{job}/2", 0)
    engine.finish(f"{job}/2")
    engine.tell(f"{job}/0", events.Skipped(job="", picture=0))
    engine.finish(f"{job}/0")
    assert made.ended(job).state == "done"
    settled = made.jobs.settled(job)
    assert {number: event["kind"] for number, event in settled.items()} == {0: "skipped", 1: "skipped", 2: "picture"}
    assert settled[2]["seed"] == "12"


def test_what_is_skipped_before_the_engine_begins_is_asked_for_again_when_it_does(made: Core, engine: Scripted) -> None:
    job = made.submit(count=3)
    key = f"{job}/0"
    made.queue.skip(made.owner, job, 1)
    assert engine.asked.count(("skip", key, 1)) == 1
    engine.tell(key, events.Started(job="", pictures=3))
    until(lambda: engine.asked.count(("skip", key, 1)) == 2)


def test_a_failed_job_says_why_and_the_others_go_on(made: Core, engine: Scripted) -> None:
    job, other = made.submit(), made.submit()
    engine.tell(f"{job}/0", events.Failed(job="", sentence="It is too hot.", error_id="abc", by_request=False))
    failed = made.ended(job)
    assert (failed.state, failed.sentence, failed.error) == ("failed", "It is too hot.", "abc")
    assert made.jobs.events(job)[-1]["sentence"] == "It is too hot."
    assert made.job(other).state == "running"


def test_what_cannot_be_handed_to_the_engine_fails_with_the_id_that_the_log_has(made: Core, engine: Scripted) -> None:
    engine.refuse = RuntimeError("no hands")
    job = made.submit()
    failed = made.job(job)
    assert failed.state == "failed" and "no hands" in failed.sentence and failed.error and failed.error in failed.sentence
    engine.refuse = None
    other = made.submit()
    assert made.job(other).state == "running"


def test_an_event_that_cannot_be_acted_on_fails_its_job_and_no_other(made: Core, engine: Scripted) -> None:
    job, other = made.submit(), made.submit()
    pixels: Any = "no pixels"
    request = engine.requests[f"{job}/0"]
    engine.tell(f"{job}/0", events.Picture(
        job="", picture=0, pixels=pixels, request=request, batched=False, interrupted=False,
    ))  # fmt: skip
    failed = made.ended(job)
    assert failed.state == "failed" and "AttributeError" in failed.sentence
    assert ("cancel", f"{job}/0") in engine.asked
    engine.picture(f"{other}/0")
    engine.finish(f"{other}/0")
    assert made.ended(other).state == "done"


def test_an_engine_whose_events_raise_fails_what_runs_and_the_thread_goes_on(
    made: Core, engine: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [made.submit() for _ in range(2)]
    engine.tell(f"{jobs[0]}/0", events.Queued(job="", ahead=0))
    for job in jobs:
        assert "the engine is gone" in made.ended(job).sentence
    later = made.submit()
    engine.picture(f"{later}/0")
    engine.finish(f"{later}/0")
    assert made.ended(later).state == "done"
    assert caplog.text.count("The worker stumbled") == 1


def test_a_full_disk_moves_the_picture_and_says_so(
    made: Core, engine: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    monkeypatch.setattr(gallery, "default_fallbacks", lambda: (tmp_path / "elsewhere",))
    job = made.submit()
    engine.picture(f"{job}/0")
    engine.finish(f"{job}/0")
    assert made.ended(job).state == "done"
    (row,) = made.pictures.search(made.owner)
    assert row.path.parent == tmp_path / "elsewhere" and row.path.is_file()
    assert made.kinds(job)[2:] == ["picture", "notice", "finished"]
    assert "elsewhere" in made.jobs.events(job)[3]["sentence"]


def test_where_no_disk_has_room_the_job_fails_with_a_sentence_and_can_be_tried_again(
    made: Core, engine: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    monkeypatch.setattr(gallery, "default_fallbacks", lambda: ())
    job = made.submit(count=3, seed=10)
    engine.picture(f"{job}/0")
    failed = made.ended(job)
    assert failed.state == "failed" and "could not be written" in failed.sentence and "make room" in failed.sentence
    assert ("cancel", f"{job}/0") in engine.asked
    (tmp_path / "outputs").unlink()
    again = made.queue.retry(made.owner, job)
    for number in range(3):
        engine.picture(f"{again}/0", number)
    engine.finish(f"{again}/0")
    assert made.ended(again).state == "done"
    assert [path.name for path in files(tmp_path)] == ["00000-10.png", "00001-11.png", "00002-12.png"]


def test_a_database_without_room_costs_neither_the_picture_nor_the_thread(made: Core, engine: Scripted, tmp_path: Path) -> None:
    listener = made.listen(made.owner)
    job = made.submit()
    made.database._connection.execute("PRAGMA query_only = ON")  # fails as a full disk does
    engine.picture(f"{job}/0")
    told = listener.until("notice")
    assert "could not be written down yet" in told["sentence"] or "gallery could not be told" in told["sentence"]
    assert len(files(tmp_path)) == 1, "the picture itself is safe"
    assert made.job(job).state == "running"
    made.database._connection.execute("PRAGMA query_only = OFF")
    failed = made.ended(job)
    assert failed.state == "failed" and str(files(tmp_path)[0]) in failed.sentence
    later = made.submit()
    engine.picture(f"{later}/0")
    engine.finish(f"{later}/0")
    assert made.ended(later).state == "done"


def test_closing_puts_back_what_runs_and_the_next_start_makes_only_what_is_missing(tmp_path: Path) -> None:
    first = Scripted()
    made = core(tmp_path, first)
    job, waiting = made.submit(count=3, seed=10), made.submit()
    first.picture(f"{job}/0", 1)
    until(lambda: "picture" in made.kinds(job))
    kept = made.pictures.search(made.owner)[0].id
    made.close()
    assert first.asked[-1] == ("close",)

    second = Scripted()
    made = core(tmp_path, second)
    assert made.jobs.events(job)[-2]["kind"] == "requeued" and made.jobs.events(job)[-2]["sentence"] == GOES_ON
    assert made.job(job).state == "running" and made.queue.view(made.owner)[0]["again"]
    assert [each["done"] for each in made.queue.view(made.owner)] == [1, 0]
    assert {key: (request.seed, request.count) for key, request in second.requests.items()} == {
        f"{job}/0": (10, 1), f"{job}/2": (12, 1), f"{waiting}/0": (7, 1),
    }  # fmt: skip
    for key in (f"{job}/2", f"{job}/0"):
        second.picture(key)
        second.finish(key)
    assert made.ended(job).state == "done"
    places = {picture.place: picture for picture in made.pictures.search(made.owner)}
    assert sorted(places) == [0, 1, 2] and places[1].id == kept
    assert {places[place].seed for place in places} == {"10", "11", "12"}
    assert made.jobs.events(job)[-1]["pictures"] == 3
    made.close()


def test_a_job_all_of_whose_pictures_were_saved_before_the_kill_ends_at_once(tmp_path: Path) -> None:
    first = Scripted()
    made = core(tmp_path, first)
    job = made.submit()
    first.picture(f"{job}/0")
    until(lambda: "picture" in made.kinds(job))
    made.close()
    second = Scripted()
    made = core(tmp_path, second)
    assert made.job(job).state == "done" and second.requests == {}
    made.close()


def test_a_picture_whose_row_was_lost_with_the_process_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment between the file's rename and the commit, as a kill would leave it."""
    first = Scripted()
    made = core(tmp_path, first)
    job = made.submit(count=2)
    reached = threading.Event()

    def killed(*_given: Any) -> None:
        reached.set()
        raise SystemError("killed")

    monkeypatch.setattr(made.worker, "_fail", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(keeping.Keeper, "_tell", killed)
        first.picture(f"{job}/0", 1)
        until(reached.is_set)
    assert len(files(tmp_path)) == 1 and made.pictures.search(made.owner) == []
    made.worker.close()
    with made.database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'running', attempts = 1")
    made.database.close()
    unfinished = tmp_path / "outputs" / ".00001.part"
    unfinished.write_bytes(b"half")
    made = core(tmp_path, PretendEngine(), start=False)
    with made.database.write() as connection:
        noted = str(tmp_path / "outputs" / "00001-8.png"), json.dumps({"job": job})
        connection.execute("INSERT INTO saving VALUES (?, ?)", noted)
    made.worker.start()
    assert made.ended(job).state == "done"
    rows = {picture.place: picture for picture in made.pictures.search(made.owner)}
    assert sorted(rows) == [0, 1] and rows[1].path.name == "00000-8.png" and rows[1].seed == "8"
    assert made.kinds(job)[3:] == ["picture", "requeued", "started", "picture", "finished"]
    assert not unfinished.exists() and made.database.all("SELECT * FROM saving") == []
    made.close()


def test_getting_on_clears_a_suspect(tmp_path: Path) -> None:
    engine = Scripted()
    made = core(tmp_path, engine, slots=Slots(attempts=9))
    job = made.submit(count=2)
    with made.database.write() as connection:
        connection.execute("UPDATE jobs SET attempts = 4")
    made.worker.close()
    with made.database.write() as connection:
        connection.execute("UPDATE jobs SET state = 'running', attempts = 4")
    made.database.close()
    made = core(tmp_path, engine := Scripted(), slots=Slots(attempts=9))
    other = made.submit()
    assert made.job(job).attempts == 5 and made.job(other).state == "queued", "it runs alone"
    engine.picture(f"{job}/0")
    until(lambda: made.job(other).state == "running")
    assert made.job(job).attempts == 1
    made.close()


@pytest.mark.parametrize(
    ("count", "settled", "runs"),
    [(3, set(), [(0, 3)]), (3, {0, 1, 2}, []), (5, {1, 3}, [(0, 1), (2, 1), (4, 1)]), (4, {0, 3}, [(1, 2)])],
)
def test_gaps(count: int, settled: set[int], runs: list[tuple[int, int]]) -> None:
    assert list(gaps(count, settled)) == runs


def test_looking_how_much_is_left_stands_changes_meanwhile(made: Core) -> None:
    """The worker's thread goes on while somebody asks; the set that is asked stands for the moment between two instructions."""
    job = made.job(made.submit(count=9))
    running = Running(job=job, request=Request.from_dict(job.request), settled=set(), steps={0: (1, 3)})

    class Meanwhile(set[int]):
        def __contains__(self, item: object) -> bool:
            running.steps[len(running.steps)] = 1, 3
            return False

    running.settled = Meanwhile()
    assert running.left().amount > 0 and len(running.steps) == 2


def test_a_waiting_job_of_another_version_keeps_nobody_from_looking(made: Core) -> None:
    jobs = [made.submit() for _ in range(5)]
    with made.jobs.change() as change:
        change.set(made.job(jobs[4]), request='{"unheard": "of"}')
    assert [each["job"] for each in made.queue.view(made.owner)] == jobs
    made.queue.cancel(made.owner, jobs[0])
    assert "Unknown field" in made.ended(jobs[4]).sentence


def mapped(engine: Scripted, key: str) -> events.Picture:
    """A picture that was made to a map."""
    own = engine.requests[key].picture(0)
    values = np.arange(own.width * own.height, dtype=np.uint16).reshape(own.height, own.width)
    pixels = gradient(own.width, own.height, own.seed)
    return events.Picture(
        job=key, picture=0, pixels=pixels, request=own, batched=False, interrupted=False, maps={"depth": values}
    )  # fmt: skip


def test_the_map_a_picture_was_made_to_is_kept_with_it(made: Core, engine: Scripted) -> None:
    job = made.submit(seed=5)
    until(lambda: f"{job}/0" in engine.requests)
    event = mapped(engine, f"{job}/0")
    engine.tell(f"{job}/0", event)
    engine.finish(f"{job}/0")
    assert made.ended(job).state == "done"
    (picture,) = made.pictures.search(made.owner)
    (told,) = [each for each in made.jobs.events(job) if each["kind"] == "picture"]
    assert told["maps"] == picture.maps and set(picture.maps) == {"depth"}
    with Image.open(io.BytesIO(made.inputs.open(made.owner, picture.maps["depth"]))) as opened:
        assert np.array_equal(np.asarray(opened), event.maps["depth"])


def test_a_map_that_cannot_be_kept_costs_no_picture(
    made: Core, engine: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> str:
        raise StorageError("There is no room; make some.")

    monkeypatch.setattr(made.inputs, "keep_made", full)
    job = made.submit(seed=5)
    until(lambda: f"{job}/0" in engine.requests)
    engine.tell(f"{job}/0", mapped(engine, f"{job}/0"))
    engine.finish(f"{job}/0")
    assert made.ended(job).state == "done"
    assert [picture.maps for picture in made.pictures.search(made.owner)] == [{}]
    (notice,) = [each["sentence"] for each in made.jobs.events(job) if each["kind"] == "notice"]
    assert notice == "The depth map could not be kept: There is no room; make some."
