"""How the page looks: its colours, once for light and once for dark, as CSS variables that Gradio's own are bound to.

Greys carry no hue that would shift how a picture's colours are seen; the one accent marks what can be done next. There are no
fonts but the system's, so nothing is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

PREFIX = "--w-"  # of our variables, so that none of Gradio's is hit


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The colours by what they are for, as #rrggbb."""

    page: str  # behind everything
    surface: str  # cards and dialogs
    sunken: str  # fields, and the ground that pictures lie on
    line: str  # between things
    edge: str  # around what can be operated
    ink: str  # text
    muted: str  # text that can wait
    accent: str  # what to do next, and what is chosen
    accent_strong: str  # the same under the pointer
    on_accent: str  # text on either
    chosen: str  # ground of what is chosen
    danger: str  # what went wrong, and what cannot be undone
    alarm: str  # ground of what went wrong
    star: str  # a picture someone likes


LIGHT = Palette(
    page="#f4f4f5", surface="#ffffff", sunken="#f8f8f9", line="#e4e4e8", edge="#cfcfd6", ink="#18181b", muted="#5a5a65",
    accent="#0f6f67", accent_strong="#0b5953", on_accent="#ffffff", chosen="#e2f2f0", danger="#b3261e", alarm="#fdeceb",
    star="#8f5b00",
)  # fmt: skip
DARK = Palette(
    page="#111113", surface="#1a1a1d", sunken="#131316", line="#2a2a2f", edge="#3d3d45", ink="#ededf0", muted="#a3a3ad",
    accent="#58c7b9", accent_strong="#7ad8cc", on_accent="#04211d", chosen="#15302d", danger="#ff9186", alarm="#3a1c1a",
    star="#f2c14e",
)  # fmt: skip

READ_ON: tuple[tuple[str, str], ...] = (
    *((text, ground) for text in ("ink", "muted", "accent", "danger", "star") for ground in ("page", "surface", "sunken")),
    ("on_accent", "accent"), ("on_accent", "accent_strong"), ("accent", "chosen"), ("ink", "chosen"), ("muted", "chosen"),
    ("danger", "alarm"), ("ink", "alarm"),
)  # fmt: skip
"""Which colour is read on which: each pair has a contrast of at least 4.5."""

BOUND: dict[str, str] = {
    "body_background_fill": "page",
    "body_text_color": "ink",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "surface",
    "background_fill_secondary": "page",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "border_color_accent_subdued": "edge",
    "color_accent_soft": "chosen",
    "link_text_color": "accent",
    "link_text_color_active": "accent",
    "link_text_color_hover": "accent_strong",
    "link_text_color_visited": "accent",
    "block_background_fill": "surface",
    "block_border_color": "line",
    "block_info_text_color": "muted",
    "block_label_background_fill": "surface",
    "block_label_text_color": "muted",
    "block_title_text_color": "ink",
    "panel_background_fill": "surface",
    "panel_border_color": "line",
    "accordion_text_color": "ink",
    "checkbox_background_color": "sunken",
    "checkbox_background_color_hover": "sunken",
    "checkbox_background_color_focus": "sunken",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "edge",
    "checkbox_border_color_hover": "muted",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_text_color": "ink",
    "error_background_fill": "alarm",
    "error_border_color": "danger",
    "error_text_color": "danger",
    "error_icon_color": "danger",
    "input_background_fill": "sunken",
    "input_background_fill_focus": "surface",
    "input_background_fill_hover": "sunken",
    "input_border_color": "edge",
    "input_border_color_hover": "muted",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "muted",
    "slider_color": "accent",
    "loader_color": "accent",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent_strong",
    "button_primary_border_color": "accent",
    "button_primary_border_color_hover": "accent_strong",
    "button_primary_text_color": "on_accent",
    "button_primary_text_color_hover": "on_accent",
    "button_secondary_background_fill": "surface",
    "button_secondary_background_fill_hover": "sunken",
    "button_secondary_border_color": "edge",
    "button_secondary_border_color_hover": "muted",
    "button_secondary_text_color": "ink",
    "button_secondary_text_color_hover": "ink",
}
"""Gradio's variables, and which of our colours each is."""

SHAPE: dict[str, str] = {
    "block_border_width": "0px",
    "block_label_border_width": "0px",
    "block_title_text_size": "13px",
    "block_title_text_weight": "500",
    "block_info_text_size": "13px",
    "block_padding": "0px",
    "block_radius": "8px",
    "block_shadow": "none",
    "container_radius": "8px",
    "form_gap_width": "14px",
    "layout_gap": "14px",
    "input_radius": "8px",
    "input_border_width": "1px",
    "input_padding": "8px 10px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "input_text_size": "14px",
    "button_border_width": "1px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "button_large_padding": "9px 16px",
    "button_small_padding": "6px 12px",
    "button_large_text_size": "14px",
    "button_small_text_size": "13px",
    "button_large_text_weight": "600",
    "button_small_text_weight": "500",
    "button_primary_shadow": "none",
    "button_primary_shadow_hover": "none",
    "button_primary_shadow_active": "none",
    "button_secondary_shadow": "none",
    "button_secondary_shadow_hover": "none",
    "button_secondary_shadow_active": "none",
    "button_transition": "background-color 120ms, border-color 120ms, color 120ms",
    "checkbox_border_radius": "4px",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_border_width": "0px",
    "checkbox_label_padding": "0px",
    "checkbox_label_shadow": "none",
    "checkbox_shadow": "none",
    "shadow_drop": "none",
    "shadow_drop_lg": "0 8px 30px rgb(0 0 0 / 18%)",
    "shadow_inset": "none",
    "shadow_spread": "0px",
}
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "sans-serif")
MONO_FONTS = ("ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def variables() -> str:
    """CSS that gives every colour its value: light, and dark where `theme.js` has marked the page so, and in the full view."""
    dark = ":root[data-theme='dark'], .w-always-dark"
    return f":root {{ color-scheme: light; {_listed(LIGHT)} }}\n{dark} {{ color-scheme: dark; {_listed(DARK)} }}\n"


def gradio_theme() -> gr.themes.Base:
    """Gradio's theme, bound to our variables for light and dark alike."""
    from gradio.themes import Base

    theme = Base(font=FONTS, font_mono=MONO_FONTS)
    both = {f"{name}{dark}": f"var({_variable(color)})" for name, color in BOUND.items() for dark in ("", "_dark")}
    theme.set(**{name: value for name, value in (both | SHAPE).items() if hasattr(theme, name)})
    return theme


def contrast(text: str, ground: str) -> float:
    """The contrast of two colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    lighter, darker = sorted((_luminance(text), _luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _listed(palette: Palette) -> str:
    return " ".join(f"{_variable(each.name)}: {getattr(palette, each.name)};" for each in fields(palette))


def _variable(name: str) -> str:
    return PREFIX + name.replace("_", "-")
