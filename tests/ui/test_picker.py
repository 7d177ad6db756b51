"""A place for pictures in a real browser: chosen, dropped and pasted; what the program refuses costs nobody what they had."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, expect

from tests.ui.bare import PHONE, as_transfer, file_of, give, opened, painted, serving
from tests.ui.person import wide

BODY = (
    '<div style="max-width: 380px"><textarea id="prompt" aria-label="Prompt"></textarea>'
    '<webui-picker id="one" label="Picture" name="picture"></webui-picker>'
    '<div id="away" hidden><webui-picker id="hidden" label="Elsewhere"></webui-picker></div>'
    '<webui-picker id="other" label="Another"></webui-picker>'
    '<webui-picker id="many" label="Pictures" multiple></webui-picker></div>'
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the page is."""
    with serving(BODY) as address:
        yield address


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The page."""
    with opened(browser, address) as page:
        yield page


def shown(page: Page, name: str = "one") -> dict[str, object] | None:
    """What an element holds, once the program has it."""
    found: dict[str, object] | None = page.evaluate("name => document.getElementById(name).settled()", name)
    return found


def drop(page: Page, name: str, given: str) -> None:
    page.evaluate(
        f"name => {{ const element = document.getElementById(name); const dataTransfer = {given};"
        " for (const kind of ['dragenter', 'dragover', 'drop']) element.querySelector('.w-pick-ask').dispatchEvent("
        "   new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer})); }",
        name,
    )


def transfer(filled: str) -> str:
    """An expression that makes a DataTransfer of which a method is called."""
    return f"(() => {{ const all = new DataTransfer(); all.{filled}; return all; }})()"


def paste(page: Page, given: str, text: str = "") -> bool:
    """Paste where the focus is; returns whether a picture was taken."""
    return bool(
        page.evaluate(
            f"text => {{ const clipboardData = {given}; if (text) clipboardData.setData('text/plain', text);"
            " const event = new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData});"
            " return !document.activeElement.dispatchEvent(event); }",
            text,
        )
    )


def test_a_chosen_picture_is_shown_at_once_and_brought_meanwhile(page: Page, tmp_path: Path) -> None:
    path = file_of(tmp_path, painted(120, 80))
    page.evaluate("program.hold()")
    page.set_input_files("#one > input[type=file] >> nth=0", path)
    page.wait_for_function("document.querySelector('#one img').naturalWidth === 120")
    assert page.evaluate("document.getElementById('one').value.digest") is None
    expect(page.locator("#one .w-pick-busy")).to_have_text("being sent…")
    page.evaluate("program.go()")
    value = shown(page)
    assert value is not None and value["digest"] and (value["width"], value["height"], value["name"]) == (120, 80, "picture.png")
    expect(page.locator("#one .w-pick-facts")).to_have_text("120 × 80")
    expect(page.locator("#one .w-pick-busy")).to_have_text("")
    assert page.evaluate("program.taken") == [{"size": path.stat().st_size, "name": "picture.png"}]
    page.locator("#one [data-act=remove]").click()
    assert shown(page) is None
    expect(page.locator("#one .w-pick-ask")).to_be_visible()


def test_the_file_dialog_opens_from_anywhere_in_the_empty_place(page: Page, tmp_path: Path) -> None:
    with page.expect_file_chooser() as asked:
        page.locator("#one .w-pick-ask").click(position={"x": 5, "y": 5})
    asked.value.set_files(file_of(tmp_path, painted(20, 30)))
    value = shown(page)
    assert value is not None and value["height"] == 30


def test_a_dropped_picture_is_taken_with_its_parameters(page: Page, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "a ball\nSteps: 20, Sampler: Euler, Seed: 7")
    page.evaluate("document.addEventListener('drop', () => events.push(['drop on the page', null]))")
    drop(page, "one", as_transfer(file_of(tmp_path, painted(64, 64), pnginfo=info)))
    page.wait_for_function("document.getElementById('one').value?.digest")
    page.wait_for_function("events.some(([kind]) => kind === 'parameters')")
    events = page.evaluate("events")
    said = [detail["info"]["text"] for kind, detail in events if kind == "parameters"]
    assert said == ["a ball\nSteps: 20, Sampler: Euler, Seed: 7"]
    assert "drop on the page" not in [kind for kind, _ in events]  # else it were read as parameters there
    drop(page, "one", transfer("items.add(new File(['x'], 'a.txt', {type: 'text/plain'}))"))
    expect(page.locator("#one .w-problem")).to_have_text("a.txt is no picture.")
    assert shown(page) is not None


def test_a_picture_of_this_page_can_be_dragged_here(page: Page, tmp_path: Path) -> None:
    path = file_of(tmp_path, painted(16, 16))
    page.route("**/x/pictures/7", lambda route: route.fulfill(path=path, content_type="image/png"))
    drop(page, "one", transfer("setData('text/uri-list', location.origin + '/x/pictures/7')"))
    page.wait_for_function("document.getElementById('one').value?.digest")
    drop(page, "other", transfer("setData('text/uri-list', 'http://192.0.2.1/x.png')"))
    expect(page.locator("#other .w-problem")).to_be_visible()  # and nothing is asked of anybody else


def test_a_pasted_picture_goes_where_somebody_was_last(page: Page, tmp_path: Path) -> None:
    given = as_transfer(file_of(tmp_path, painted(48, 32)))
    assert paste(page, given)
    value = shown(page)
    assert value is not None and value["width"] == 48  # nobody was anywhere: the first that is seen
    page.locator("#other").hover()
    assert paste(page, given)
    assert shown(page, "other") is not None
    page.locator("#prompt").focus()
    assert not paste(page, given, text="a ball")  # that is a text for the prompt
    assert paste(page, given)  # and this can only be a picture
    page.mouse.move(900, 800)
    page.locator("#one [data-act=choose]").focus()
    page.evaluate("document.getElementById('away').append(document.getElementById('one'))")
    page.evaluate("document.getElementById('other').setValue(null)")
    assert paste(page, given)
    assert shown(page, "other") is not None and shown(page, "hidden") is None


def test_what_the_program_refuses_leaves_what_was_there(page: Page, tmp_path: Path) -> None:
    give(page, file_of(tmp_path, painted(40, 40)), "#one")
    before = shown(page)
    page.evaluate("program.refuse('That is too large.'); program.hold()")
    page.set_input_files("#one > input[type=file] >> nth=0", file_of(tmp_path, painted(50, 50), "new.png"))
    page.wait_for_function("document.getElementById('one').value.width === 50")
    page.evaluate("window.waited = document.getElementById('one').settled().catch(error => error.message); program.go()")
    assert page.evaluate("waited") == "That is too large."  # whoever waited must not go on with the old one
    expect(page.locator("#one .w-problem")).to_have_text("That is too large.")
    assert shown(page) == before
    page.wait_for_function("document.querySelector('#one img').naturalWidth === 40")
    page.evaluate("program.refuse('')")
    give(page, file_of(tmp_path, painted(50, 50), "new.png"), "#one")
    expect(page.locator("#one .w-problem")).to_be_hidden()


def test_of_two_the_later_counts_whichever_comes_first(page: Page, tmp_path: Path) -> None:
    page.evaluate("program.hold()")
    page.set_input_files("#one > input[type=file] >> nth=0", file_of(tmp_path, painted(40, 40), "a.png"))
    page.wait_for_function("document.getElementById('one').value?.width === 40")
    page.evaluate("window.first = program.go; program.hold()")
    page.set_input_files("#one > input[type=file] >> nth=0", file_of(tmp_path, painted(60, 60), "b.png"))
    page.wait_for_function("document.getElementById('one').value.width === 60")
    page.evaluate("program.go()")
    value = shown(page)
    assert value is not None and value["width"] == 60
    page.evaluate("first()")
    assert shown(page) == value


def test_what_no_browser_can_show_is_left_to_the_program(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    path.write_bytes(b"no picture at all")
    page.evaluate("program.refuse('That is no picture that is taken here; save it as PNG, JPEG or WebP.')")
    drop(page, "one", as_transfer(path, "image/heic"))
    expect(page.locator("#one .w-problem")).to_contain_text("save it as PNG")
    assert shown(page) is None


def test_many_are_taken_and_one_that_is_bad_does_not_stop_the_others(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    paths = [file_of(tmp_path, painted(32, 32, seed), f"{seed}.png") for seed in range(5)]
    page.set_input_files("#many > input[type=file] >> nth=0", [*paths[:2], bad, *paths[2:]])
    found = page.evaluate("document.getElementById('many').settled()")
    assert [each["name"] for each in found] == [path.name for path in paths]
    expect(page.locator("#many .w-problem")).to_contain_text("bad.png: ")
    page.get_by_role("button", name="Remove bad.png").click()
    page.get_by_role("button", name="Remove 1.png").click()
    left = page.evaluate("document.getElementById('many').value.map(each => each.name)")
    assert left == ["0.png", "2.png", "3.png", "4.png"]
    page.locator("#many [data-act=remove]").click()
    assert page.evaluate("document.getElementById('many').value") == []


def test_a_folder_is_taken_with_all_its_pictures(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "holiday" / "day"
    folder.mkdir(parents=True)
    for name in ("2.png", "10.png"):
        file_of(folder, painted(16, 16), name)
    (folder / "notes.txt").write_text("sun")
    page.set_input_files("#many > input[webkitdirectory]", tmp_path / "holiday")
    found = page.evaluate("document.getElementById('many').settled()")
    assert sorted(each["name"] for each in found) == ["10.png", "2.png"]


def test_a_picture_that_is_transparent_or_tiny_or_wide_can_be_seen(page: Page, tmp_path: Path) -> None:
    for shape in ((1, 1), (3000, 2), (2, 3000)):
        give(page, file_of(tmp_path, Image.new("RGBA", shape, (9, 9, 9, 90))), "#one")
        box = page.locator("#one img").bounding_box()
        assert box is not None and box["width"] > 20 and 20 < box["height"] <= 400


def test_it_fits_a_phone(browser: Browser, address: str, tmp_path: Path) -> None:
    from tests.ui.test_looks import NAMELESS

    with opened(browser, address, **PHONE) as page:
        give(page, file_of(tmp_path, painted(640, 480)), "#one")
        give(page, [file_of(tmp_path, painted(32, 32, seed), f"{seed}.png") for seed in range(9)], "#many")
        assert wide(page) <= 0 and page.evaluate(NAMELESS) == []
