"""Drawing on a picture in a real browser: what is drawn is read back as the file that the program gets, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.ui.bare import DESKTOP, PHONE, file_of, give, image_of, mask_of, opened, painted, serving
from tests.ui.person import until, wide

BODY = (
    '<div style="width: min(700px, 100vw)"><textarea id="prompt" aria-label="Prompt"></textarea>'
    '<webui-canvas label="Picture" name="picture" layers="mask sketch"></webui-canvas></div><p style="height: 2000px"></p>'
)
SCREENS: dict[str, dict[str, Any]] = {"desktop": DESKTOP, "phone": PHONE, "in between": {**DESKTOP, "device_scale_factor": 1.5}}
CANVAS = "document.querySelector('webui-canvas')"
Points = list[tuple[float, float]]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the page is."""
    with serving(BODY) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str, tmp_path: Path) -> Iterator[Page]:
    """The page with a picture of 800 by 600, and a hard brush of 40 pixels."""
    with opened(browser, address) as page:
        begin(page, tmp_path)
        yield page


def begin(page: Page, folder: Path, picture: Image.Image | None = None, size: float = 40, **options: Any) -> None:
    give(page, file_of(folder, picture or painted(800, 600), **options))
    brush(page, size=size)
    page.locator(".w-canvas-ground").scroll_into_view_if_needed()


def brush(page: Page, **values: Any) -> None:
    page.evaluate(f"values => {CANVAS}.set(values)", values)


def place(page: Page, point: tuple[float, float], shape: tuple[int, int] = (800, 600)) -> tuple[float, float]:
    """Where a pixel of the picture is on the screen, while all of the picture is seen."""
    box = page.locator(".w-canvas-ground").bounding_box()
    assert box is not None
    scale = min(box["width"] / shape[0], box["height"] / shape[1])
    left = box["x"] + (box["width"] - shape[0] * scale) / 2
    top = box["y"] + (box["height"] - shape[1] * scale) / 2
    return left + point[0] * scale, top + point[1] * scale


def draw(page: Page, points: Points, shape: tuple[int, int] = (800, 600), button: Any = "left", steps: int = 6) -> None:
    """With the mouse from point to point of the picture."""
    page.mouse.move(*place(page, points[0], shape))
    page.mouse.down(button=button)
    for point in points[1:]:
        page.mouse.move(*place(page, point, shape), steps=steps)
    page.mouse.up(button=button)


def distance(points: Points, shape: tuple[int, int] = (800, 600)) -> NDArray[np.float64]:
    """How far each pixel's centre is from the way."""
    y, x = np.mgrid[0 : shape[1], 0 : shape[0]] + 0.5
    found = np.full((shape[1], shape[0]), np.inf)
    for (ax, ay), (bx, by) in zip(points, points[1:] or points, strict=False):
        length = (bx - ax) ** 2 + (by - ay) ** 2 or 1.0
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
        found = np.minimum(found, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
    return found


def is_stroke(mask: NDArray[np.uint8], points: Points, radius: float, slack: float = 2.0) -> None:
    """The mask is white within the stroke and black outside it; its edge may be a pixel of the screen off."""
    far = distance(points, (mask.shape[1], mask.shape[0]))
    assert (mask[far < radius - slack] == 255).all()
    assert (mask[far > radius + slack] == 0).all()


WAY: Points = [(150, 150), (640, 180), (600, 450), (200, 500)]


@pytest.mark.parametrize("screen", SCREENS.values(), ids=list(SCREENS))
def test_a_stroke_is_at_its_pixels(browser: Browser, address: str, tmp_path: Path, screen: dict[str, Any]) -> None:
    with opened(browser, address, **screen) as page:
        begin(page, tmp_path)
        assert image_of(page) is None
        draw(page, WAY)
        mask = mask_of(page)
        assert mask.shape == (600, 800)
        is_stroke(mask, WAY, 20, slack=2.5)
        assert page.evaluate("events.filter(([kind]) => kind === 'stroke')") == [["stroke", {"layer": "mask"}]]
        assert wide(page) <= 0


def test_a_dot_is_as_wide_as_the_brush(page: Page) -> None:
    draw(page, [(400, 300)])
    assert mask_of(page).astype(float).sum() / 255 == pytest.approx(np.pi * 20**2, rel=0.02)


def test_what_was_zoomed_and_moved_is_drawn_where_it_is_seen(page: Page) -> None:
    page.mouse.move(*place(page, (600, 450)))
    for _ in range(6):
        page.mouse.wheel(0, -100)
    until(page, lambda: bool(page.evaluate(f"parseInt({CANVAS}.querySelector('.w-canvas-scale').textContent) > 250")))
    page.mouse.down()
    page.mouse.up()  # what the pointer was on has not moved
    is_stroke(mask_of(page), [(600, 450)], 20)
    x, y = place(page, (600, 450))
    scale = page.evaluate(f"parseInt({CANVAS}.querySelector('.w-canvas-scale').textContent) / 100")
    page.keyboard.down("Space")
    page.mouse.down()
    page.mouse.move(x + 60, y + 50, steps=3)
    page.mouse.up()
    page.mouse.down()
    page.mouse.move(x + 100, y + 50, steps=3)
    page.mouse.up()
    page.keyboard.up("Space")
    page.keyboard.press("Control+z")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()
    is_stroke(mask_of(page), [(600 - 100 / scale, 450 - 50 / scale)], 20)
    page.keyboard.press("0")
    draw(page, [(100, 100)])
    assert mask_of(page)[100, 100] == 255


def test_strokes_are_undone_and_done_again(page: Page) -> None:
    draw(page, [(100, 100)])
    first = mask_of(page)
    draw(page, [(300, 300), (500, 300)])
    second = mask_of(page)
    page.keyboard.press("Control+z")
    assert (mask_of(page) == first).all()
    page.keyboard.press("Control+z")
    assert image_of(page) is None
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Shift+z")
    assert (mask_of(page) == first).all()
    page.keyboard.press("Control+y")
    assert (mask_of(page) == second).all()
    page.locator("[data-act=undo]").click()
    expect(page.locator("[data-act=redo]")).to_be_enabled()
    draw(page, [(700, 500)])
    expect(page.locator("[data-act=redo]")).to_be_disabled()  # another way was taken


def test_keys_are_taken_from_nobody_who_writes(page: Page) -> None:
    draw(page, [(400, 300)])
    before = mask_of(page)
    page.locator("#prompt").focus()
    page.mouse.move(*place(page, (400, 300)))  # the pointer is over the picture, but that is not where one writes
    page.keyboard.type("be [s")
    assert page.locator("#prompt").input_value() == "be [s"
    page.keyboard.press("Control+z")
    assert (mask_of(page) == before).all()
    page.locator("#prompt").blur()
    page.keyboard.press("Control+z")
    assert image_of(page) is None
    page.keyboard.press("Control+y")
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Control+z")  # neither focus nor pointer
    assert (mask_of(page) == before).all()


@pytest.mark.parametrize("how", ["the eraser", "the right button"])
def test_what_is_erased_is_gone(page: Page, how: str) -> None:
    draw(page, [(200, 300), (600, 300)])
    if how == "the eraser":
        page.keyboard.press("e")
        expect(page.locator(".w-canvas-tool[data-tool=eraser]")).to_have_attribute("aria-pressed", "true")
        draw(page, [(400, 300)])
    else:
        draw(page, [(400, 300)], button="right")
    mask = mask_of(page)
    assert mask[300, 400] == 0 and mask[300, 300] == 255 and mask[300, 500] == 255
    far = distance([(400, 300)])
    assert (mask[far < 18] == 0).all()


def test_a_soft_brush_falls_off_smoothly_and_does_not_build_up(page: Page) -> None:
    brush(page, size=200, softness=1)
    draw(page, [(300, 300), (500, 300), (300, 300), (500, 300)])
    column = mask_of(page)[200:300, 400].astype(int)
    assert (np.diff(column) >= 0).all() and np.diff(column).max() < 8
    assert column[50] == pytest.approx(128, abs=6)  # half way


def test_inverting_clearing_and_filling(page: Page) -> None:
    draw(page, [(250, 150), (550, 150), (550, 450), (250, 450), (250, 150)])
    ring = mask_of(page)
    page.keyboard.press("g")
    draw(page, [(400, 300)])
    filled = mask_of(page)
    assert filled[300, 400] == 255 and filled[50, 50] == 0 and (filled >= ring).all()
    page.keyboard.press("i")
    assert (mask_of(page) == 255 - filled).all()
    page.locator("[data-act=clear]").click()
    assert image_of(page) is None and page.evaluate(f"{CANVAS}.drawn()") is False
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert (mask_of(page) == filled).all()


def test_a_sketch_has_colours_and_lies_beside_the_mask(page: Page) -> None:
    draw(page, [(400, 300)])
    page.get_by_role("button", name="Sketch", exact=True).click()
    page.locator(".w-canvas-color").fill("#10c0ff")
    draw(page, [(200, 200)])
    sketch = image_of(page, "sketch")
    assert sketch is not None and sketch.mode == "RGBA" and sketch.size == (800, 600)
    assert sketch.getpixel((200, 200)) == (0x10, 0xC0, 0xFF, 255) and sketch.getpixel((400, 300)) == (0, 0, 0, 0)
    assert mask_of(page)[200, 200] == 0 and mask_of(page)[300, 400] == 255
    brush(page, softness=1, size=100, color="#ff0000")
    draw(page, [(200, 200), (300, 200)])
    mixed = image_of(page, "sketch")
    assert mixed is not None and mixed.getpixel((250, 200)) == (255, 0, 0, 255)
    page.keyboard.press("Control+z")
    again = image_of(page, "sketch")
    assert again is not None and (np.asarray(again) == np.asarray(sketch)).all()


def test_a_line_is_drawn_from_where_the_last_stroke_ended(page: Page) -> None:
    draw(page, [(100, 100)])
    page.keyboard.down("Shift")
    draw(page, [(500, 400)])
    page.keyboard.up("Shift")
    is_stroke(mask_of(page), [(100, 100), (500, 400)], 20)


def test_a_mask_comes_from_a_file_and_from_transparency(browser: Browser, address: str, tmp_path: Path) -> None:
    picture = painted(300, 200).convert("RGBA")
    alpha = Image.new("L", (300, 200), 255)
    alpha.paste(0, (0, 0, 150, 200))
    picture.putalpha(alpha)
    with opened(browser, address) as page:
        begin(page, tmp_path, picture)
        page.locator("[data-act=transparency]").click()
        until(page, lambda: bool(page.evaluate(f"{CANVAS}.drawn()")))
        assert (mask_of(page) == 255 - np.asarray(alpha)).all()
        grey = np.tile(np.arange(300) * 255 // 299, (200, 1)).astype(np.uint8)
        file = file_of(tmp_path, Image.fromarray(grey), "mask.png")
        page.set_input_files(".w-canvas-frame input[type=file]", file)
        until(page, lambda: bool((mask_of(page) == grey).all()))
        page.keyboard.press("Control+z")
        assert (mask_of(page) == 255 - np.asarray(alpha)).all()
        small = file_of(tmp_path, Image.new("L", (3, 2), 200), "small.png")
        page.set_input_files(".w-canvas-frame input[type=file]", small)  # of another size: stretched
        until(page, lambda: bool((mask_of(page) == 200).all()))
    with opened(browser, address) as page:
        begin(page, tmp_path)
        expect(page.locator("[data-act=transparency]")).to_be_hidden()


def test_a_picture_that_was_held_sideways_is_upright(browser: Browser, address: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise to see it upright
    with opened(browser, address) as page:
        begin(page, tmp_path, painted(640, 320), name="photo.jpg", exif=exif)
        shape = (320, 640)
        assert page.evaluate(f"[{CANVAS}.value.width, {CANVAS}.value.height]") == list(shape)
        draw(page, [(40, 600)], shape)
        mask = mask_of(page)
        assert mask.shape == (640, 320)
        is_stroke(mask, [(40, 600)], 20, slack=2.5)


@pytest.mark.parametrize("shape", [(4096, 3072), (8192, 2560), (16384, 64), (1, 1)])
def test_pictures_of_every_size(browser: Browser, address: str, tmp_path: Path, shape: tuple[int, int]) -> None:
    with opened(browser, address) as page:
        begin(page, tmp_path, Image.new("L", shape, 90), size=shape[1] / 5)
        middle = (shape[0] * 0.5, shape[1] * 0.5)
        draw(page, [middle], shape)
        mask = image_of(page)
        assert mask is not None and mask.mode == "L" and mask.size == shape
        if min(shape) == 1:
            return
        box, radius, slack = mask.getbbox(), shape[1] / 10, max(3, shape[0] / 600)
        assert box is not None
        for at, middle in enumerate((shape[0] / 2, shape[1] / 2)):
            assert box[at] == pytest.approx(middle - radius, abs=slack)
            assert box[at + 2] == pytest.approx(middle + radius, abs=slack)
        assert mask.getpixel((shape[0] // 2, shape[1] // 2)) == 255


def finger(session: CDPSession, kind: str, points: list[tuple[float, float]]) -> None:
    touches = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})


def test_a_finger_draws_and_two_move_and_enlarge(browser: Browser, address: str, tmp_path: Path) -> None:
    with opened(browser, address, **PHONE) as page:
        begin(page, tmp_path)
        hand = page.context.new_cdp_session(page)
        way: Points = [(200, 200), (500, 400)]
        finger(hand, "touchStart", [place(page, way[0])])
        for share in (0.25, 0.5, 0.75, 1.0):
            point = tuple(a + (b - a) * share for a, b in zip(way[0], way[1], strict=True))
            finger(hand, "touchMove", [place(page, (point[0], point[1]))])
        finger(hand, "touchEnd", [])
        is_stroke(mask_of(page), way, 20, slack=3)
        before = mask_of(page)
        x, y = place(page, (400, 300))
        finger(hand, "touchStart", [(x - 20, y)])
        finger(hand, "touchStart", [(x - 20, y), (x + 20, y)])
        for by in (30, 45, 60):
            finger(hand, "touchMove", [(x - by, y), (x + by, y)])
        finger(hand, "touchEnd", [])
        assert (mask_of(page) == before).all()  # what the first finger began was no stroke
        finger(hand, "touchStart", [(x, y)])
        finger(hand, "touchEnd", [])
        assert mask_of(page)[300, 400] == 255
        scale = page.evaluate(f"parseInt({CANVAS}.querySelector('.w-canvas-scale').textContent) / 100")
        assert scale == pytest.approx(3 * 390 / 800, rel=0.1)


def test_a_pen_that_is_pressed_lightly_draws_a_thin_line(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    for kind, force in (("mousePressed", 0.25), ("mouseReleased", 0)):
        x, y = place(page, (400, 300))
        given = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1, "pointerType": "pen", "force": force}
        session.send("Input.dispatchMouseEvent", given)
    is_stroke(mask_of(page), [(400, 300)], 5)


def test_the_wheel_and_keys_change_the_brush_and_not_the_page(page: Page) -> None:
    page.mouse.move(*place(page, (400, 300)))
    size = f"{CANVAS}.facts.size"
    page.keyboard.press("]")
    assert page.evaluate(size) > 40
    page.keyboard.press("[")
    assert page.evaluate(size) == pytest.approx(40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    until(page, lambda: page.evaluate(size) > 40)
    page.keyboard.up("Control")
    page.keyboard.press("Shift+BracketRight")
    assert page.evaluate(f"{CANVAS}.facts.softness") == pytest.approx(0.1)
    assert page.evaluate("scrollY") == 0


def test_as_large_as_the_window_and_back(page: Page) -> None:
    page.mouse.move(*place(page, (400, 300)))
    page.keyboard.press("s")
    box = page.locator(".w-canvas-frame").bounding_box()
    assert box is not None and (box["x"], box["y"], box["height"]) == (0, 0, 900) and box["width"] > 980
    page.wait_for_function("document.querySelector('.w-canvas-ground').clientHeight > 700")
    draw(page, [(400, 300)])
    is_stroke(mask_of(page), [(400, 300)], 20)
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('.w-canvas-ground').clientHeight < 700")
    draw(page, [(200, 300)])
    assert mask_of(page)[300, 200] == 255 and mask_of(page)[300, 400] == 255


def test_a_layer_is_brought_to_the_program_once_for_what_is_drawn(page: Page) -> None:
    uploaded = f"{CANVAS}.uploaded('mask')"
    assert page.evaluate(uploaded) is None
    draw(page, [(400, 300)])
    page.evaluate("program.taken.length = 0")
    first = page.evaluate(uploaded)
    assert first and page.evaluate(uploaded) == first and page.evaluate("program.taken.length") == 1
    draw(page, [(100, 300)])
    page.evaluate("program.refuse('The disk is full.')")
    assert page.evaluate(f"{uploaded}.catch(error => error.message)") == "The disk is full."
    page.evaluate("program.refuse('')")
    assert page.evaluate(uploaded) not in (None, first)


def test_a_picture_that_is_refused_leaves_the_old_one_with_what_was_drawn(page: Page, tmp_path: Path) -> None:
    draw(page, [(400, 300)])
    before = mask_of(page)
    page.evaluate("program.refuse('That is no picture that is taken here.')")
    page.set_input_files("webui-canvas > input[type=file] >> nth=0", file_of(tmp_path, painted(64, 64), "other.png"))
    expect(page.locator("webui-canvas .w-problem")).to_have_text("That is no picture that is taken here.")
    assert (mask_of(page) == before).all()
    page.keyboard.press("Control+z")
    assert image_of(page) is None


def test_the_same_again_keeps_what_is_drawn_and_another_picture_does_not(page: Page, tmp_path: Path) -> None:
    draw(page, [(400, 300)])
    page.evaluate(f"{CANVAS}.setValue({{...{CANVAS}.value}})")
    assert mask_of(page)[300, 400] == 255
    page.evaluate(f"{CANVAS}.setValue({{...{CANVAS}.value, digest: 'another'}}, {{keep: true}})")
    assert mask_of(page)[300, 400] == 255
    give(page, file_of(tmp_path, painted(800, 600, seed=1), "other.png"))
    assert image_of(page) is None
    page.locator("[data-act=remove]").click()
    assert page.evaluate(f"{CANVAS}.value") is None
    expect(page.locator(".w-canvas-frame")).to_be_hidden()


HISTORY = """
async ({kind, most, seed}) => {
  const {Layer} = await import("/strokes.js");
  let state = seed;
  const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  const layer = new Layer(kind, 700, 520, {most});
  const seen = async () => {
    const wide = 700 * layer.tiles.depth;
    const rows = new Uint8Array(520 * wide);
    for (let y = 0; y < 520; y += 1) layer.tiles.row(y, rows.subarray(y * wide, (y + 1) * wide));
    return String(new Uint32Array(await crypto.subtle.digest("SHA-256", rows)));
  };
  const states = [await seen()];
  for (let act = 0; act < 40; act += 1) {
    const chance = random();
    if (chance < 0.8) {
      layer.begin({erase: random() < 0.3, softness: random(), color: [1, 2, 3].map(() => random() * 255 | 0)});
      for (let point = 0; point < 4; point += 1) layer.extend(random() * 800 - 50, random() * 600 - 40, 2 + random() * 60);
      layer.end();
    } else if (chance < 0.87) layer.apply({name: "invert"});
    else if (chance < 0.94) {
      layer.apply({name: "fill", x: random() * 700, y: random() * 520, erase: random() < 0.5, color: [9, 8, 7]});
    } else layer.apply({name: "clear"});
    states.push(await seen());
  }
  const wrong = [];
  for (let at = 39; at >= 0; at -= 1) { layer.undo(); if (await seen() !== states[at]) wrong.push(["undo", at]); }
  for (let at = 1; at <= 40; at += 1) { layer.redo(); if (await seen() !== states[at]) wrong.push(["redo", at]); }
  return {wrong, bytes: layer.bytes, different: new Set(states).size};
}
"""


@pytest.mark.parametrize("kind", ["mask", "sketch"])
@pytest.mark.parametrize("most", [2**30, 0])
def test_any_acts_are_undone_and_done_again_whatever_memory_there_is(page: Page, kind: str, most: int) -> None:
    found = page.evaluate(HISTORY, {"kind": kind, "most": most, "seed": 7})
    assert found["wrong"] == [] and found["different"] > 25
    if most == 0:
        plenty = page.evaluate(HISTORY, {"kind": kind, "most": 2**30, "seed": 7})
        assert found["bytes"] < plenty["bytes"] / 4


def test_everything_has_a_name_and_fits_a_phone(browser: Browser, address: str, tmp_path: Path) -> None:
    from tests.ui.test_looks import NAMELESS

    with opened(browser, address, **PHONE) as page:
        begin(page, tmp_path)
        assert page.evaluate(NAMELESS) == []
        assert wide(page) <= 0
        tools = "[...document.querySelectorAll('.w-canvas-tools button')]"
        assert max(page.evaluate(f"{tools}.map(each => each.getBoundingClientRect().right)")) <= 390
