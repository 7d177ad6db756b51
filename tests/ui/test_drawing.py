"""From a prompt to a picture in a real browser: previews, progress, interrupting, skipping, coming back."""

from __future__ import annotations

import io
import zipfile

from PIL import Image
from playwright.sync_api import Request, expect

from tests.ui.person import Person, comes_to_be, generate, shown_after, stage, step, until, write
from webui.infotext import PNG_KEY
from webui.service.gallery import read_text

SOME_TABS = 7  # browsers hold six connections to one server


def test_a_prompt_becomes_a_picture_that_is_watched_kept_and_downloaded(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 3
    write(page, "prompt", "a red ball on a wooden table")
    write(page, "steps", "150")
    page.keyboard.press("Tab")
    comes_to_be(page, "steps", 150)
    page.locator("#txt2img_prompt textarea").press("Control+Enter")
    job = stage(page, "running")
    cell = page.locator(".w-cell")
    page.wait_for_function("document.querySelector('.w-cell img').src.includes('/preview/')")
    first = cell.locator("img").get_attribute("src")
    person.site.pretended.hold = 6
    page.wait_for_function("first => document.querySelector('.w-cell img').getAttribute('src') !== first", arg=first)
    expect(page.locator(".w-status")).to_contain_text("Step 6 of 150")
    expect(page.locator(".w-status")).to_contain_text("left")
    expect(page.locator(".w-bar")).to_have_attribute("aria-valuenow", "4")
    person.site.pretended.hold = None
    assert stage(page, "finished") == job

    (picture,) = person.pictures()
    expect(cell.locator("img")).to_have_attribute("src", f"/x/pictures/{picture.id}")
    expect(page.locator("#w-status")).to_have_text("Finished.")  # for those who listen
    with page.expect_download() as download:
        page.locator("webui-stage [data-act=download]").click()
    assert download.value.path().read_bytes() == picture.path.read_bytes()
    assert download.value.suggested_filename == picture.path.name
    shown = page.locator("webui-stage .w-parameters")
    for text in ("a red ball on a wooden table", "DPM++ 2M", picture.seed, "128x128"):
        expect(shown).to_contain_text(text)
    assert read_text(picture.path) == picture.parameters


def test_interrupting_keeps_the_picture_so_far(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 5
    job = generate(page, prompt="a cone")
    page.wait_for_function("document.querySelector('.w-cell').dataset.step === '5'")
    page.locator("#txt2img_interrupt").click()
    assert stage(page, "interrupted") == job
    (picture,) = person.pictures()
    assert picture.interrupted and PNG_KEY in Image.open(io.BytesIO(picture.path.read_bytes())).info
    expect(page.locator(".w-status")).to_have_text("Interrupted; the picture is kept as it was.")
    expect(page.locator(".w-cell img")).to_have_attribute("src", f"/x/pictures/{picture.id}")
    expect(page.locator("#w-status")).to_contain_text("Interrupted")
    expect(page.locator("#txt2img_interrupt")).to_be_disabled()


def test_a_reload_finds_the_running_job_where_it_is(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 4
    job = generate(page, prompt="a ring", steps="100")
    page.wait_for_function("document.querySelector('.w-cell').dataset.step === '4'")
    page.wait_for_function("document.querySelector('.w-cell img').src.includes('/preview/')")
    page.reload()
    assert stage(page, "running") == job
    page.wait_for_function("Number(document.querySelector('.w-cell').dataset.step) > 0")
    assert step(page) == 4
    page.wait_for_function("document.querySelector('.w-cell img').src.includes('/preview/')")  # though no step came since
    assert [each["job"] for each in person.jobs()] == [job]
    page.close()  # the laptop is closed, and opened again
    again = person.open()
    assert stage(again, "running") == job
    assert again.locator("#txt2img_prompt textarea").input_value() == "a ring"


def test_another_tab_hears_of_a_job_and_may_stop_it(person: Person) -> None:
    first, second = person.open(), person.open()
    person.site.pretended.hold = 1
    second.bring_to_front()
    job = generate(first, prompt="a cube", steps="100")
    assert stage(second, "running") == job
    second.locator("#txt2img_interrupt").click()
    assert stage(first, "interrupted") == stage(second, "interrupted") == job


def test_skip_drops_one_picture_and_goes_on(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 2
    generate(page, prompt="a pyramid", count="3", steps="10")
    page.wait_for_function("document.querySelectorAll('.w-cell').length === 3")
    page.keyboard.press("Alt+Enter")
    expect(page.locator(".w-cell[data-state=skipped]")).to_have_count(1)
    person.site.pretended.hold = None
    stage(page, "finished")
    assert len(person.pictures()) == 2
    expect(page.locator(".w-cell[data-state=done]")).to_have_count(2)
    with page.expect_download() as download:
        page.locator("webui-stage [data-act=zip]").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        kept = {picture.path.read_bytes() for picture in person.pictures()}
        assert {archive.read(name) for name in archive.namelist() if name.endswith(".png")} == kept


def test_jobs_that_wait_are_listed_moved_and_cancelled(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 1
    for number in range(7):
        write(page, "prompt", f"number {number}")
        page.locator("#txt2img_generate").click()
        until(page, lambda: len(person.jobs()) == number + 1)  # noqa: B023  it is called at once
    waiting = page.locator(".w-queue li[data-state=queued]")
    expect(waiting).to_have_count(3)
    expect(waiting.nth(1)).to_contain_text("number 5")
    expect(waiting.nth(1)).to_contain_text("5 before it")
    waiting.nth(1).get_by_role("button", name="Move up").click()
    expect(waiting.nth(0)).to_contain_text("number 5")
    until(page, lambda: [job["prompt"] for job in person.jobs()][4] == "number 5")
    waiting.nth(0).get_by_role("button", name="Cancel").click()
    expect(waiting).to_have_count(2)
    until(page, lambda: [job["prompt"] for job in person.jobs()] == [f"number {n}" for n in (0, 1, 2, 3, 4, 6)])
    running = page.locator(".w-queue li[data-state=running]").first
    other = running.get_attribute("data-job")
    running.get_by_role("button", name="Show").click()
    expect(page.locator(f"webui-stage[data-job='{other}']")).to_be_attached()


def test_a_failure_is_a_sentence_and_can_be_tried_again(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "this must fail")
    page.locator("#txt2img_generate").click()
    job = stage(page, "failed")
    expect(page.locator(".w-status.w-wrong")).to_have_text("This was made to fail. The log has more under pretend.")
    page.get_by_role("button", name="Try again").click()
    assert shown_after(page, job) != job
    stage(page, "failed")


def test_no_connection_is_held_while_nothing_is_drawn(person: Person) -> None:
    page = person.open()
    streams: set[Request] = set()
    begun: list[Request] = []

    def asked(request: Request) -> None:
        if request.url.endswith("/x/events"):
            streams.add(request)
            begun.append(request)

    page.on("request", asked)
    for ending in ("requestfinished", "requestfailed"):  # whichever side is first to close it
        page.on(ending, lambda request: streams.discard(request))
    person.site.pretended.hold = 1
    generate(page, prompt="a ball")
    until(page, lambda: len(streams) == 1 and person.listens())
    person.site.pretended.hold = None
    stage(page, "finished")
    until(page, lambda: not streams and not person.listens())
    before = len(begun)
    pages = [person.open() for _ in range(SOME_TABS)]
    until(pages[-1], lambda: not person.listens())
    assert len(begun) == before, "the page asks again and again though nothing is drawn"


def test_a_lost_connection_is_said_and_found_again(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 1
    job = generate(page, prompt="a cylinder")
    person.meant.add("net::ERR_INTERNET_DISCONNECTED")  # the page tries again by itself meanwhile
    person.context.set_offline(True)
    page.evaluate("webui.stream.dispatchEvent(new Event('lost'))")  # a browser takes its time to notice
    expect(page.locator(".w-status.w-wrong")).to_contain_text("The connection is lost")
    person.context.set_offline(False)
    page.evaluate("webui.stream.again()")
    expect(page.locator(".w-status")).to_contain_text("Step")
    assert stage(page, "running") == job
