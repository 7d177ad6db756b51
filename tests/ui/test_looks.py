"""What can be measured of how the page looks and is used: no sideways scrolling, contrast, names, focus, rest for the eyes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.ui.person import Person, generate, go, stage, wide, write
from tests.ui.test_gallery_page import hang

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
LEAST_CONTRAST = 4.5
TABS = ("txt2img", "img2img", "inpaint", "depth", "extras", "PNG Info", "Gallery", "Models", "Extensions", "Settings")
EVIL = "<img src=x onerror=\"window.pwned=1\"><script>window.pwned=1</script>{{7*7}}'\">"

CONTRASTS = """
() => {
  const luminance = color => {
    const [r, g, b] = color.map(each => each / 255).map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = (front, back) => front.slice(0, 3).map((each, at) => each * (front[3] ?? 1) + back[at] * (1 - (front[3] ?? 1)));
  const ground = element => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color.length && (color[3] ?? 1) > 0) layers.push(color);
      if (color.length && (color[3] ?? 1) === 1) break;
    }
    return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    if (element.closest("script, style, noscript, :disabled, .w-unseen, [aria-hidden=true]")) continue;
    const range = document.createRange();
    range.selectNode(node);
    if (range.getBoundingClientRect().width < 2) continue;
    const style = getComputedStyle(element);
    const back = ground(element);
    const [one, other] = [luminance(over(parse(style.color), back)), luminance(back)].sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), node.data.trim().slice(0, 40), element.className]);
  }
  return found;
}
"""
NAMELESS = """
() => [...document.querySelectorAll("button, input, textarea, select, a[href], [role=button], [role=tab], [role=combobox]")]
  .filter(each => each.checkVisibility({visibilityProperty: true}) && each.type !== "hidden")
  .filter(each => !each.closest("[aria-hidden=true]"))
  .filter(each => !(each.getAttribute("aria-label") || each.title || each.textContent.trim() || each.labels?.length ||
                    document.getElementById(each.getAttribute("aria-labelledby"))))
  .map(each => each.outerHTML.slice(0, 200))
"""


@pytest.mark.parametrize("tab", TABS)
def test_a_phone_never_scrolls_sideways(people: Callable[..., Person], tab: str) -> None:
    person = people(**PHONE)
    hang(person, ["a very long prompt " * 30, "x" * 400])
    page = person.open(tab)
    if tab == "txt2img":
        stage(page, "past")
        for fold in ("sampler_options_fold", "more_fold"):
            page.locator(f"#txt2img_{fold} > summary").tap()
        expect(page.locator("#txt2img_reproducible input")).to_be_visible()
    if tab == "Gallery":
        expect(page.locator(".w-grid-cell")).to_have_count(2)
    assert wide(page) == 0
    # Generate is where a thumb reaches it without scrolling, and the picture comes before everything that is rarely changed.
    if tab == "txt2img":
        boxes = [page.locator(each).bounding_box() for each in ("#txt2img_generate", "webui-stage", "#txt2img_width")]
        tops = [box["y"] for box in boxes if box is not None]
        assert tops == sorted(tops) and tops[0] < 844


@pytest.mark.parametrize("what", ["styles", "menu", "viewer", "sharing", "cards", "install"])
def test_what_opens_over_the_page_fits_a_phone(people: Callable[..., Person], what: str) -> None:
    person = people(owner=True, **PHONE)
    hang(person, ["a long prompt " * 20])
    page = person.open({"viewer": "Gallery", "install": "Extensions"}.get(what, "txt2img"))
    if what == "styles":
        page.locator("#txt2img_styles_edit").tap()
        box = page.locator("#w-styles")
    elif what == "viewer":
        page.locator(".w-grid .w-tile").first.tap()
        page.locator("[data-act=side]").tap()
        box = page.locator(".w-viewer-side")
    elif what == "cards":
        page.locator("#txt2img_cards").tap()
        box = page.locator("#w-cards[data-state=ready]")
    elif what == "install":
        page.locator("#extensions_install").tap()
        page.locator("#extension_list > summary").tap()
        box = page.locator("#extension_install")
    else:
        page.locator("#w-account").tap()
        box = page.locator("#w-account-menu")
        if what == "sharing":
            page.locator("#w-share").tap()
            box = page.locator("#w-sharing")
    expect(box).to_be_visible()
    place = box.bounding_box()
    assert place is not None and place["x"] >= 0 and place["x"] + place["width"] <= 390
    assert wide(page) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(people: Callable[..., Person], scheme: str) -> None:
    person = people(owner=True, color_scheme=scheme)
    hang(person, ["a ball", "a cube"])
    page = person.open()
    expect(page.locator(f"html[data-theme={scheme}]")).to_be_attached()
    seen = []
    for tab in TABS:
        go(page, tab)
        expect(page.locator(f"#tab_{tab.lower().replace(' ', '')}")).to_be_visible()
        if tab == "txt2img":
            write(page, "width", "13")
            page.locator("#txt2img_generate").click()
            expect(page.locator("#txt2img_width .w-problem")).to_be_visible()
        seen += page.evaluate(CONTRASTS)
    page.locator("#w-account").click()
    seen += page.evaluate(CONTRASTS)
    page.locator("#w-share").click()
    expect(page.locator("#w-sharing")).to_be_visible()
    seen += page.evaluate(CONTRASTS)
    assert len(seen) > 60
    assert [each for each in seen if each[0] < LEAST_CONTRAST] == []


@pytest.mark.parametrize("tab", TABS)
def test_everything_that_can_be_operated_has_a_name(people: Callable[..., Person], tab: str) -> None:
    person = people(owner=True)
    hang(person, ["a ball"])
    page = person.open(tab)
    expect(page.locator(f"#tab_{tab.lower().replace(' ', '')}")).to_be_visible()
    assert page.evaluate(NAMELESS) == []
    assert page.locator("[role=status]").count() > 0 and page.locator("h1").count() == 1


def test_the_keyboard_reaches_everything_and_shows_where_it_is(person: Person) -> None:
    page = person.open()
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => { const each = document.activeElement; const style = getComputedStyle(each);"
            " const around = getComputedStyle(each.closest('.wrap') ?? each);"
            " return [each.closest('[id]')?.id ?? '', [style.outlineStyle, around.outlineStyle]]; }"
        )
        reached.add(name)
        if name and name != "w-account-menu":
            assert "solid" in outline or "auto" in outline, f"nothing shows that {name} has the focus"
    wanted = {
        "txt2img_prompt", "txt2img_generate", "txt2img_width", "txt2img_seed", "txt2img_swap", "txt2img_hires_fix_fold",
        "txt2img_script_fold", "w-account", "txt2img_save", "txt2img_cards",
    }  # fmt: skip
    assert wanted <= reached


def test_each_tab_keeps_its_own_place(people: Callable[..., Person]) -> None:
    page = people(viewport={"width": 1280, "height": 420}).open()
    page.evaluate("scrollTo(0, 200)")
    go(page, "Settings")
    page.wait_for_function("document.querySelector('#settings_search')?.checkVisibility() && scrollY === 0")
    go(page, "txt2img")
    page.wait_for_function("scrollY === 200")


def test_a_prompt_never_becomes_markup(person: Person) -> None:
    page = person.open()
    generate(page, prompt=EVIL, negative=EVIL)
    stage(page, "finished")
    expect(page.locator("webui-stage .w-parameters")).to_contain_text(EVIL)
    go(page, "Gallery")
    page.locator(".w-grid .w-tile").first.click()
    page.keyboard.press("i")
    expect(page.locator(".w-viewer .w-parameters")).to_contain_text(EVIL)
    page.keyboard.press("Escape")
    go(page, "txt2img")
    page.locator("#txt2img_styles_edit").click()
    page.locator("#w-style-name").fill(EVIL)
    page.locator("#w-style-prompt").fill(EVIL)
    page.locator("#w-style-save").click()
    expect(page.locator(".w-style-list li")).to_have_text([EVIL])
    page.locator("#w-style-done").click()
    page.locator("#txt2img_styles input").click()
    expect(page.get_by_role("option", name=EVIL)).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    stage(page, "past")
    assert page.evaluate("window.pwned") is None
    assert page.locator("img[src=x]").count() == 0


def test_who_wants_little_motion_gets_none(person: Person) -> None:
    page = person.open()
    moving = page.evaluate(
        "() => [...document.querySelectorAll('*')].map(each => getComputedStyle(each))"
        " .flatMap(style => [...style.animationDuration.split(','), ...style.transitionDuration.split(',')])"
        " .filter(duration => parseFloat(duration) > 0.01).length"
    )
    assert moving == 0


def test_the_first_picture_is_one_press_away(person: Person) -> None:
    page: Page = person.open()
    expect(page.locator(".w-hint")).to_contain_text("a ball, cube, cylinder, cone, ring or pyramid")
    expect(page.locator(".w-hint")).to_contain_text("models/checkpoints")
    page.locator(".w-example").first.click()
    stage(page, "finished")
    (picture,) = person.pictures()
    assert picture.prompt == "a large blue cube on a sand floor"
    expect(page.locator(".w-hint")).to_have_count(0)
