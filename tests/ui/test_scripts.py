"""Scripts: a plot is set up, counted, made, watched, cancelled, gone on with, and looked into; others lay themselves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.ui.person import Person, comes_to_be, generate, ready, stage, until, wide, write

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
COUNT = "#txt2img .w-script-count"
CELL = "#txt2img .w-plot-cell"


def script(page: Page, title: str) -> None:
    """Choose a script."""
    fold = page.locator("#txt2img_script_fold")
    if fold.get_attribute("open") is None:
        fold.locator("summary").click()
    page.locator("#txt2img_script").select_option(label=title)
    expect(page.locator("#txt2img_script_note")).to_be_visible()


def axis(page: Page, name: str, kind: str, values: str) -> None:
    """Say what changes along an axis."""
    page.locator(f"#txt2img_xyz_plot_{name}_type select").select_option(label=kind)
    page.locator(f"#txt2img_xyz_plot_{name}_values textarea").fill(values)


def plot(page: Page, x: str = "2-4", y: str = "Euler, Heun") -> None:
    """Set up a plot of steps over samplers."""
    script(page, "X/Y/Z plot")
    axis(page, "x", "Steps", x)
    axis(page, "y", "Sampler", y)


def counted(page: Page, text: str) -> None:
    expect(page.locator(f"{COUNT}[data-state=known]")).to_have_text(text)


def group(page: Page, state: str) -> None:
    """Wait until the stage shows a group in that state."""
    expect(page.locator(f"#txt2img webui-stage[data-state={state}] .w-plot[data-state={state}]")).to_be_attached()


def test_a_plot_is_counted_made_and_seen_as_a_grid_with_its_legend(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a red ball")
    plot(page)
    counted(page, "6 pictures (3 × 2)")
    expect(page.locator("#txt2img_script_note")).to_contain_text("Generate starts X/Y/Z plot: 6 pictures (3 × 2).")
    assert person.jobs() == [] and person.pictures() == []
    page.locator("#txt2img_generate").click()
    group(page, "done")
    expect(page.locator(".w-plot thead th")).to_have_text(["Steps: 2", "Steps: 3", "Steps: 4"])
    expect(page.locator(".w-plot tbody th")).to_have_text(["Euler", "Heun"])
    expect(page.locator(f"{CELL}[data-state=done] img")).to_have_count(6)
    pictures = person.pictures()
    assert len(pictures) == 7
    (grid,) = [each for each in pictures if "Script: X/Y/Z plot" in each.parameters]
    assert "X Type: Steps" in grid.parameters and "Y Type: Sampler" in grid.parameters
    # A cell opens its own part, and from there the others are one key away.
    page.locator(CELL).nth(4).click()
    viewer = page.locator("dialog.w-viewer[open]")
    expect(viewer.locator(".w-viewer-count")).to_have_text("5 of 6")
    part = next(each for each in pictures if each.id == viewer.get_attribute("data-id"))
    assert "Steps: 3" in part.parameters and "Sampler: Heun" in part.parameters
    page.keyboard.press("ArrowRight")
    expect(viewer.locator(".w-viewer-count")).to_have_text("6 of 6")
    page.keyboard.press("Escape")
    page.locator("[data-act=grid]").click()
    expect(page.locator(f"dialog.w-viewer[open][data-id='{grid.id}']")).to_be_visible()


def test_what_is_wrong_is_said_before_anything_is_begun(person: Person) -> None:
    page = person.open()
    person.meant.add(400)
    plot(page, x="2, many")
    refused = page.locator(f"{COUNT}[data-state=refused]")
    expect(refused).to_contain_text("X values")
    sentence = refused.inner_text()
    page.locator("#txt2img_generate").click()
    expect(page.locator("#txt2img_refusal")).to_have_text(sentence)
    assert person.jobs() == [] and page.evaluate("fetch('/x/groups').then(each => each.json())") == {"groups": []}
    axis(page, "x", "Steps", "2")
    counted(page, "2 pictures")


def test_a_plot_is_watched_cancelled_and_gone_on_with(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 1
    plot(page)
    counted(page, "6 pictures (3 × 2)")
    page.locator("#txt2img_generate").click()
    group(page, "running")
    expect(page.locator(f"{CELL}[data-state=running]").first).to_be_attached()
    expect(page.locator("#txt2img webui-queue li")).to_have_count(0)  # it says itself how far it is
    expect(page.locator("#txt2img .w-status")).to_have_text("X/Y/Z plot: 0 of 6 done")
    page.locator("[data-act=cancel-group]").click()
    group(page, "cancelled")
    person.site.pretended.hold = None
    until(page, lambda: person.jobs() == [])
    resume = page.locator("[data-act=resume-group]")
    expect(resume).to_contain_text("Make the other")
    resume.click()
    group(page, "done")
    expect(page.locator(f"{CELL}[data-state=done] img")).to_have_count(6)


def test_a_plot_goes_on_while_nobody_looks_and_is_there_after_a_reload(person: Person) -> None:
    page = person.open()
    person.site.pretended.hold = 1
    plot(page)
    counted(page, "6 pictures (3 × 2)")
    page.locator("#txt2img_generate").click()
    group(page, "running")
    page.reload()
    ready(page)
    group(page, "running")
    person.site.pretended.hold = None
    group(page, "done")
    page.locator("#txt2img_script_fold > summary").click()
    expect(page.locator(".w-script-past li[data-state=done]")).to_contain_text("6 pictures")
    generate(page, prompt="a single one", steps="2")
    stage(page, "finished")
    expect(page.locator(".w-plot")).to_have_count(0)
    page.locator(".w-script-past li").get_by_role("button", name="Show").click()
    group(page, "done")


def test_without_the_script_generate_makes_single_pictures_again(person: Person) -> None:
    page = person.open()
    plot(page)
    page.locator("#txt2img_script_off").click()
    expect(page.locator("#txt2img_script_note")).to_be_hidden()
    generate(page, prompt="one", steps="2")
    stage(page, "finished")
    assert len(person.pictures()) == 1


def test_axes_are_helped_with_exchanged_and_named(person: Person) -> None:
    page = person.open()
    plot(page, x="1-5 (+2)")
    counted(page, "6 pictures (3 × 2)")
    names = page.locator("#txt2img .w-axis").nth(1).locator(".w-chip")
    names.get_by_text("DDIM", exact=True).click()
    counted(page, "9 pictures (3 × 3)")
    expect(page.locator("#txt2img_xyz_plot_y_values textarea")).to_have_value("Euler, Heun, DDIM")
    expect(page.locator("#txt2img .w-axis").nth(1).locator(".w-chip[aria-pressed=true]")).to_have_count(3)
    names.get_by_text("Heun", exact=True).click()
    expect(page.locator("#txt2img_xyz_plot_y_values textarea")).to_have_value("Euler, DDIM")
    expect(page.locator("#txt2img .w-axis-help").first).to_contain_text("1-5 (+2)")
    page.locator("[data-swap=x_type]").click()
    expect(page.locator("#txt2img_xyz_plot_x_type select")).to_have_value("Sampler")
    expect(page.locator("#txt2img_xyz_plot_y_values textarea")).to_have_value("1-5 (+2)")
    expect(page.locator("#txt2img_xyz_plot_z_values")).to_be_hidden()
    counted(page, "6 pictures (2 × 3)")


def test_a_matrix_of_a_prompts_parts(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a ball|on sand|at night")
    script(page, "Prompt matrix")
    counted(page, "4 pictures (2 × 2)")
    page.locator("#txt2img_generate").click()
    group(page, "done")
    expect(page.locator(CELL)).to_have_count(4)
    assert len(person.pictures()) == 5


def test_prompts_line_by_line(person: Person) -> None:
    page = person.open()
    script(page, "Prompts from file")
    page.locator("#txt2img_prompts_from_file_lines textarea").fill('a ball\n--prompt "a cube" --steps 3')
    expect(page.locator(f"{COUNT}[data-state=known]")).to_contain_text("2 pictures")
    page.locator("#txt2img_generate").click()
    group(page, "done")
    expect(page.locator(f"{CELL}[data-state=done]")).to_have_count(2)
    assert {picture.prompt for picture in person.pictures()} == {"a ball", "a cube"}


def test_a_failing_cell_says_why_and_the_others_are_made(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a ball")
    script(page, "X/Y/Z plot")
    axis(page, "x", "Prompt S/R", "ball, fail")
    counted(page, "2 pictures")
    page.locator("#txt2img_generate").click()
    expect(page.locator(f"{CELL}[data-state=failed]")).to_have_count(1)
    expect(page.locator(f"{CELL}[data-state=done] img")).to_have_count(1)
    page.locator(f"{CELL}[data-state=failed]").click()
    expect(page.locator(".w-note.w-wrong")).to_be_visible()


def test_a_phone_shows_the_form_and_the_grid_without_scrolling_sideways(people: Callable[..., Person]) -> None:
    person = people(**PHONE)
    page = person.open()
    plot(page, x="1-6", y="Euler, Heun, DDIM")
    counted(page, "18 pictures (6 × 3)")
    assert wide(page) == 0
    page.locator("#txt2img_generate").click()
    group(page, "done")
    assert wide(page) == 0
    tables = page.locator(".w-plot-tables")
    assert tables.evaluate("each => each.scrollWidth > each.clientWidth"), "a wide grid is pushed along inside its own place"


def test_a_legend_is_never_markup(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "a ball")
    script(page, "X/Y/Z plot")
    axis(page, "x", "Prompt S/R", "ball, <img src=x onerror=window.pwned=1>")
    counted(page, "2 pictures")
    page.locator("#txt2img_generate").click()
    group(page, "done")
    expect(page.locator(".w-plot thead th").nth(1)).to_contain_text("<img src=x")
    assert page.evaluate("window.pwned") is None
    comes_to_be(page, "prompt", "a ball")
