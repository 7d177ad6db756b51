"""The tabs that extensions add, and the Extensions tab: places for elements of ours, made when a tab is first opened."""

from __future__ import annotations

import html

import gradio as gr

from webui.service.extensions import Extensions
from webui.ui.added import tab_id, tabs_of, title_of
from webui.ui.bridge import element

NAME = "extensions"
TITLE = "Extensions"


def tab() -> None:
    """Lay out the Extensions tab."""
    element("webui-extensions", NAME)


def added_tabs(extensions: Extensions) -> None:
    """Lay out the tabs that extensions add."""
    for owner, added in tabs_of(extensions):
        name = tab_id(owner, added)
        place = f'<webui-extension-tab data-extension="{html.escape(owner)}" data-element="{html.escape(added.element)}">'
        with gr.Tab(title_of(added), id=name, elem_id=f"tab_{name}"):
            gr.HTML(
                f"{place}</webui-extension-tab>", elem_id=name, elem_classes=["w-element"], apply_default_css=False, js_on_load=""
            )
