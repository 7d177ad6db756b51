"""The Settings tab: a control for each setting, a search over them, and what only the owner may change marked so."""

from __future__ import annotations

import gradio as gr

from webui.settings import CHOICES
from webui.ui.areas import OWNERS, SETTINGS
from webui.ui.bridge import element
from webui.ui.controls import control

FOR_EVERYBODY = "For everybody; only an owner may change {}."


def tab() -> dict[str, gr.components.Component]:
    """Lay out the tab; returns its controls by name."""
    found: dict[str, gr.components.Component] = {}
    with gr.Column(elem_id="settings", elem_classes="w-settings-page"):
        element("webui-settings", "settings_tools")
        for title in SETTINGS.groups:
            with gr.Column(elem_classes="w-section"):
                group = SETTINGS.group(title)
                all_ = {each.name for each in group} <= OWNERS
                note = f"<p>{FOR_EVERYBODY.format('these')}</p>" if all_ else ""
                gr.HTML(f"<h2>{title}</h2>{note}", apply_default_css=False)
                for parameter in group:
                    mark = parameter.name in OWNERS and not all_
                    note = f"{parameter.help} {FOR_EVERYBODY.format('it')}" if mark else parameter.help
                    found[parameter.name] = control(parameter, SETTINGS.name, CHOICES, info=note)
    return found
