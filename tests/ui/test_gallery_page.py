"""The gallery in a browser: found, starred, thrown away and taken back, with as many pictures as there may be."""

from __future__ import annotations

import zipfile
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Page, expect

from tests.ui.person import Person, comes_to_be, go, until
from webui import infotext
from webui.drawing import Txt2Img
from webui.request import Request
from webui.service.gallery import save
from webui.service.users import User

MANY = 10_000
MOST_NODES = 400  # tiles in the page, however many pictures there are
# Somebody who keeps scrolling until there is more; a page that has just become longer does not scroll by itself.
SCROLLED = """before => {
    scrollTo(0, document.documentElement.scrollHeight);
    return document.querySelector('webui-gallery').dataset.count !== before;
}"""


def hang(person: Person, prompts: list[str], job: str | None = None) -> list[str]:
    """Put pictures into somebody's gallery, as jobs do; returns their ids, oldest first."""
    studio, ids = person.site.studio, []
    for place, prompt in enumerate(prompts):
        params = Txt2Img(prompt=prompt, seed=place, width=64, height=64)
        request = Request(
            model="builtin", prompt=prompt, steps=20, sampler="Euler", schedule="Karras", scale=4, seed=place, width=64, height=64
        )
        text = infotext.write(params)
        saved = save(studio.outputs, np.full((64, 64, 3), place * 40 % 255, np.uint8), place, text)
        row = studio.pictures.row_values(
            user=person.user.id, job=job, place=place, path=saved.path, size=saved.path.stat().st_size, width=64, height=64,
            request=request, parameters=text,
        )  # fmt: skip
        with studio.database.write() as connection:
            ids.append(studio.pictures.insert(connection, row))
    return ids


def hang_many(user: User, person: Person, count: int) -> None:
    """Rows without files, many at once."""
    (first,) = hang(person, ["the only file"])
    row = person.site.studio.database.one("SELECT * FROM pictures WHERE id = ?", (first,))
    assert row is not None
    names = [name for name in row.keys() if name != "number"]  # noqa: SIM118  a Row iterates over its values
    plain = {name: row[name] for name in names}

    def numbered(n: int) -> dict[str, object]:
        text = f"number {n}\nSteps: 20, Sampler: Euler, Seed: {n}"
        own = {"id": f"{user.id:04x}{n:012x}", "path": f"nowhere/{user.id}-{n}.png", "place": n, "seed": str(n)}
        return plain | own | {"prompt": f"number {n}", "parameters": text}

    with person.site.studio.database.write() as connection:
        marks = ", ".join("?" for _ in names)
        values = [tuple(each[name] for name in names) for each in map(numbered, range(count))]
        connection.executemany(f"INSERT INTO pictures ({', '.join(names)}) VALUES ({marks})", values)


def shown(page: Page, count: int) -> None:
    """Wait until the gallery lists that many pictures."""
    expect(page.locator(f"webui-gallery[data-state=ready][data-count='{count}']")).to_be_attached()


def tile(page: Page, prompt: str) -> object:
    return page.locator(f".w-grid .w-tile[title='{prompt}']")


def test_pictures_are_found_by_their_words(person: Person) -> None:
    hang(person, ["a red ball", "a blue ball", "a red cone"])
    page = person.open("Gallery")
    shown(page, 3)
    small = "each => each.src.endsWith('/thumbnail') && each.complete && each.naturalWidth > 0"
    page.wait_for_function(f"[...document.querySelectorAll('.w-grid .w-tile img')].filter({small}).length === 3")
    search = page.get_by_label("Search prompts and parameters")
    search.fill("ball red")
    shown(page, 1)
    search.fill("Seed: 1")
    shown(page, 1)
    search.fill("elephant")
    shown(page, 0)
    expect(page.locator(".w-empty")).to_have_text("No picture has “elephant” in its prompt or parameters.")
    search.fill("")
    shown(page, 3)


def test_stars_trash_and_back(person: Person) -> None:
    ids = hang(person, ["one", "two", "three"])
    page = person.open("Gallery")
    shown(page, 3)
    for index in (0, 1):
        page.locator(".w-grid-cell").nth(index).hover()
        page.locator(".w-tick").nth(index).click()
    expect(page.locator(".w-bulk")).to_contain_text("2 chosen")
    page.locator(".w-bulk").get_by_role("button", name="Star").click()
    until(page, lambda: sum(picture.starred for picture in person.pictures()) == 2)
    page.get_by_role("button", name="Starred").click()
    shown(page, 2)
    page.get_by_role("button", name="All", exact=True).click()
    shown(page, 3)
    page.locator(".w-grid-cell").first.hover()
    page.locator(".w-tick").first.click()
    page.locator(".w-bulk").get_by_role("button", name="Move to the trash").click()
    shown(page, 2)
    page.locator(".w-note").get_by_role("button", name="Undo").click()
    shown(page, 3)
    page.locator(".w-grid-cell").first.hover()
    page.locator(".w-tick").first.click()
    page.locator(".w-bulk").get_by_role("button", name="Move to the trash").click()
    shown(page, 2)
    page.get_by_role("button", name="Trash", exact=True).click()
    shown(page, 1)
    page.locator(".w-grid-cell").first.hover()
    page.locator(".w-tick").first.click()
    page.locator(".w-bulk").get_by_role("button", name="Restore").click()
    shown(page, 0)
    page.get_by_role("button", name="All", exact=True).click()
    shown(page, 3)
    assert {picture.id for picture in person.pictures() if picture.trashed is None} == set(ids)


def test_what_is_deleted_for_good_is_asked_for_and_gone(person: Person) -> None:
    (gone,) = hang(person, ["to go"])
    person.site.studio.pictures.trash(person.user, [gone])
    path = person.site.studio.pictures.get(person.user, gone).path
    page = person.open("Gallery")
    page.get_by_role("button", name="Trash", exact=True).click()
    shown(page, 1)
    page.locator(".w-grid-cell").first.hover()
    page.locator(".w-tick").first.click()
    page.locator(".w-bulk").get_by_role("button", name="Delete for good").click()
    page.locator("dialog").get_by_role("button", name="Keep").click()
    assert path.exists()
    page.locator(".w-bulk").get_by_role("button", name="Delete for good").click()
    page.locator("dialog").get_by_role("button", name="Delete for good").click()
    shown(page, 0)
    assert not path.exists() and person.pictures() == []


def test_several_are_downloaded_as_one_file(person: Person) -> None:
    hang(person, ["one", "two", "three"])
    page = person.open("Gallery")
    shown(page, 3)
    page.locator(".w-grid-cell").first.hover()
    page.locator(".w-tick").first.click()
    page.locator(".w-tick").nth(2).click(modifiers=["Shift"])
    expect(page.locator(".w-count")).to_have_text("3 chosen")
    with page.expect_download() as download:
        page.locator(".w-bulk").get_by_role("button", name="Download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        inside = {archive.read(name) for name in archive.namelist() if name.endswith(".png")}
    assert inside == {picture.path.read_bytes() for picture in person.pictures()}
    page.keyboard.press("Escape")
    expect(page.locator(".w-bulk")).to_be_hidden()


def test_the_full_view_is_walked_with_keys(person: Person) -> None:
    ids = hang(person, ["one", "two", "three"])[::-1]
    page = person.open("Gallery")
    shown(page, 3)
    page.locator(".w-grid .w-tile").first.click()
    viewer = page.locator("dialog.w-viewer")
    expect(viewer).to_have_attribute("data-id", ids[0])
    page.keyboard.press("ArrowRight")
    expect(viewer).to_have_attribute("data-id", ids[1])
    page.keyboard.press("+")
    expect(viewer).to_have_attribute("data-zoom", "1.25")
    page.keyboard.press("-")
    expect(viewer).to_have_attribute("data-zoom", "1.00")
    page.keyboard.press("ArrowLeft")
    expect(viewer).to_have_attribute("data-id", ids[0])
    page.keyboard.press("i")
    expect(viewer.locator(".w-parameters")).to_contain_text("three")
    viewer.locator("[data-act=star]").click()
    expect(viewer.locator("[data-act=star]")).to_have_attribute("aria-pressed", "true")
    viewer.locator("[data-act=all]").click()
    comes_to_be(page, "prompt", "three")
    expect(page.locator("#txt2img_generate")).to_be_visible()
    go(page, "Gallery")
    page.locator(".w-grid .w-tile").first.click()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    page.locator(".w-grid .w-tile").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".w-grid .w-tile").nth(1)).to_be_focused()


def test_ten_thousand_pictures_are_scrolled_through_with_few_in_the_page(person: Person) -> None:
    hang_many(person.user, person, MANY)
    page = person.open("Gallery")
    expect(page.locator("webui-gallery[data-state=ready]")).to_be_attached()
    most = 0
    for _ in range(6):
        before = page.locator("webui-gallery").get_attribute("data-count")
        page.wait_for_function(SCROLLED, arg=before)
        most = max(most, page.locator(".w-grid-cell").count())
    assert 0 < most <= MOST_NODES
    assert int(page.locator("webui-gallery").get_attribute("data-count") or 0) > 700
    page.get_by_label("Search prompts and parameters").fill("number 4321")
    page.evaluate("scrollTo(0, 0)")
    shown(page, 1)


def test_what_was_just_drawn_is_in_the_gallery_that_is_open_elsewhere(people: Callable[..., Person]) -> None:
    person = people()
    gallery, page = person.open("Gallery"), person.open()
    shown(gallery, 0)
    gallery.bring_to_front()
    page.locator("#txt2img_generate").click()
    shown(gallery, 1)
