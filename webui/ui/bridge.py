"""Where Gradio's controls and the page's own code meet: values out by handlers that run in the browser, values in the same way.

None of these handlers asks the server: the page's own code does, over routes of ours, and gets sentences back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.ui.areas import Area

QUIETLY: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def element(tag: str, id_: str, *, classes: str = "", after: str = "") -> gr.HTML:
    """A place for one of our own elements, which comes alive when the browser meets it."""
    html = f"<{tag}></{tag}>{after}"
    return gr.HTML(html, elem_id=id_, elem_classes=["w-element", *classes.split()], apply_default_css=False, js_on_load="")


def connect(page: gr.Blocks, area: Area, controls: Mapping[str, gr.components.Component], run: gr.Button | None = None) -> None:
    """Tell the page's own code of every change, let it fill the controls, and let `run` start a job.

    To be called outside of all tabs: what is in a tab is not there before the tab is opened.
    """
    if missing := set(area.names()) ^ set(controls):
        raise ValueError(f"The {area.name} tab and its area differ in {sorted(missing)}.")
    all_ = [controls[name] for name in area.names()]
    told = f"(...values) => {{ webui.controls.{area.name}.changed(values); }}"
    changes = [getattr(each, "change") for each in all_]  # noqa: B009  Gradio adds these when it defines its classes
    gr.on(changes, None, all_, js=told, **QUIETLY)
    fill = gr.Button("Fill", elem_id=f"{area.name}_fill", visible="hidden")
    fill.click(None, None, all_, js=f"() => webui.controls.{area.name}.handOver()", **QUIETLY)
    if run is not None:
        run.click(None, all_, js=f"(...values) => {{ webui.generate('{area.name}', values); }}", **QUIETLY)
    page.load(None, None, all_, js=f"() => webui.begin('{area.name}')", **QUIETLY)
