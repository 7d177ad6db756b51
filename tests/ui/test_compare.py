"""Before and after in a real browser: moved by mouse, keys and fingers, enlarged together, whole while one is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.ui.bare import DESKTOP, PHONE, file_of, opened, painted, serving
from tests.ui.person import wide

BODY = '<webui-compare before-label="Input" third-label="Map" after-label="Result"></webui-compare><p style="height: 1500px"></p>'
ELEMENT = "document.querySelector('webui-compare')"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the page is."""
    with serving(BODY) as address:
        yield address


@pytest.fixture(params=["desktop", "phone"])
def page(browser: Browser, address: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page with two pictures under a slider."""
    with opened(browser, address, **(PHONE if request.param == "phone" else DESKTOP)) as page:
        pictures(page, tmp_path)
        yield page


def pictures(page: Page, folder: Path, **named: Any) -> None:
    for number in range(4):
        file_of(folder, painted(600, 400, number), f"{number}.png")

    def answer(route: Route) -> None:
        path = folder / route.request.url.rsplit("/", 1)[1]
        route.fulfill(path=path) if path.is_file() else route.fulfill(status=404)

    page.route("**/pictures/*", answer)
    show(page, **({"before": "/pictures/0.png", "after": "/pictures/1.png"} | named))


def show(page: Page, **named: str) -> None:
    """Set attributes, and wait until the pictures are seen."""
    page.evaluate(f"named => Object.entries(named).forEach(([name, value]) => {ELEMENT}.setAttribute(name, value))", named)
    for value in named.values():
        seen = "end => [...document.querySelectorAll('.w-pane img')].some(each => each.src.endsWith(end))"
        page.wait_for_function(seen, arg=value)


def box_of(page: Page, what: str = ".w-compare-box") -> dict[str, float]:
    box = page.locator(what).first.bounding_box()
    assert box is not None
    return dict(box)


def at(page: Page) -> int:
    """Where the line is, in percent."""
    return int(page.locator(".w-compare-line").first.get_attribute("aria-valuenow") or -1)


def cut(page: Page) -> list[str]:
    """How the panes are clipped."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('.w-pane')].map(each => each.style.clipPath)")
    return found


def test_the_line_follows_the_mouse(page: Page) -> None:
    box = box_of(page)
    assert at(page) == 50 and box["width"] / box["height"] == pytest.approx(1.5, rel=0.02)
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=4)
    assert at(page) == 20
    page.mouse.move(box["x"] - 500, middle)
    page.mouse.up()
    assert at(page) == 0
    assert "inset(0px 100% 0px 0%)" in cut(page)[0]
    page.mouse.click(box["x"] + box["width"] * 0.7, middle)
    assert at(page) == 70


def test_the_line_follows_keys(page: Page) -> None:
    line = page.get_by_role("slider", name="Input to the left, Result to the right")
    line.focus()
    for key, place in (("ArrowLeft", 48), ("Shift+ArrowRight", 58), ("Home", 0), ("End", 100), ("PageDown", 90)):
        page.keyboard.press(key)
        assert at(page) == place


def test_what_is_seen_at_each_side_is_its_picture(page: Page) -> None:
    import io

    from PIL import Image

    show(page, before="/pictures/0.png", after="/pictures/1.png")
    box = box_of(page)
    clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}
    both = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")  # type: ignore[arg-type]
    for x, seed in ((0.14, 0), (0.86, 1)):
        wanted = painted(600, 400, seed).getpixel((int(600 * x), 216))
        seen = both.getpixel((int(both.width * x), int(both.height * (216 / 400))))
        assert isinstance(wanted, tuple) and isinstance(seen, tuple)
        assert all(abs(a - b) < 30 for a, b in zip(wanted, seen, strict=True))


def test_both_are_enlarged_together_and_moved(page: Page) -> None:
    box = box_of(page)
    x, y = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.25
    page.mouse.move(x, y)
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"{ELEMENT}.dataset.zoom > 1")
    moved = "[...document.querySelectorAll('.w-pane-moved')].map(each => each.style.transform)"
    first, second = page.evaluate(moved)
    assert first == second and "scale(1." in first
    where = page.evaluate("document.querySelector('.w-pane-moved').getBoundingClientRect().toJSON()")
    assert (x - where["x"]) / where["width"] == pytest.approx(0.25, abs=0.01)  # what is under the pointer stays there
    page.evaluate(f"{ELEMENT}.zoom(4)")
    before = page.evaluate(moved)[0]
    page.mouse.move(box["x"] + box["width"] * 0.9, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=3)
    page.mouse.up()
    assert page.evaluate(moved)[0] != before and at(page) == 50  # far from the line, the picture is what is moved
    page.locator(".w-compare-line").first.focus()
    page.keyboard.press("0")
    assert page.evaluate(f"{ELEMENT}.dataset.zoom") == "1.00"
    page.mouse.wheel(0, 100)
    page.wait_for_function("scrollY > 0")  # smaller than all of it there is nothing: the page's turn


def test_side_by_side(page: Page) -> None:
    page.get_by_role("button", name="Side by side").click()
    panes = "[...document.querySelectorAll('.w-pane')].map(each => each.getBoundingClientRect().toJSON())"
    page.wait_for_function(f"(([a, b]) => a.width === b.width)({panes})")
    page.evaluate("document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
    first, second = page.evaluate(panes)  # both at once: what is loaded meanwhile may move them
    assert first["width"] == second["width"]
    assert first["x"] + first["width"] <= second["x"] or first["y"] + first["height"] <= second["y"]
    assert page.locator(".w-compare-line").count() == 0 and cut(page) == ["", ""]
    expect(page.get_by_text("Result")).to_be_visible()
    assert wide(page) <= 0


def test_three_have_two_lines_that_push_each_other(page: Page) -> None:
    show(page, third="/pictures/2.png")
    lines = page.locator(".w-compare-line")
    expect(lines).to_have_count(2)
    lines.nth(0).focus()
    page.keyboard.press("End")
    assert [lines.nth(each).get_attribute("aria-valuenow") for each in (0, 1)] == ["100", "100"]
    page.keyboard.press("Home")
    assert [lines.nth(each).get_attribute("aria-valuenow") for each in (0, 1)] == ["0", "100"]
    page.evaluate(f"{ELEMENT}.removeAttribute('third')")
    expect(lines).to_have_count(1)


def test_a_preview_that_changes_is_always_whole(page: Page) -> None:
    page.evaluate(
        f"window.empty = 0; new MutationObserver(() => {{ for (const each of document.querySelectorAll('.w-pane img'))"
        f" if (!each.getAttribute('src')) window.empty += 1; }}).observe({ELEMENT}, {{subtree: true, attributes: true}})"
    )
    box = box_of(page)
    for number in (2, 3, 2):
        show(page, after=f"/pictures/{number}.png")
    assert page.evaluate("empty") == 0 and box_of(page) == box


def test_a_picture_that_is_gone_leaves_the_one_before(browser: Browser, address: str, tmp_path: Path) -> None:
    with opened(browser, address) as page:
        pictures(page, tmp_path)
        page.route("**/pictures/gone", lambda route: route.fulfill(body="no picture", content_type="text/plain"))
        page.evaluate(f"{ELEMENT}.setAttribute('after', '/pictures/gone')")
        show(page, before="/pictures/3.png")
        assert page.evaluate("[...document.querySelectorAll('.w-pane img')].at(-1).src").endswith("/pictures/1.png")
        show(page, after="/pictures/2.png")
        page.evaluate(f"{ELEMENT}.removeAttribute('after')")
        expect(page.locator(".w-pane")).to_have_count(1)
        expect(page.locator(".w-compare-line")).to_have_count(0)


def test_a_finger_moves_the_line_and_two_enlarge(browser: Browser, address: str, tmp_path: Path) -> None:
    with opened(browser, address, **PHONE) as page:
        pictures(page, tmp_path)
        box = box_of(page)
        hand = page.context.new_cdp_session(page)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": px, "y": py, "id": number} for number, (px, py) in enumerate(places)]
            hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        touch("touchStart", (x, y))
        for by in (30, 60, box["width"] * 0.3):
            touch("touchMove", (x - by, y))
        touch("touchEnd")
        assert at(page) == pytest.approx(20, abs=1)
        touch("touchStart", (x - 20, y))
        touch("touchStart", (x - 20, y), (x + 20, y))
        for by in (30, 40):
            touch("touchMove", (x - by, y), (x + by, y))
        touch("touchEnd")
        assert float(page.evaluate(f"{ELEMENT}.dataset.zoom")) == pytest.approx(2, rel=0.1)
        assert page.evaluate("scrollY") == 0
