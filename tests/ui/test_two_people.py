"""Two people on one page: neither sees, stops or holds up what is the other's, but for taking turns."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.ui.person import Person, generate, go, stage, until, write
from tests.ui.test_gallery_page import shown

AT_ONCE = 4  # jobs of one person that run while nobody else waits


def test_two_people_see_and_stop_only_their_own(people: Callable[..., Person]) -> None:
    anna, ben = people(), people()
    his, hers = ben.open(), anna.open()
    anna.site.pretended.hold = 3
    job = generate(hers, prompt="a secret of Anna's")
    mine = generate(his, prompt="Ben's ball", steps="2")
    assert stage(his, "finished") == mine != job
    ben.meant.add(404)
    wanted = [("interrupt", "POST"), ("cancel", "POST"), ("skip", "POST"), ("preview/0", "GET"), ("events", "GET")]
    ask = "([path, method]) => fetch(path, {method}).then(answer => answer.status)"
    answers = [his.evaluate(ask, [f"/x/jobs/{job}/{what}", method]) for what, method in wanted]
    assert answers == [404] * 5
    assert [each["job"] for each in anna.jobs()] == [job]
    hers.locator("#txt2img_interrupt").click()
    stage(hers, "interrupted")
    (picture,) = anna.pictures()
    for what in ("", "/thumbnail"):
        assert his.evaluate("path => fetch(path).then(answer => answer.status)", f"/x/pictures/{picture.id}{what}") == 404
    go(his, "Gallery")
    shown(his, 1)
    assert "secret" not in his.content()


def test_who_has_many_jobs_holds_up_nobody(people: Callable[..., Person]) -> None:
    anna, ben = people(), people()
    hers, his = anna.open(), ben.open()
    anna.site.pretended.hold = 1
    for number in range(AT_ONCE + 2):
        write(hers, "prompt", f"number {number}")
        hers.locator("#txt2img_generate").click()
        until(hers, lambda: len(anna.jobs()) == number + 1)  # noqa: B023  it is called at once
    until(hers, lambda: states(anna) == ["running"] * AT_ONCE + ["queued"] * 2)
    write(his, "prompt", "the only one")
    his.locator("#txt2img_generate").click()
    stage(his, "queued")
    expect(his.locator("webui-stage .w-status")).to_contain_text(f"Waiting for {AT_ONCE} jobs before it")  # those that run
    hers.locator("#txt2img_interrupt").click()
    stage(his, "running")
    assert states(anna) == ["running"] * (AT_ONCE - 1) + ["queued"] * 2, "who waited longer was passed over"
    anna.site.pretended.hold = None
    stage(his, "finished")


def states(person: Person) -> list[str]:
    """The states of a person's jobs, in the order in which they run."""
    return [job["state"] for job in person.jobs()]
