"""Jobs as rows: every change is kept together with the event that tells of it, and told in its order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.making import Clock
from webui.errors import UserError
from webui.service.broadcast import Broadcast
from webui.service.database import Database
from webui.service.jobs import GOES_ON, KEPT_SECONDS, Job, Jobs
from webui.service.turns import Slots

SLOTS = Slots()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "webui.sqlite3")
    with opened.write() as connection:
        connection.execute("INSERT INTO users (name, created) VALUES ('anna', 0)")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(database: Database, clock: Clock) -> Jobs:
    return Jobs(database, clock, Broadcast())


def add(jobs: Jobs, user: int = 1, pictures: int = 1, **request: Any) -> Job:
    return jobs.add(user, "txt2img", {"prompt": "x", **request}, pictures)


def again(jobs: Jobs, database: Database) -> Jobs:
    """As after a restart."""
    return Jobs(database, Clock(), Broadcast())


def kinds(jobs: Jobs, job: Job) -> list[str]:
    return [event["kind"] for event in jobs.events(job.id)]


def test_a_job_is_found_as_it_was_queued_also_by_the_next_process(jobs: Jobs, database: Database) -> None:
    job = add(jobs, pictures=3, prompt="“a ‘cat’” \\ 🐈")
    assert (job.state, job.pictures, job.request["prompt"]) == ("queued", 3, "“a ‘cat’” \\ 🐈")
    assert again(jobs, database).in_order() == jobs.in_order() == (job,)
    assert jobs.events(job.id) == [{"job": job.id, "number": 1, "kind": "queued", "ahead": 0}]


def test_the_life_of_a_job(jobs: Jobs, clock: Clock) -> None:
    job = add(jobs)
    clock.now += 5
    running = jobs.claim(SLOTS)
    assert running is not None and (running.id, running.state, running.attempts) == (job.id, "running", 1)
    assert running.started == clock.now
    clock.now += 5
    jobs.end(running, "finished", pictures=1)
    ended = jobs.get(job.id)
    assert ended is not None and (ended.state, ended.ended) == ("done", clock.now)
    assert jobs.in_order() == ()
    assert [(event["number"], event["kind"]) for event in jobs.events(job.id)] == [(1, "queued"), (2, "started"), (3, "finished")]
    assert [event["number"] for event in jobs.events(job.id, after=2)] == [3]


def test_a_job_ends_once(jobs: Jobs) -> None:
    job = add(jobs)
    jobs.end(job, "cancelled")
    jobs.end(job, "failed", sentence="too late", error="")
    assert kinds(jobs, job) == ["queued", "cancelled"]
    assert jobs.get(job.id).state == "cancelled"  # type: ignore[union-attr]


def test_an_error_undoes_the_change_and_tells_nobody(jobs: Jobs, database: Database) -> None:
    job = add(jobs)
    broadcast = Broadcast()
    jobs = Jobs(database, Clock(), broadcast)
    heard = broadcast.subscribe(1, lambda: None)
    with pytest.raises(KeyError), jobs.change() as change:
        change.set(job, state="running")
        change.event(job, "started", pictures=1)
        raise KeyError
    assert heard.take() == [] and kinds(jobs, job) == ["queued"]
    assert jobs.in_order()[0].state == "queued"


def test_what_is_told_can_be_looked_up(database: Database) -> None:
    broadcast = Broadcast()
    jobs = Jobs(database, Clock(), broadcast)
    seen: list[bool] = []

    def look() -> None:
        told = heard.take()
        seen.extend(event in jobs.events(event["job"]) for event in told)

    heard = broadcast.subscribe(1, look)
    job = add(jobs)
    jobs.claim(SLOTS)
    jobs.end(job, "finished", pictures=0)
    assert seen == [True] * 3


def test_ahead_counts_the_jobs_that_will_run_before(jobs: Jobs) -> None:
    for _ in range(3):
        add(jobs)
    jobs.claim(SLOTS)
    anna = add(jobs, user=2)
    assert jobs.events(anna.id)[0]["ahead"] == 1, "it is her turn"
    assert jobs.events(add(jobs).id)[0]["ahead"] == 4


def test_whose_turn_it_is_outlives_the_process(jobs: Jobs, database: Database) -> None:
    for user in (1, 1, 2, 2):
        add(jobs, user=user)
    first = jobs.claim(SLOTS)
    assert first is not None and first.user == 1
    jobs.end(first, "finished", pictures=1)
    second = again(jobs, database).claim(SLOTS)
    assert second is not None and second.user == 2


def test_after_a_kill_the_job_that_ran_goes_on_first_and_says_so(jobs: Jobs, database: Database) -> None:
    ran, waited = add(jobs), add(jobs)
    jobs.claim(Slots(running=1))
    later = again(jobs, database)
    later.recover(SLOTS)
    assert [job.id for job in later.in_order()] == [ran.id, waited.id]
    assert kinds(later, ran) == ["queued", "started", "requeued"] and kinds(later, waited) == ["queued"]
    assert later.events(ran.id)[-1]["sentence"] == GOES_ON
    queued = later.in_order()[0]
    assert queued.state == "queued" and queued.again and queued.suspect
    assert not later.in_order()[1].again
    claimed = later.claim(SLOTS)
    assert claimed is not None and claimed.id == ran.id and later.claim(SLOTS) is None


def test_a_job_that_is_there_each_time_the_program_dies_is_given_up(jobs: Jobs, database: Database) -> None:
    job = add(jobs)
    for attempt in (1, 2, 3):
        claimed = jobs.claim(SLOTS)
        assert claimed is not None and claimed.attempts == attempt
        jobs = again(jobs, database)
        jobs.recover(SLOTS)
    ended = jobs.get(job.id)
    assert ended is not None and ended.state == "failed" and "3 times" in ended.sentence
    assert kinds(jobs, job)[-2:] == ["started", "failed"]


def test_ending_in_good_order_is_no_attempt(jobs: Jobs, database: Database) -> None:
    job = add(jobs)
    for _ in range(5):
        claimed = jobs.claim(SLOTS)
        assert claimed is not None and claimed.attempts == 1
        jobs.put_back(claimed)
        jobs = again(jobs, database)
        jobs.recover(SLOTS)
        (waiting,) = jobs.in_order()
        assert waiting.id == job.id and waiting.again and not waiting.suspect


def test_moving_changes_the_order_of_ones_own(jobs: Jobs, database: Database) -> None:
    a, b, c, d = (add(jobs) for _ in range(4))

    def order() -> str:
        return "".join({a.id: "a", b.id: "b", c.id: "c", d.id: "d"}[job.id] for job in jobs.in_order())

    jobs.move(d, a)
    assert order() == "dabc"
    jobs.move(d, c)
    assert order() == "abdc"
    jobs.move(a, None)
    assert order() == "bdca"
    jobs.move(b, b)
    assert order() == "bdca"
    e = add(jobs)
    assert jobs.in_order()[-1].id == e.id
    assert [job.id for job in again(jobs, database).in_order()] == [job.id for job in jobs.in_order()]


def test_what_has_begun_or_belongs_to_somebody_else_stays_where_it_is(jobs: Jobs) -> None:
    mine, other, hers = add(jobs), add(jobs), add(jobs, user=2)
    with pytest.raises(UserError, match="same person"):
        jobs.move(mine, hers)
    jobs.claim(Slots(running=1))
    for job, before in ((mine, other), (other, mine)):
        with pytest.raises(UserError, match="not begun"):
            jobs.move(job, before)


def test_what_is_settled_is_not_made_again(jobs: Jobs) -> None:
    job = add(jobs, pictures=4)
    with jobs.change() as change:
        change.event(job, "picture", picture=2, id="p", interrupted=False)
        change.event(job, "skipped", picture=0)
        change.event(job, "notice", sentence="x")
    assert set(jobs.settled(job.id)) == {0, 2}
    assert jobs.counts([job.id, "nobody"]) == {job.id: (1, 4)}


def test_jobs_that_ended_long_ago_are_forgotten_and_their_pictures_are_not(jobs: Jobs, database: Database, clock: Clock) -> None:
    old, waiting = add(jobs), add(jobs)
    with database.write() as connection:
        connection.execute(
            "INSERT INTO pictures (id, user, job, place, path, bytes, width, height, seed, prompt, parameters, request, created) "
            "VALUES ('p', 1, ?, 0, 'x.png', 1, 1, 1, '1', '', '', '{}', 0)", (old.id,),
        )  # fmt: skip
    jobs.end(old, "cancelled")
    clock.now += KEPT_SECONDS - 1
    jobs.forget_old()
    assert jobs.get(old.id) is not None
    clock.now += 2
    jobs.forget_old()
    assert jobs.get(old.id) is None and jobs.events(old.id) == []
    assert jobs.get(waiting.id) is not None
    assert [row["job"] for row in database.all("SELECT job FROM pictures")] == [None]
