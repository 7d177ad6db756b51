"""Where Gradio's controls and the page's own code meet: values out by handlers that run in the browser, values in the same way.

None of these handlers asks the server: the page's own code does, over routes of ours, and gets sentences back.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.ui.areas import Area

QUIETLY: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def element(tag: str, id_: str, *, classes: str = "", after: str = "") -> gr.HTML:
    """A place for one of our own elements, which comes alive when the browser meets it."""
    content = f"<{tag}></{tag}>{after}"
    return gr.HTML(content, elem_id=id_, elem_classes=["w-element", *classes.split()], apply_default_css=False, js_on_load="")


def place(name: str) -> str:
    """The HTML of a place where extensions may put panels."""
    return f'<webui-panels data-place="{html.escape(name)}"></webui-panels>'


def connect(area: Area, controls: Mapping[str, gr.components.Component], run: gr.Button | None = None) -> None:
    """Tell the page's own code of every change, let it fill the controls, and let `run` start a job.

    To be called outside of all tabs: what is in a tab is not there before the tab is opened.
    """
    names = area.with_gradio()
    if missing := set(names) ^ set(controls):
        raise ValueError(f"The {area.name} tab and its area differ in {sorted(missing)}.")
    all_ = [controls[name] for name in names]
    for name in names:  # each tells its own value alone: Gradio searches the whole page for every value that it hands over
        told = f"(value) => {{ webui.controls.{area.name}.changed({{ {name}: value }}); }}"
        changed = getattr(controls[name], "change")  # noqa: B009  Gradio adds these when it defines its classes
        changed(None, controls[name], None, js=told, **QUIETLY)
    fill = gr.Button("Fill", elem_id=f"{area.name}_fill", visible="hidden")
    fill.click(None, None, all_, js=f"() => webui.controls.{area.name}.handOver()", **QUIETLY)
    if run is not None:
        run.click(None, all_, js=f"(...values) => {{ webui.generate('{area.name}', values); }}", **QUIETLY)


def begin(page: gr.Blocks, area: Area, controls: Mapping[str, gr.components.Component]) -> None:
    """Fill the controls of the tab that is seen first once the page is there; the others are filled when they are opened."""
    page.load(None, None, [controls[name] for name in area.with_gradio()], js=f"() => webui.begin('{area.name}')", **QUIETLY)
