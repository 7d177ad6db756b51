"""The tabs that start from a picture: what is chosen reaches the job, is seen beside the result, stays, and goes on."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.ui.drawn import content, file, ramp, stripes, stroke
from tests.ui.person import Person, choose_picture, comes_to_be, digests, generate, go, kept, ready, stage, until, value, write
from tests.ui.test_setting import request_of

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DROP = """
bytes => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], "made.png", {type: "image/png"}));
  const event = new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true});
  document.querySelector("#img2img_stage").dispatchEvent(event);
}
"""


def a_picture(width: int = 96, height: int = 64) -> dict[str, Any]:
    return file("stripes.png", content(stripes(width, height)))


def begin(person: Person, area: str, **shape: int) -> Page:
    """A tab with a picture in it."""
    page = person.open(area)
    choose_picture(page, a_picture(**shape), area)
    return page


def mask_of(person: Person, page: Page) -> Any:
    """The mask that the program has, uint8 [H, W], once it has the newest."""
    page.evaluate("webui.tabs.inpaint.inputs.settled()")
    digest = digests(page, "inpaint").get("mask")
    if digest is None:
        return None
    with Image.open(io.BytesIO(person.site.studio.inputs.open(person.user, digest))) as picture:
        return np.asarray(picture.convert("L"))


def test_a_picture_from_a_picture_is_seen_beside_it(person: Person) -> None:
    page = begin(person, "img2img")
    generate(page, "img2img", prompt="a ball")
    stage(page, "finished", "img2img")
    (picture,) = person.pictures()
    made = request_of(person, picture)
    assert (picture.task, made.prompt, made.strength) == ("img2img", "a ball", 0.75)
    assert picture.inputs == digests(page, "img2img")
    page.locator("#img2img [data-act=compare]").click()
    compare = page.locator("#img2img .w-canvas > webui-compare")
    expect(compare).to_have_attribute("before", f"/x/inputs/{picture.inputs['picture']}")
    expect(compare).to_have_attribute("after", f"/x/pictures/{picture.id}")
    expect(compare).to_have_attribute("data-state", "slider")
    page.locator("#img2img [data-act=compare]").click()
    expect(page.locator("#img2img .w-cell img")).to_be_visible()


def test_results_are_seen_where_they_were_asked_for(person: Person) -> None:
    page = begin(person, "img2img")
    person.site.pretended.hold = 3
    job = generate(page, "img2img", prompt="the first")
    go(page, "txt2img")
    assert page.locator("#txt2img webui-stage").get_attribute("data-job") == ""
    other = generate(page, prompt="the second")
    row = page.locator(f"#txt2img .w-queue li[data-job='{job}']")
    expect(row).to_contain_text("the first")
    row.get_by_role("button", name="Show").click()
    expect(page.locator("#img2img webui-stage")).to_be_visible()
    page.locator("#img2img_interrupt").click()
    assert stage(page, "interrupted", "img2img") == job
    person.site.pretended.hold = None
    go(page, "txt2img")
    assert stage(page, "finished") == other


def test_without_a_picture_a_sentence_says_what_is_missing(person: Person) -> None:
    page = person.open("img2img")
    person.meant.add(400)
    page.locator("#img2img_generate").click()
    expect(page.locator("#img2img_refusal")).to_contain_text("img2img needs a picture")
    assert person.jobs() == []


def test_a_file_that_is_no_picture_is_a_sentence_and_the_picture_before_stays(person: Person) -> None:
    page = begin(person, "img2img")
    person.meant.add(400)
    before = digests(page, "img2img")
    page.locator("#img2img_picture input[name=picture]").set_input_files(file("bad.png", b"no picture at all"))
    expect(page.locator("#img2img_picture .w-problem").first).to_contain_text("picture")
    page.wait_for_function("webui.tabs.img2img.panel.querySelector('#img2img_picture').value?.digest")
    assert digests(page, "img2img") == before
    generate(page, "img2img", prompt="all the same")
    stage(page, "finished", "img2img")
    assert person.pictures()[0].inputs == before


def test_a_reload_keeps_pictures_and_what_was_painted(person: Person) -> None:
    page = begin(person, "inpaint")
    stroke(page, "inpaint", (0.3, 0.5), (0.6, 0.5))
    painted = mask_of(person, page)
    before = digests(page, "inpaint")
    write(page, "prompt", "kept", "inpaint")
    comes_to_be(page, "prompt", "kept", "inpaint")
    kept(page, "inpaint")
    page.wait_for_timeout(600)  # the choice of pictures is kept when it rests
    page.reload()
    ready(page)
    assert digests(page, "inpaint") == before
    go(page, "inpaint")
    page.wait_for_function("document.querySelector('#inpaint_picture')?.drawn?.('mask')")
    assert np.array_equal(mask_of(person, page), painted)
    assert value(page, "prompt", "inpaint") == "kept"
    person.site.studio.inputs.remove(person.user, before["picture"])
    page.reload()
    ready(page)
    assert "picture" not in digests(page, "inpaint"), "what is gone is not shown as if it were there"


def test_a_mask_is_drawn_undone_and_drawn_again(person: Person) -> None:
    page = begin(person, "inpaint", width=192, height=128)
    stroke(page, "inpaint", (0.25, 0.5), (0.5, 0.5))
    first = mask_of(person, page)
    assert first.shape == (128, 192) and first[64, 60] == 255 and first[64, 150] == 0 and first[5, 5] == 0
    page.locator("#inpaint_picture .w-canvas-ground").focus()
    page.keyboard.press("Control+z")
    assert mask_of(person, page) is None
    page.keyboard.press("Control+Shift+z")
    assert np.array_equal(mask_of(person, page), first)
    stroke(page, "inpaint", (0.75, 0.2), (0.75, 0.8))
    second = mask_of(person, page)
    assert second[64, 144] == 255 and second[64, 60] == 255
    generate(page, "inpaint", prompt="a ball")
    stage(page, "finished", "inpaint")
    (picture,) = person.pictures()
    assert picture.inputs == digests(page, "inpaint") and set(picture.inputs) == {"picture", "mask"}
    inputs = person.site.studio.inputs
    until(page, lambda: {each.digest for each in inputs.all(person.user)} == set(picture.inputs.values()))  # others are let go


def test_another_picture_has_no_mask_yet(person: Person) -> None:
    page = begin(person, "inpaint")
    stroke(page, "inpaint", (0.2, 0.5), (0.6, 0.5))
    assert mask_of(person, page) is not None
    before = digests(page, "inpaint")["picture"]
    page.locator("#inpaint_picture input[name=picture]").set_input_files(a_picture(width=80, height=80))
    other = "before => ![undefined, before].includes(webui.tabs.inpaint.inputs.digests.picture)"
    page.wait_for_function(other, arg=before)
    assert mask_of(person, page) is None


def test_a_picture_is_sent_around_all_tabs(person: Person) -> None:
    page = person.open()
    generate(page, prompt="a ring", seed="7", width="64", height="96")
    stage(page, "finished")
    area = "txt2img"
    for target in ("img2img", "inpaint", "extras", "depth"):
        newest = person.pictures()[0]
        page.locator(f"#{area} [data-act=send]").click()
        page.locator(f".w-send [data-task={target}]").click()
        expect(page.locator(f"#{target}")).to_be_visible()
        page.wait_for_function("area => document.querySelector(`#${area}_picture`)?.value?.digest", arg=target)
        assert person.site.studio.inputs.open(person.user, digests(page, target)["picture"]) == newest.path.read_bytes()
        if target in ("img2img", "inpaint", "depth"):
            comes_to_be(page, "prompt", "a ring", target)
            assert (value(page, "seed", target), value(page, "width", target)) == ("7", 64)
        if target == "depth":
            break
        if target == "inpaint":
            stroke(page, "inpaint", (0.3, 0.3), (0.6, 0.6))
        generate(page, target)
        stage(page, "finished", target)
        area = target
    assert [each.task for each in person.pictures()] == ["extras", "inpaint", "img2img", "txt2img"]


def test_what_the_other_tab_has_of_its_own_stays_when_a_picture_comes(person: Person) -> None:
    page = person.open("img2img")
    write(page, "strength", "0.3", "img2img")
    page.locator("#img2img_strength input[type=number]").fill("0.3")
    page.keyboard.press("Tab")
    comes_to_be(page, "strength", 0.3, "img2img")
    go(page, "txt2img")
    generate(page, prompt="a cube", steps="7")
    stage(page, "finished")
    page.locator("#txt2img [data-act=send]").click()
    page.locator(".w-send [data-task=img2img]").click()
    comes_to_be(page, "steps", 7, "img2img")
    assert value(page, "strength", "img2img") == 0.3


def test_everything_is_used_again_in_the_tab_it_was_made_in(person: Person) -> None:
    page = begin(person, "inpaint")
    stroke(page, "inpaint", (0.2, 0.5), (0.6, 0.5))
    generate(page, "inpaint", prompt="a cone")
    stage(page, "finished", "inpaint")
    before = digests(page, "inpaint")
    page.locator("#inpaint_picture [data-act=remove]").click()
    page.wait_for_function("!webui.tabs.inpaint.inputs.digests.picture")
    go(page, "Gallery")
    page.locator(".w-grid .w-tile").first.click()
    page.keyboard.press("i")
    page.locator(".w-viewer [data-act=all]").click()
    expect(page.locator("#inpaint")).to_be_visible()
    assert digests(page, "inpaint") == before
    page.wait_for_function("document.querySelector('#inpaint_picture').drawn('mask')")


def test_a_batch_makes_what_it_can_and_says_what_it_could_not(person: Person) -> None:
    page = person.open("img2img")
    person.meant.add(400)
    page.locator("#img2img_inputs [data-several=true]").click()
    good = [file(f"{number}.png", content(stripes(64 + 8 * number, 64))) for number in range(3)]
    bad = file("bad.png", b"not a picture")
    page.locator("#img2img_pictures input[name=pictures]").set_input_files([good[0], bad, *good[1:]])
    page.locator("#img2img_generate").click()
    batch = page.locator("#img2img .w-batch")
    expect(batch).to_have_attribute("data-state", "ended")
    expect(batch).to_contain_text("3 of 4")
    expect(batch).to_contain_text("bad.png")
    assert sorted(picture.width for picture in person.pictures()) != []
    assert len(person.pictures()) == 3


def test_extras_enlarge(person: Person) -> None:
    page = begin(person, "extras")
    generate(page, "extras")
    stage(page, "finished", "extras")
    (picture,) = person.pictures()
    assert (picture.task, picture.width, picture.height) == ("extras", 192, 128)


def test_a_model_without_depth_is_refused_with_those_that_have_it(person: Person) -> None:
    page = person.open()
    person.meant.add(400)  # the program itself knows no such model, and has no schedule for it
    facts = page.evaluate("fetch('/x/models').then(answer => answer.json())")
    plain = facts["models"][0] | {"beside": "nothing", "title": "plain"}
    deep = facts["models"][0] | {"name": "deep", "title": "Deep 2", "beside": "depth", "no_map": None}
    facts["models"] = [plain, deep]
    facts["choices"]["model"] = [["plain", "builtin"], ["Deep 2", "deep"]]
    page.route("**/x/models", lambda route: route.fulfill(json=facts))
    page.locator("#txt2img_models").click()
    go(page, "depth")
    page.locator("#depth_generate").click()
    expect(page.locator("#depth_refusal")).to_contain_text("plain takes no depth map. This model does:")
    page.locator("#depth_refusal [data-model=deep]").click()
    comes_to_be(page, "model", "deep", "depth")
    expect(page.locator("#depth_refusal")).to_be_hidden()
    expect(page.locator(".w-depth-note")).to_contain_text("a flat one is used")
    choose_picture(page, a_picture(), "depth")
    expect(page.locator(".w-depth-note")).to_be_hidden()


def test_a_dropped_picture_is_taken_by_the_tab_and_offers_its_parameters(person: Person) -> None:
    page = person.open()
    generate(page, prompt="a pyramid", seed="11")
    stage(page, "finished")
    made = person.pictures()[0].path.read_bytes()
    go(page, "img2img")
    page.evaluate(DROP, list(made))
    page.wait_for_function("webui.tabs.img2img.inputs.digests.picture")
    assert value(page, "prompt", "img2img") == ""
    page.locator(".w-note", has_text="carries the parameters").get_by_role("button", name="Use them").click()
    comes_to_be(page, "seed", "11", "img2img")


@pytest.mark.parametrize("area", ["img2img", "inpaint", "depth", "extras"])
def test_a_phone_shows_every_tab_without_scrolling_sideways(people: Callable[..., Person], area: str) -> None:
    person = people(**PHONE)
    page = begin(person, area, width=300, height=200)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    if area == "inpaint":
        stroke(page, area, (0.3, 0.5), (0.6, 0.5))
        assert mask_of(person, page)[100, 120] == 255
    if area != "depth":
        generate(page, area)
        stage(page, "finished", area)
        assert person.pictures()[0].task == area
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


def test_a_depth_map_of_sixteen_bits_is_brought_as_it_is(person: Person) -> None:
    page = person.open("depth")
    data = content(ramp(64, 48))
    choose_picture(page, file("map.png", data), "depth", "depth")
    assert person.site.studio.inputs.open(person.user, digests(page, "depth")["depth"]) == data
    until(page, lambda: page.locator("#depth_depth img").is_visible())


def test_a_map_is_shown_before_it_is_used_and_kept_as_it_is_shown(person: Person) -> None:
    page = person.open("depth")
    choose_picture(page, file("map.png", content(ramp(64, 48))), "depth", "depth")
    page.locator("#depth_show").click()
    expect(page.locator(".w-depth[data-state=shown]")).to_be_attached()
    first = page.locator(".w-depth").get_attribute("data-map")
    expect(page.locator(".w-depth-map webui-compare")).to_have_attribute("after", f"/x/inputs/{first}")
    assert person.pictures() == [], "a map alone is no picture"
    with page.expect_download() as download:
        page.locator("#depth_download").click()
    with Image.open(download.value.path()) as saved:
        assert saved.mode.startswith("I") and np.asarray(saved).max() > 255
    page.locator("#depth_use").click()
    page.wait_for_function("first => webui.tabs.depth.inputs.digests.depth === first", arg=first)


def test_the_structure_is_kept_and_the_prompt_changed_in_one_click(person: Person) -> None:
    page = person.open("depth")
    choose_picture(page, file("map.png", content(ramp(64, 48))), "depth", "depth")
    generate(page, "depth", prompt="a red ball", seed="5")
    stage(page, "finished", "depth")
    (picture,) = person.pictures()
    assert picture.task == "depth" and set(picture.maps) == {"depth"}
    compare = page.locator("#depth .w-canvas > webui-compare")
    expect(compare).to_have_attribute("before", f"/x/inputs/{picture.maps['depth']}")
    go(page, "txt2img")
    go(page, "Gallery")
    page.locator(".w-grid .w-tile").first.click()
    page.keyboard.press("i")
    page.locator(".w-viewer [data-act=structure]").click()
    expect(page.locator("#depth_prompt textarea")).to_be_focused()
    assert digests(page, "depth") == {"depth": picture.maps["depth"]}
    assert (value(page, "prompt", "depth"), value(page, "seed", "depth")) == ("a red ball", "5")
