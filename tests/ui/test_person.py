"""Tests of the page would see it if something went wrong in a browser: each kind of trouble is noted."""

from __future__ import annotations

from tests.ui.person import Person, until

ELSEWHERE = "http://elsewhere.example/"


def test_errors_and_requests_beyond_this_machine_are_noted(person: Person) -> None:
    page = person.open()
    page.evaluate("() => { console.error('told'); setTimeout(() => { throw new Error('thrown'); }); }")
    until(page, lambda: len(person.problems) == 2)
    person.context.route(f"{ELSEWHERE}**", lambda route: route.fulfill(body="<p></p>", content_type="text/html"))
    page.goto(ELSEWHERE)
    noted, person.problems[:] = sorted(person.problems), []
    beyond, error, told = noted
    assert (beyond, told) == (f"a request beyond this machine: {ELSEWHERE}", "told")
    assert error.startswith("error in the page: ") and "thrown" in error


def test_only_the_refusals_that_are_meant_are_no_trouble(person: Person) -> None:
    page = person.open()
    person.meant.add(404)
    page.evaluate("Promise.all(['/x/jobs/none/events', '/x/pictures?limit=0'].map(path => fetch(path))).then(() => null)")
    until(page, lambda: len(person.problems) == 1)
    noted, person.problems[:] = person.problems[0], []
    assert "responded with a status of 400 " in noted
