"""Everything that can be set: every control reaches the job, what was set stays, and what is wrong is said beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Person, choose, comes_to_be, generate, go, kept, ready, stage, unfold, until, value, write
from webui.request import Request, parameters_of
from webui.service.pictures import Picture

FOLDS = ("hires_fix", "seed_extras", "sampler_options", "guidance", "prompt_options", "more")
ELSEWHERE = {"refiner", "refiner_switch_at"}  # driven where there is a second model, in test_models_tab.py
TYPED: dict[str, Any] = {
    "prompt": "a cone", "negative": "a ball", "width": 64, "height": 72, "steps": 3, "scale": 3.5, "seed": 2**64 - 1, "count": 1,
    "clip_skip": 2, "eta": 0.5, "s_churn": 0.1, "s_tmin": 0.02, "s_tmax": 9, "s_noise": 1.01,
    "variation_seed": 2**63, "variation_strength": 0.25, "seed_width": 128, "seed_height": 64, "ensd": 31337,
    "sigma_min": 0.05, "sigma_max": 12.5, "rho": 6.5, "beta_alpha": 0.7, "beta_beta": 0.8,
    "rescale": 0.7, "guidance_start": 0.1, "guidance_end": 0.9, "ngms": 1.5,
    "hires_scale": 1.5, "hires_strength": 0.55, "hires_steps": 2, "hires_width": 128, "hires_height": 144, "hires_cfg": 2.5,
    "hires_prompt": "a larger cone", "hires_negative": "a larger ball",
}  # fmt: skip
CHOSEN = {
    "sampler": "Euler", "schedule": "Karras", "model": "builtin", "vae": "None: the model's own", "rng": "NV",
    "noise_schedule": "Zero Terminal SNR", "emphasis": "No norm", "hires_upscaler": "Latent (bicubic)",
    "hires_sampler": "Heun", "hires_schedule": "Exponential", "hires_model": "Use same checkpoint",
}  # fmt: skip
CHECKED = ("reproducible", "tiling", "ngms_all", "old_schedules", "discard_penultimate", "sgm_noise")
UNSAID = {"eta", "hires_scale"}  # what Euler and two given sides leave no room for


def draw(person: Person, page: Page) -> Any:
    """Generate, wait for the picture, and return the request it was made from."""
    page.locator("#txt2img_generate").click()
    stage(page, "finished")
    return request_of(person, person.pictures()[0])


def request_of(person: Person, picture: Picture) -> Any:
    row = person.site.studio.database.one("SELECT request FROM pictures WHERE id = ?", (picture.id,))
    assert row is not None
    return parameters_of(Request.from_dict(json.loads(row["request"])))


def test_every_control_reaches_the_picture(person: Person) -> None:
    page = person.open()
    for fold in FOLDS:
        unfold(page, fold)
    for name, each in TYPED.items():
        write(page, name, str(each))
        page.keyboard.press("Tab")
    for name, each in CHOSEN.items():
        choose(page, name, each)
    for name in CHECKED:
        page.locator(f"#txt2img_{name} input").check()
    comes_to_be(page, CHECKED[-1], True)
    comes_to_be(page, "model", "builtin")
    own = "webui.controls.txt2img.parameters.filter(({extension}) => !extension).map(({name}) => name)"
    controls = set(page.evaluate(own))
    assert controls == {*TYPED, *CHOSEN, *CHECKED, *ELSEWHERE, "styles"}, "a control is not driven here"
    made = draw(person, page)
    wanted = TYPED | CHOSEN | dict.fromkeys(CHECKED, True) | {"vae": "None"}
    reached = {name: getattr(made, name) for name in wanted}
    assert {name: each for name, each in reached.items() if each != wanted[name]} == dict.fromkeys(UNSAID)
    choose(page, "sampler", "Euler a")
    comes_to_be(page, "sampler", "Euler a")
    page.locator("#txt2img_generate").click()
    until(page, lambda: len(person.pictures()) == 2)
    assert request_of(person, person.pictures()[0]).eta == 0.5


def test_folds_say_what_is_set_in_them_and_it_stays(person: Person) -> None:
    page = person.open()
    fold = page.locator("#txt2img_seed_extras_fold")
    expect(fold.locator("input")).to_have_count(0)  # its fields are made when it is opened
    unfold(page, "seed_extras")
    write(page, "variation_strength", "0.4")
    write(page, "ensd", "31337")
    expect(fold.locator(".w-fold-count")).to_have_text("2 set")
    slider = page.locator("#txt2img_variation_strength input[type=range]")
    expect(slider).to_have_value("0.4")
    slider.fill("0.6")
    comes_to_be(page, "variation_strength", 0.6)
    kept(page)
    page.reload()
    ready(page)
    expect(fold.locator(".w-fold-count")).to_have_text("2 set")
    assert (value(page, "variation_strength"), value(page, "ensd")) == (0.6, 31337)
    page.locator("#txt2img_reset").click()
    comes_to_be(page, "variation_strength", 0)
    expect(fold.locator(".w-fold-count")).to_be_hidden()
    unfold(page, "seed_extras")
    expect(page.locator("#txt2img_variation_strength input[type=number]")).to_have_value("0")


def test_what_is_wrong_in_a_closed_fold_opens_it(person: Person) -> None:
    page = person.open()
    unfold(page, "seed_extras")
    write(page, "seed_width", "130")
    comes_to_be(page, "seed_width", 130)
    page.locator("#txt2img_seed_extras_fold > summary").click()
    expect(page.locator("#txt2img_seed_width")).to_be_hidden()
    page.locator("#txt2img_generate").click()
    sentence = "Resize seed from width was 130; it must be a multiple of 8"
    expect(page.locator("#txt2img_seed_width .w-problem")).to_contain_text(sentence)
    expect(page.locator("#txt2img_seed_width input")).to_be_focused()
    write(page, "seed_width", "")
    expect(page.locator("#txt2img_seed_width .w-problem")).to_have_count(0)
    page.locator("#txt2img_generate").click()
    stage(page, "finished")


def test_an_empty_prompt_is_fine_and_empty_fields_take_the_models_own(person: Person) -> None:
    page = person.open()
    assert page.locator("#txt2img_width input").get_attribute("placeholder") == "128"
    assert page.locator("#txt2img_scale input").get_attribute("placeholder") == "3.5"
    made = draw(person, page)
    assert (made.prompt, made.width, made.height, made.scale) == ("", 128, 128, 3.5)


def test_what_was_set_is_there_after_a_reload_and_on_another_machine(people: Callable[..., Person]) -> None:
    person = people()
    page = person.open()
    write(page, "prompt", "kept")
    write(page, "width", "256")
    choose(page, "sampler", "Heun")
    comes_to_be(page, "sampler", "Heun")
    kept(page)
    page.reload()
    ready(page)
    expect(page.locator("#txt2img_prompt textarea")).to_have_value("kept")
    expect(page.locator("#txt2img_sampler input")).to_have_value("Heun")
    assert (value(page, "width"), value(page, "seed")) == (256, "-1")
    stranger = people().open()
    expect(stranger.locator("#txt2img_prompt textarea")).to_have_value("")


def test_what_is_typed_last_before_leaving_is_kept(person: Person) -> None:
    page = person.open()
    write(page, "prompt", "the last word")
    page.close()
    expect(person.open().locator("#txt2img_prompt textarea")).to_have_value("the last word")


def test_defaults_are_the_persons_own_and_reset_spares_the_prompt(person: Person) -> None:
    page = person.open()
    write(page, "steps", "33")
    page.keyboard.press("Tab")
    comes_to_be(page, "steps", 33)
    page.locator("#txt2img_save").click()
    expect(page.locator(".w-note")).to_contain_text("your defaults now")
    write(page, "steps", "44")
    page.keyboard.press("Tab")
    write(page, "prompt", "mine")
    comes_to_be(page, "steps", 44)
    page.locator("#txt2img_reset").click()
    comes_to_be(page, "steps", 33)
    assert value(page, "prompt") == "mine"
    page.locator(".w-note", has_text="again").get_by_role("button", name="Undo").click()
    comes_to_be(page, "steps", 44)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("width", "130", "Width was 130; it must be a multiple of 8 from 64 to 8192."),
        ("scale", "99", "CFG scale was 99; it must be a number from 0 to 30."),
        ("seed", "seven", "Seed was 'seven'; it must be a whole number from -1 to 18446744073709551615."),
        ("seed", str(2**64), "Seed was 18446744073709551616; it must be a whole number from -1 to 18446744073709551615."),
    ],
)
def test_what_is_wrong_is_said_beside_its_control(person: Person, name: str, text: str, sentence: str) -> None:
    page = person.open()
    person.meant.add(400)
    write(page, name, text)
    page.locator("#txt2img_generate").click()
    expect(page.locator(f"#txt2img_{name} .w-problem")).to_have_text(sentence)
    field = page.locator(f"#txt2img_{name} input").first
    expect(field).to_be_focused()
    assert field.get_attribute("aria-invalid") == "true"
    assert page.locator(f"#{field.get_attribute('aria-describedby')}").inner_text() == sentence
    assert person.jobs() == [] and person.pictures() == []
    write(page, name, "64" if name == "width" else "7")
    expect(page.locator(f"#txt2img_{name} .w-problem")).to_have_count(0)


def test_what_is_wrong_with_several_is_said_below_the_button(person: Person) -> None:
    page = person.open()
    person.meant.add(400)
    for name in ("width", "height"):
        write(page, name, "8192")
    page.locator("#txt2img_generate").click()
    expect(page.locator("#txt2img_width .w-problem, #txt2img_refusal")).to_contain_text(["The size was 8192x8192"])
    assert person.jobs() == []


def test_a_file_that_is_no_model_is_listed_with_its_reason(person: Person) -> None:
    page = person.open()
    page.locator("#txt2img_bad_models summary").click()
    expect(page.locator("#txt2img_bad_models")).to_contain_text("broken")
    page.locator("#txt2img_model input").click()
    page.get_by_role("option", name="broken (cannot be used)").click()
    expect(page.locator(".w-note.w-wrong")).to_contain_text("broken cannot be used")
    comes_to_be(page, "model", "builtin")
    page.locator("#txt2img_models").click()
    expect(page.locator(".w-note", has_text="There is one model.")).to_be_visible()
    later = person.site.studio.root / "models" / "checkpoints" / "later.safetensors"
    later.write_bytes(b"nor is this")
    try:
        page.locator("#txt2img_models").click()
        expect(page.locator("#txt2img_bad_models summary")).to_have_text("2 model files cannot be used")
        expect(page.locator("#txt2img_bad_models li").nth(1)).to_contain_text("later")
    finally:
        later.unlink()


def test_what_a_model_file_does_not_tell_is_said_to_be_the_models_own(person: Person) -> None:
    page = person.open()
    facts = page.evaluate("fetch('/x/models').then(answer => answer.json())")
    facts["models"][0] |= {"native_size": None}
    page.route("**/x/models", lambda route: route.fulfill(json=facts))
    page.locator("#txt2img_models").click()
    expect(page.locator("#txt2img_width input")).to_have_attribute("placeholder", "the model's own")
    assert page.locator("#txt2img_scale input").get_attribute("placeholder") == "3.5"


def test_shapes_and_the_exchange_of_sides(person: Person) -> None:
    page = person.open()
    page.locator("[data-shape=Wide]").click()
    comes_to_be(page, "width", 168)
    assert value(page, "height") == 96
    expect(page.locator("[data-shape=Wide]")).to_have_attribute("aria-pressed", "true")
    page.locator("#txt2img_swap").click()
    comes_to_be(page, "width", 96)
    page.locator("[data-shape=Square]").click()
    comes_to_be(page, "width", None)


def test_seeds_are_random_or_those_of_a_picture(person: Person) -> None:
    page = person.open()
    made = draw(person, page)
    page.locator("#txt2img_seed_reuse").click()
    comes_to_be(page, "seed", str(made.seed))
    page.locator("#txt2img_seed_random").click()
    comes_to_be(page, "seed", "-1")
    page.locator("webui-stage [data-act=seed]").click()
    comes_to_be(page, "seed", str(made.seed))


def test_a_seed_keeps_all_its_digits(person: Person) -> None:
    page = person.open()
    seeds = [str(2**63 - 1), str(2**63)]  # a number of a browser would hold neither
    for name, text in (("steps", "2"), ("count", "2"), ("seed", seeds[0])):
        write(page, name, text)
        page.keyboard.press("Tab")
    comes_to_be(page, "count", 2)
    person.site.pretended.hold = 1
    generate(page)
    person.site.pretended.hold = None
    stage(page, "finished")
    assert page.evaluate("webui.stage.job.cells.map(cell => cell.seed)") == seeds, "events lose digits"
    expect(page.locator(".w-cell[data-state=done]")).to_have_count(2)
    page.locator(".w-cell[aria-pressed=false]").click()
    for act in ("seed", "all"):
        write(page, "seed", "1")
        comes_to_be(page, "seed", "1")
        page.locator(f"webui-stage [data-act={act}]").click()
        comes_to_be(page, "seed", seeds[1])
    kept(page)
    page.reload()
    ready(page)
    comes_to_be(page, "seed", seeds[1])
    page.locator("#txt2img_generate").click()
    until(page, lambda: len(person.pictures()) == 4)
    assert {picture.seed for picture in person.pictures()[:2]} == {seeds[1], str(2**63 + 1)}


def test_parameters_are_copied_as_they_are_in_the_file(people: Callable[..., Person]) -> None:
    person = people(permissions=["clipboard-read", "clipboard-write"])
    page = person.open()
    draw(person, page)
    page.locator("webui-stage [data-act=copy]").click()
    expect(page.locator(".w-note")).to_have_text("The parameters are copied.")
    (picture,) = person.pictures()
    assert page.evaluate("navigator.clipboard.readText()") == picture.parameters
    page.evaluate("navigator.clipboard.writeText('else')")
    # Where the browser allows no such thing, as on a page without https, it is copied in the old way.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    page.locator("webui-stage [data-act=copy]").click()
    until(page, lambda: page.evaluate("navigator.clipboard.readText()") == picture.parameters)


def test_what_is_said_is_seen_over_what_is_open(person: Person) -> None:
    page = person.open()
    draw(person, page)
    page.locator("webui-stage [data-act=full]").click()
    viewer = page.locator("dialog.w-viewer")
    expect(viewer).to_be_visible()
    page.keyboard.press("Delete")
    expect(viewer.locator("[role=status]")).to_have_text("The picture is in the trash.")
    viewer.locator(".w-note").get_by_role("button", name="Undo").click()  # what lies behind a dialog cannot be pressed
    until(page, lambda: person.pictures()[0].trashed is None)
    page.keyboard.press("Escape")
    page.locator("webui-stage [data-act=star]").click()
    until(page, lambda: person.pictures()[0].starred)
    page.locator("webui-stage [data-act=trash]").click()
    expect(page.locator("body > #w-said .w-note").last).to_contain_text("The picture is in the trash.")


def test_help_is_beside_every_label(person: Person) -> None:
    page = person.open()
    page.locator("#txt2img_steps").hover()
    page.get_by_role("button", name="About Steps").click()
    expect(page.locator("#txt2img_steps .info-text")).to_be_visible()
    page.get_by_role("button", name="About Steps").click()
    expect(page.locator("#txt2img_steps .info-text")).to_be_hidden()


def test_styles_are_written_chosen_and_put_around_the_prompt(person: Person, tmp_path: Any) -> None:
    page = person.open()
    page.locator("#txt2img_styles_edit").click()
    page.locator("#w-style-name").fill("oil")
    page.locator("#w-style-prompt").fill("an oil painting of {prompt}")
    page.locator("#w-style-negative").fill("photo")
    page.locator("#w-style-save").click()
    expect(page.locator(".w-style-list [aria-selected=true]")).to_have_text("oil")
    page.locator("#w-style-name").fill("oil paint")
    page.locator("#w-style-save").click()
    expect(page.locator(".w-style-list li")).to_have_text(["oil paint"])
    theirs = tmp_path / "styles.csv"
    theirs.write_text('name,prompt,negative_prompt\nnoir,"{prompt}, film noir",colour\n', encoding="utf-8")
    page.locator("#w-style-file").set_input_files(theirs)
    expect(page.locator(".w-style-list li")).to_have_text(["noir", "oil paint"])
    with page.expect_download() as download:
        page.locator("#w-style-export").click()
    assert "film noir" in download.value.path().read_text(encoding="utf-8-sig")
    page.locator("#w-style-done").click()
    choose(page, "styles", "oil paint")
    page.keyboard.press("Escape")
    write(page, "prompt", "a ball")
    made = draw(person, page)
    assert (made.prompt, made.negative) == ("an oil painting of a ball", "photo")
    kept(page)
    page.reload()
    ready(page)
    assert value(page, "styles") == ["oil paint"]
    page.locator("#txt2img_styles_edit").click()
    page.locator(".w-style-list button", has_text="oil paint").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator(".w-style-list li")).to_have_text(["noir"])
    page.locator("#w-style-done").click()
    page.wait_for_function("webui.controls.txt2img.values.styles.length === 0")


def test_parameters_are_read_from_a_paste_a_picture_and_the_newest_picture(person: Person) -> None:
    page = person.open()
    values = "Steps: 12, Sampler: DPM++ 2M Karras, CFG scale: 3, Seed: 5, Size: 64x96"
    write(page, "prompt", f"a cube\nNegative prompt: a ball\n{values}")
    page.locator("#txt2img_read_offer").click()
    comes_to_be(page, "prompt", "a cube")
    assert [value(page, name) for name in ("negative", "steps", "sampler", "schedule", "seed", "width", "height")] == [
        "a ball", 12, "DPM++ 2M", "Karras", "5", 64, 96,
    ]  # fmt: skip
    draw(person, page)
    (picture,) = person.pictures()
    for name in ("prompt", "negative"):
        write(page, name, "")
    write(page, "seed", "1")
    comes_to_be(page, "seed", "1")
    page.locator("#txt2img_read").click()  # the prompt is empty: the newest picture's
    comes_to_be(page, "seed", "5")
    write(page, "seed", "1")
    comes_to_be(page, "seed", "1")
    page.locator("#txt2img_read_file").set_input_files(picture.path)
    comes_to_be(page, "seed", "5")
    write(page, "prompt", "else")
    comes_to_be(page, "prompt", "else")
    page.locator("webui-stage [data-act=all]").click()
    comes_to_be(page, "prompt", "a cube")


def test_settings_are_found_kept_and_take_effect(people: Callable[..., Person]) -> None:
    person = people(owner=True)
    page = person.open("Settings")
    page.locator("#settings_search").fill("trash days")
    expect(page.locator("#settings_trash_days")).to_be_visible()
    expect(page.locator("#settings_theme")).to_be_hidden()
    page.locator("#settings_search").fill("nowhere-written")
    expect(page.locator("#settings_said")).to_have_text("No setting has these words.")
    page.locator("#settings_search").fill("")
    write(page, "trash_days", "12", "settings")
    expect(page.locator("#settings_said")).to_have_text("Saved.")
    preferences = person.site.studio.preferences
    until(page, lambda: preferences.settings(person.user).trash_days == 12)
    write(page, "trash_days", "-5", "settings")
    expect(page.locator("#settings_trash_days .w-problem")).to_contain_text("Days in the trash was -5")
    choose(page, "theme", "Dark", "settings")
    expect(page.locator("html[data-theme=dark]")).to_be_attached()
    until(page, lambda: preferences.settings(person.user).theme == "dark")
    assert preferences.settings(person.user).trash_days == 12
    page.reload()
    ready(page)
    expect(page.locator("html[data-theme=dark]")).to_be_attached()
    page.locator("#w-account").click()
    page.locator("[data-theme=system]").click()
    until(page, lambda: preferences.settings(person.user).theme == "system")


def test_what_holds_for_everybody_is_the_owners_to_change(person: Person) -> None:
    page = person.open("Settings")
    expect(page.locator("#settings_most_jobs input")).to_be_disabled()
    expect(page.locator("#settings_trash_days input")).to_be_enabled()
    go(page, "txt2img")


def test_the_owner_sees_who_is_connected_and_ends_a_session(people: Callable[..., Person]) -> None:
    owner, guest = people(owner=True), people()
    theirs, page = guest.open(), owner.open()
    guest.meant.add(401)
    guest.site.pretended.hold = 1
    generate(theirs, prompt="still at work")
    page.locator("#w-account").click()
    page.locator("#w-share").click()
    end = page.get_by_role("button", name=f"End the session of {guest.user.name}", exact=True)
    row = page.locator(".w-people li").filter(has=end)
    end.click()
    expect(row).to_have_count(0)
    expect(theirs.get_by_role("button", name="Sign in")).to_be_visible()


def test_signing_out(person: Person) -> None:
    page = person.open()
    page.locator("#w-account").click()
    expect(page.locator("#w-share")).to_have_count(0)  # for owners
    page.locator("#w-sign-out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
