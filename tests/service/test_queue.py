"""What people do with jobs: everyone theirs, the owner all, nobody anybody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.making import Core, Model, core
from tests.service.pretend import PretendEngine
from webui.drawing import Txt2Img
from webui.errors import NotFound, TooMany, UserError
from webui.service.limits import UserLimits
from webui.service.turns import Slots
from webui.service.users import User

Ask = Callable[[Core, User, str], object]
ASKS: dict[str, Ask] = {
    "interrupt": lambda made, user, job: made.queue.interrupt(user, job),
    "skip": lambda made, user, job: made.queue.skip(user, job),
    "cancel": lambda made, user, job: made.queue.cancel(user, job),
    "retry": lambda made, user, job: made.queue.retry(user, job),
    "move": lambda made, user, job: made.queue.move(user, job, None),
    "events": lambda made, user, job: made.queue.events(user, job),
    "preview": lambda made, user, job: made.queue.preview(user, job, 0),
}


class Still(PretendEngine):
    """An engine that takes jobs and never gets anywhere."""

    def _step(self, key: str, job: Any) -> None:
        return


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Core]:
    made = core(tmp_path, Still(0.001), limits=UserLimits(queue=6, steps=20, count=4, pixels=64 * 64))
    yield made
    made.close()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Core]:
    made = core(tmp_path, PretendEngine())
    yield made
    made.close()


def test_what_a_job_asks_for_is_told_to_nobody_else(still: Core) -> None:
    anna = still.user("anna")
    hers = still.submit(anna, prompt="a cat", seed=3)
    assert still.queue.request(anna, hers) == still.job(hers).request
    for user, job in ((still.owner, hers), (still.user("bob"), hers), (anna, "nothing")):
        with pytest.raises(NotFound):
            still.queue.request(user, job)


def test_a_job_from_the_first_word_to_the_last(quick: Core) -> None:
    listener = quick.listen(quick.owner)
    job = quick.submit(prompt="a cat", count=2, seed=3)
    last = listener.until("finished")
    kept = [event for event in listener.heard if event["number"]]
    assert kept == quick.queue.events(quick.owner, job) and kept[-1] == last
    assert [event["kind"] for event in kept] == ["queued", "started", "picture", "picture", "finished"]
    assert [event["number"] for event in kept] == [1, 2, 3, 4, 5]
    assert quick.queue.view(quick.owner) == []
    assert [picture.seed for picture in quick.pictures.search(quick.owner)] == ["4", "3"]


def test_the_view_has_ones_own_jobs_in_their_order(still: Core) -> None:
    anna = still.user("anna")
    mine = [still.submit(prompt=f"cat {n}" * 100) for n in range(5)]
    hers = still.submit(anna)
    view = still.queue.view(still.owner)
    assert [each["job"] for each in view] == mine
    assert [each["state"] for each in view] == ["running"] * 4 + ["queued"]
    assert [each["position"] for each in view] == [0, 0, 0, 0, 5], "it is Anna's turn first"
    assert still.queue.view(anna)[0]["job"] == hers and still.queue.view(anna)[0]["position"] == 4
    assert view[0] == {
        "job": mine[0], "kind": "txt2img", "state": "running", "pictures": 1, "done": 0, "position": 0, "seconds_left": None,
        "picture": None, "step": None, "steps": None, "prompt": ("cat 0" * 100)[:200], "created": still.clock.now, "again": False,
        "last": 2, "reading": "", "inputs": {}, "group": "",
    }  # fmt: skip


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_the_job_of_somebody_else_does_not_exist_except_for_an_owner(still: Core, ask: Ask) -> None:
    anna, ben = still.user("anna"), still.user("ben")
    jobs = [still.submit(anna) for _ in range(6)]
    waiting = jobs[5]
    with pytest.raises(NotFound) as refused:
        ask(still, ben, waiting)
    assert str(refused.value) == f"There is no job '{waiting}'."
    with pytest.raises(NotFound) as unknown:
        ask(still, ben, "0123456789abcdef")
    assert str(unknown.value) == "There is no job '0123456789abcdef'."
    assert still.job(waiting).state == "queued" and still.kinds(waiting) == ["queued"]
    if ask is ASKS["retry"]:
        still.queue.cancel(anna, waiting)
    ask(still, still.owner, waiting)
    ask_again = ASKS["events"]
    assert ask_again(still, anna, waiting)


def test_limits_are_checked_when_a_job_is_submitted(still: Core) -> None:
    for more, sentence in (({"steps": 21}, "Steps was 21"), ({"count": 5}, "Count was 5"), ({"width": 72}, "The size was 72x64")):
        with pytest.raises(UserError, match=sentence):
            still.submit(**more)
    jobs = [still.submit() for _ in range(6)]
    with pytest.raises(TooMany, match="6 jobs"):
        still.submit()
    still.submit(still.user("anna"))
    still.queue.cancel(still.owner, jobs[0])
    still.submit()


def test_nobody_slips_past_a_limit_by_asking_often_at_once(still: Core) -> None:
    refused: list[TooMany] = []
    ready = threading.Barrier(12)

    def ask() -> None:
        ready.wait()
        try:
            still.submit()
        except TooMany as error:
            refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(still.queue.view(still.owner)) == 6 and len(refused) == 6


def test_trying_again_is_limited_too_and_belongs_to_whose_job_it_was(still: Core) -> None:
    anna = still.user("anna")
    job = still.submit(anna, prompt="hers")
    with pytest.raises(UserError, match="not ended"):
        still.queue.retry(anna, job)
    still.queue.cancel(anna, job)
    again = still.job(still.queue.retry(still.owner, job))
    assert again.id != job and again.user == anna.id and again.request == still.job(job).request
    for _ in range(5):
        still.submit(anna)
    with pytest.raises(TooMany):
        still.queue.retry(anna, job)


def test_trying_again_makes_what_is_missing(tmp_path: Path) -> None:
    made = core(tmp_path, Still(0.001))
    job = made.submit(count=5, seed=10)
    with made.jobs.change() as change:
        for number, interrupted in ((0, False), (2, False), (4, True)):
            change.event(made.job(job), "picture", picture=number, interrupted=interrupted)
        change.event(made.job(job), "skipped", picture=3)
    made.queue.cancel(made.owner, job)
    again = made.job(made.queue.retry(made.owner, job))
    assert (again.request["seed"], again.request["count"], again.pictures) == (11, 4, 4)
    with made.jobs.change() as change:
        for number in range(4):
            change.event(again, "picture", picture=number, interrupted=False)
    made.queue.cancel(made.owner, again.id)
    whole = made.job(made.queue.retry(made.owner, again.id))
    assert whole.request == again.request
    made.close()


def test_interrupting_a_job_that_waits_cancels_it_or_keeps_the_pictures_it_has(tmp_path: Path) -> None:
    made = core(tmp_path, Still(0.001), slots=Slots(running=0))
    empty, some = made.submit(), made.submit(count=2)
    with made.jobs.change() as change:
        change.event(made.job(some), "picture", picture=0, interrupted=False)
    for job in (empty, some):
        made.queue.interrupt(made.owner, job)
    assert (made.job(empty).state, made.job(some).state) == ("cancelled", "interrupted")
    assert made.jobs.events(some)[-1]["pictures"] == 1
    made.close()


def test_moving_changes_whose_turn_it_is_within_ones_own(still: Core) -> None:
    jobs = [still.submit() for _ in range(6)]
    still.queue.move(still.owner, jobs[5], jobs[4])
    assert [each["job"] for each in still.queue.view(still.owner)] == [*jobs[:4], jobs[5], jobs[4]]
    with pytest.raises(UserError, match="not begun"):
        still.queue.move(still.owner, jobs[0], None)


def test_a_picture_that_the_job_does_not_have_cannot_be_skipped(still: Core) -> None:
    job = still.submit(count=2)
    for number in (-1, 2):
        with pytest.raises(NotFound, match="numbered from 0"):
            still.queue.skip(still.owner, job, number)


def test_kinds_that_do_not_exist_are_refused(still: Core) -> None:
    with pytest.raises(UserError, match="'img2img'"):
        still.queue.submit(still.owner, "img2img", Txt2Img())


def test_a_crowd_is_served_in_turns(tmp_path: Path) -> None:
    made = core(tmp_path, PretendEngine(), start=False)
    users = [made.user(f"user {number}") for number in range(5)]
    request = Model().outline(Txt2Img(width=64, height=64, steps=2)).to_dict()
    jobs = [made.jobs.add(user.id, "txt2img", request, 1) for user in users for _ in range(3)]
    made.worker.start()
    for job in jobs:
        assert made.ended(job.id).state == "done"
    rows = made.database.all("SELECT user FROM jobs ORDER BY turn")
    assert [row["user"] for row in rows] == [user.id for user in users] * 3
    made.close()
