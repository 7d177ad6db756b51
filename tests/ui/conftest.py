"""One server and one browser for all tests of the page; each test brings its own people, who share nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.service.pretend import place_model
from tests.ui.held import HeldEngine
from tests.ui.person import Person
from tests.ui.site import Site, find_browser, serving

STEP_SECONDS = 0.02
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. One for each file: while it is open an event loop runs, which other files' tests must not meet."""
    path = find_browser()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def everybodys_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with an engine that pretends, where everybody signs in."""
    find_browser()  # where there is none, no server is needed
    root = tmp_path_factory.mktemp("site")
    place_model(root)
    checkpoints = root / "models" / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "broken.safetensors").write_bytes(b"this is no model")
    with serving(root, HeldEngine(STEP_SECONDS)) as site:
        yield site


@pytest.fixture
def site(everybodys_site: Site) -> Iterator[Site]:
    """The server; after the test nothing is held any more."""
    yield everybodys_site
    everybodys_site.pretended.hold = None


@pytest.fixture
def people(browser: Browser, site: Site) -> Iterator[Callable[..., Person]]:
    """Makes people. What goes wrong in their browsers fails the test."""
    made: list[Person] = []

    def make(*, owner: bool = False, **options: Any) -> Person:
        user, cookie = site.owner() if owner else site.account(f"person {next(NUMBERS)}")
        made.append(Person(browser, site, user, cookie, **options))
        return made[-1]

    yield make
    for person in made:
        person.close()
    assert [problem for person in made for problem in person.problems] == []


@pytest.fixture
def person(people: Callable[..., Person]) -> Person:
    """Somebody with a browser."""
    return people()
