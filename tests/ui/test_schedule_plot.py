"""The chosen schedule is drawn beside its control, from the program's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.ui.person import Person, choose, comes_to_be, go, unfold, wide, write

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PLOT = "#txt2img webui-schedule"


def drawn(page: Page, steps: int) -> list[list[float]]:
    """The points of the curve, once it has so many steps."""
    expect(page.locator(f"{PLOT}[data-steps='{steps}']")).to_be_attached()
    expect(page.locator(f"{PLOT} circle")).to_have_count(steps + 1)
    points = page.locator(f"{PLOT} polyline").get_attribute("points") or ""
    return [[float(each) for each in point.split(",")] for point in points.split()]


def test_the_schedule_is_drawn_and_follows_what_is_set(person: Person) -> None:
    page = person.open()
    write(page, "steps", "8")
    curve = drawn(page, 8)
    heights = [y for _, y in curve]
    assert heights == sorted(heights), "noise levels fall, so the curve goes down"
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("8 steps, noise level")
    assert "8 steps" in (page.locator(f"{PLOT} svg").get_attribute("aria-label") or "")
    choose(page, "schedule", "Exponential")
    page.wait_for_function(
        "before => document.querySelector('#txt2img webui-schedule polyline').getAttribute('points') !== before",
        arg=" ".join(f"{x:.1f},{y:.1f}" for x, y in curve),
    )
    write(page, "steps", "5")
    drawn(page, 5)
    unfold(page, "sampler_options")
    before = page.locator(f"{PLOT} .w-schedule-words").inner_text()
    write(page, "sigma_max", "5")
    page.wait_for_function("before => document.querySelector('#txt2img .w-schedule-words').textContent !== before", arg=before)
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("noise level 5 to")


def test_a_step_under_the_pointer_says_its_noise_level(person: Person) -> None:
    page = person.open()
    write(page, "steps", "4")
    drawn(page, 4)
    box = page.locator(f"{PLOT} svg").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 6, box["y"] + 20)
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("step 1: noise level")
    expect(page.locator(f"{PLOT} circle.w-on")).to_have_count(1)
    page.mouse.move(box["x"] + box["width"] - 6, box["y"] + 20)
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_have_text("done: noise level 0")
    page.mouse.move(5, 5)
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("4 steps")


def test_what_is_no_value_is_not_asked_about_and_a_refusal_leaves_the_place_empty(person: Person) -> None:
    asked: list[str] = []
    person.context.on("request", lambda request: asked.append(request.url) if "/x/schedule" in request.url else None)
    page = person.open()
    write(page, "steps", "6")
    drawn(page, 6)
    write(page, "steps", "999")
    comes_to_be(page, "steps", 999)
    write(page, "steps", "7")
    drawn(page, 7)
    assert not any("999" in url for url in asked)
    person.meant.add(400)

    def refuse(route: Route) -> None:
        route.fulfill(status=400, json={"error": "No such thing."})

    person.context.route("**/x/schedule?**", refuse)
    write(page, "steps", "9")
    expect(page.locator(f"{PLOT} svg")).to_be_hidden()
    box = page.locator(PLOT).bounding_box()
    assert box is not None and box["height"] > 60, "nothing below it jumps"


def test_a_tab_asks_when_it_is_looked_at_and_a_phone_shows_it_whole(people: Callable[..., Person]) -> None:
    person = people(**PHONE)
    asked: list[str] = []
    person.context.on("request", lambda request: asked.append(request.url) if "/x/schedule" in request.url else None)
    page = person.open()
    expect(page.locator(f"{PLOT} polyline")).to_be_attached()
    assert len(asked) == 1, "no tab asks that nobody looks at"
    assert wide(page) == 0
    box = page.locator(f"{PLOT} svg").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
    go(page, "img2img")
    expect(page.locator("#img2img webui-schedule polyline")).to_be_attached()
