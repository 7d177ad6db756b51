"""Somebody before a browser: opens the page, types and presses, and notices whatever goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.ui.site import Site
from webui.service.users import User

PATIENCE = 90_000  # milliseconds; nothing takes so long but on a machine that is very busy
expect.set_options(timeout=PATIENCE)
LOOPBACK = ("127.0.0.1", "localhost")


class Person:
    """A user with a browser of their own. `problems` are errors in the page and requests to anywhere else; there must be none.

    A browser notes every answer that refuses something; a test that means it adds the status, or what else is noted, to `meant`.
    """

    def __init__(self, browser: Browser, site: Site, user: User, cookie: dict[str, str], **options: Any) -> None:
        self.site = site
        self.user = user
        self.problems: list[str] = []
        self.meant: set[int | str] = set()
        self.context: BrowserContext = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", "accept_downloads": True} | options
        )
        self.context.set_default_timeout(PATIENCE)
        self.context.add_cookies([cookie])  # type: ignore[list-item]
        self.context.on("page", self._watch)

    def open(self, tab: str = "txt2img") -> Page:
        """The page in a new tab of the browser, ready to be used."""
        page = self.context.new_page()
        page.goto(self.site.address)
        ready(page)
        if tab != "txt2img":
            go(page, tab)
        return page

    def pictures(self) -> list[Any]:
        """This person's pictures, newest first, those in the trash too."""
        search = self.site.studio.pictures.search
        found = [*search(self.user, limit=500), *search(self.user, trashed=True, limit=500)]
        return sorted(found, key=lambda picture: -picture.number)

    def listens(self) -> bool:
        """Whether a page of this person's holds a stream of events."""
        return self.user.id in self.site.studio.queue.broadcast.watchers()

    def jobs(self) -> list[dict[str, Any]]:
        """This person's jobs that have not ended."""
        return self.site.studio.queue.view(self.user)

    def close(self) -> None:
        """End what still runs, and leave."""
        for job in self.jobs():
            self.site.studio.queue.cancel(self.user, job["job"])
        self.context.close()

    def _watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.problems.append(f"error in the page: {error}"))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("request", lambda request: self._look(request.url))

    def _hear(self, kind: str, text: str) -> None:
        signs = [f"responded with a status of {each} " if isinstance(each, int) else each for each in self.meant]
        meant = any(sign in text for sign in signs)
        if kind in ("error", "warning") and not meant:
            self.problems.append(text)

    def _look(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOOPBACK:
            self.problems.append(f"a request beyond this machine: {url}")


def ready(page: Page) -> None:
    """Wait until the controls hold what this person last set, and all of the page's own code is there."""
    expect(page.locator("html[data-ready=true]")).to_be_attached()
    page.evaluate("customElements.whenDefined('webui-inputs').then(() => true)")  # who leaves earlier has a request refused


def go(page: Page, tab: str) -> None:
    """Open a tab of the page."""
    page.get_by_role("tab", name=tab, exact=True).click()


def write(page: Page, name: str, value: str, area: str = "txt2img") -> None:
    """Type into a control."""
    page.locator(f"#{area}_{name}").locator("textarea, input:not([type=range])").first.fill(value)


def choose(page: Page, name: str, option: str, area: str = "txt2img") -> None:
    """Choose from a drop-down list, Gradio's or our own."""
    page.locator(f"#{area}_{name}").locator("input, select").first.wait_for()
    if page.locator(f"#{area}_{name} select").count():
        page.locator(f"#{area}_{name} select").select_option(label=option)
        return
    page.locator(f"#{area}_{name} input").click()
    page.locator("li").and_(page.get_by_role("option", name=option, exact=True)).click()


def unfold(page: Page, fold: str, area: str = "txt2img") -> None:
    """Open a fold, by its title in small letters."""
    page.locator(f"#{area}_{fold}_fold > summary").click()
    expect(page.locator(f"#{area}_{fold}_fold .w-own").first).to_be_visible()


def value(page: Page, name: str, area: str = "txt2img") -> Any:
    """What Gradio handed over as a control's value."""
    return page.evaluate("([area, name]) => webui.controls[area].values[name]", [area, name])


def comes_to_be(page: Page, name: str, wanted: Any, area: str = "txt2img") -> None:
    """Wait until a control has a value."""
    holds = "([area, name, wanted]) => webui.controls[area].values[name] === wanted"
    page.wait_for_function(holds, arg=[area, name, wanted])


def kept(page: Page, area: str = "txt2img") -> None:
    """Wait until the controls' values are kept."""
    expect(page.locator(f"#{area} webui-preferences[data-state=kept]")).to_be_attached()


def stage(page: Page, state: str, area: str = "txt2img") -> str:
    """Wait for the stage to show a job in that state; returns the job's id."""
    expect(page.locator(f"#{area} webui-stage[data-state={state}]")).to_be_attached()
    return str(page.locator(f"#{area} webui-stage").get_attribute("data-job"))


def step(page: Page) -> int:
    """The step that the first picture on the stage is at."""
    return int(page.locator(".w-cell").first.get_attribute("data-step") or 0)


def generate(page: Page, area: str = "txt2img", **values: str) -> str:
    """Set controls, press Generate, and wait until the stage shows the job, which may have ended by then; returns its id."""
    for name, text in values.items():
        write(page, name, text, area)
    before = page.locator(f"#{area} webui-stage").get_attribute("data-job")
    page.locator(f"#{area}_generate").click()
    return shown_after(page, before, area)


def shown_after(page: Page, before: str | None, area: str = "txt2img") -> str:
    """Wait until another job than `before` is on the stage and has begun; returns its id."""
    shown = (
        "([area, before]) => { const {job, state} = document.querySelector(`#${area} webui-stage`).dataset;"
        " return job && job !== before && state !== 'queued' && job; }"
    )
    return str(page.wait_for_function(shown, arg=[area, before]).json_value())


def choose_picture(page: Page, file: Any, area: str, name: str = "picture") -> None:
    """Choose a picture's file for a place, and wait until the program has it."""
    page.locator(f"#{area}_{name} input[type=file][name={name}]").set_input_files(file)
    page.wait_for_function("([area, name]) => webui.tabs[area].inputs.digests[name]", arg=[area, name])


def digests(page: Page, area: str) -> dict[str, str]:
    """The pictures that a tab starts from, by name."""
    return dict(page.evaluate("area => webui.tabs[area].inputs.digests", area))


def wide(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Wait, while the browser goes on, for something that is not in the page."""
    for _ in range(PATIENCE // 50):
        if holds():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come to hold")
