"""The colours can be read on each other, in both themes, and Gradio's variables are bound to them."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from webui.ui import theme
from webui.ui.theme import DARK, LIGHT, Palette

LEAST = 4.5  # WCAG 2.2, 1.4.3, for text of any size


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), theme.READ_ON)
def test_text_can_be_read_on_its_ground(palette: Palette, text: str, ground: str) -> None:
    assert theme.contrast(getattr(palette, text), getattr(palette, ground)) >= LEAST


def test_contrast_is_the_one_of_the_guidelines() -> None:
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast("#ffffff", "#ffffff") == pytest.approx(1)
    assert theme.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the known lightest grey that may be used


def test_every_colour_has_a_value_in_both_themes() -> None:
    light, dark = theme.variables().split("\n")[:2]
    for each in fields(Palette):
        name = f"--w-{each.name.replace('_', '-')}:"
        assert name in light and name in dark


def test_gradio_takes_every_colour_from_ours_in_light_and_dark() -> None:
    made = theme.gradio_theme()
    for name, color in theme.BOUND.items():
        assert getattr(made, name) == getattr(made, f"{name}_dark") == f"var(--w-{color.replace('_', '-')})"
    for name in theme.SHAPE:
        assert hasattr(made, name), f"Gradio has no variable {name}"


def test_no_font_is_fetched() -> None:
    made = theme.gradio_theme()
    assert made._stylesheets == []
    css = made._get_theme_css()
    assert not re.search(r"@import|@font-face|url\((?!\"data:)", css)
