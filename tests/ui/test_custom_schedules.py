"""A custom schedule is drawn in its panel: the field, the program's own plot and the saved ones follow."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.ui.person import Person, comes_to_be, unfold, value, write

PANEL = "#txt2img schedules-curve"
PLOT = "#txt2img webui-schedule"


def opened(person: Person) -> Page:
    page = person.open()
    write(page, "steps", "6")
    page.locator("#txt2img .w-panel[data-extension=schedules] > summary").click()
    page.locator(PANEL).scroll_into_view_if_needed()
    expect(page.locator(f"{PANEL} .sc-words")).to_have_text("Nothing is drawn yet.")
    return page


def levels(page: Page) -> list[float]:
    text = value(page, "schedules_points")
    return [float(each.split(":")[-1]) for each in text.split(",")]


def test_a_curve_is_drawn_moved_and_taken_apart(person: Person) -> None:
    page = opened(person)
    box = page.locator(f"{PANEL} .sc-plot").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.35)
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(4)
    comes_to_be(page, "schedule", "Custom")
    expect(page.locator(f"{PANEL} .sc-words")).to_contain_text("6 steps, noise level 14.6 to 0.03, then 0")
    expect(page.locator(f"{PLOT}[data-steps='6']")).to_be_attached()
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("6 steps, noise level 14.6 to 0.03")
    first = page.locator(f"{PANEL} .sc-point").first
    first.focus()
    first.press("ArrowUp")
    expect(page.locator(f"{PLOT} .w-schedule-words")).to_contain_text("noise level 15.3 to 0.03")
    before = levels(page)
    assert before == sorted(before, reverse=True) and before[-1] == 0 and len(before) == 5
    second = page.locator(f"{PANEL} .sc-point").nth(1)
    second.drag_to(page.locator(f"{PANEL} .sc-plot"), target_position={"x": box["width"] * 0.4, "y": box["height"] - 2})
    page.wait_for_function("before => document.querySelector('#txt2img schedules-curve .sc-words').textContent && true", arg=0)
    after = levels(page)
    assert after == sorted(after, reverse=True) and after[1] < before[1] and after[2] == before[2]
    second.focus()
    second.press("Delete")
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(3)
    assert len(levels(page)) == 4


def test_what_is_typed_is_drawn_and_what_is_wrong_is_said(person: Person) -> None:
    person.meant.add(400)
    page = opened(person)
    unfold(page, "custom_schedule")
    write(page, "schedules_points", "20, 5, 1, 0")
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(3)
    expect(page.locator(f"{PANEL} .sc-words")).to_contain_text("6 steps, noise level 20 to 1, then 0")
    write(page, "schedules_points", "5, 20, 0")
    expect(page.locator(f"{PANEL} .sc-words")).to_contain_text("goes from 5 to 20; each noise level must be below")


def test_it_begins_with_the_chosen_schedule_and_is_saved_by_name(person: Person) -> None:
    page = opened(person)
    page.get_by_role("button", name="Start from the chosen schedule").first.click()
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(6)
    page.locator(f"{PANEL} .sc-name").fill("Evening")
    page.locator(PANEL).get_by_role("button", name="Save").click()
    expect(page.locator(f"{PANEL} .sc-choice option")).to_have_text(["Evening"])
    saved = value(page, "schedules_points")
    page.locator(PANEL).get_by_role("button", name="Clear").click()
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(0)
    page.locator(PANEL).get_by_role("button", name="Draw on it").click()
    expect(page.locator(f"{PANEL} .sc-point")).to_have_count(6)
    assert value(page, "schedules_points") == saved
    assert "Evening (custom)" in person.site.studio.resolver.extensions.schedules
    page.locator(PANEL).get_by_role("button", name=re.compile("Remove")).click()
    expect(page.locator(f"{PANEL} .sc-choice option")).to_have_count(0)
    assert "Evening (custom)" not in person.site.studio.resolver.extensions.schedules
