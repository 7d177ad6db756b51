"""The page: its tabs, and how it is put into the server's application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio reads it when it is imported

import gradio as gr
from fastapi import FastAPI

from webui.service.extensions import Extensions
from webui.service.studio import Studio
from webui.ui import added, extensions_tab, generating, head, pnginfo, settings_tab
from webui.ui.areas import SETTINGS, TXT2IMG, areas_of, styles_parameter
from webui.ui.bridge import begin, connect, element
from webui.ui.hints import hint
from webui.ui.opening import find
from webui.ui.routes import add_routes
from webui.ui.serving import Served
from webui.ui.theme import gradio_theme, variables

T = TypeVar("T")
SESSIONS = 200  # pages that Gradio remembers something of


def build(studio: Studio) -> gr.Blocks:
    """The tabs with all their controls; nothing in it belongs to one person."""
    return in_a_loop(lambda: _lay_out(studio, studio.resolver.extensions))


def in_a_loop(make: Callable[[], T]) -> T:
    """What `make` makes while an event loop runs: where none runs, Gradio makes some and never closes them."""

    async def made() -> T:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(made())
    return make()


def _lay_out(studio: Studio, extensions: Extensions) -> gr.Blocks:
    _, known = find(studio)
    areas = {name: area for name, area in areas_of(extensions).items() if area.run}
    page = gr.Blocks(title=head.TITLE, analytics_enabled=False, fill_width=True)
    with page:
        with gr.Tabs(elem_id="w-tabs", overflow_behavior="wrap"):
            made = {}
            for name, area in areas.items():
                with gr.Tab(name, id=name, elem_id=f"tab_{name}"):
                    made[name] = generating.tab(area, known)
            with gr.Tab(pnginfo.TITLE, id=pnginfo.NAME, elem_id=f"tab_{pnginfo.NAME}"):
                pnginfo.tab()
            extensions_tab.added_tabs(extensions)
            with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
                element("webui-gallery", "gallery")
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                element("webui-model-files", "models")
            with gr.Tab(extensions_tab.TITLE, id=extensions_tab.NAME, elem_id=f"tab_{extensions_tab.NAME}"):
                extensions_tab.tab()
            with gr.Tab("Settings", id="settings", elem_id="tab_settings"):
                settings = settings_tab.tab()
        for name, area in areas.items():
            connect(area, *made[name])
        connect(SETTINGS, settings)
        begin(page, TXT2IMG, made[TXT2IMG.name][0])
    return page


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page's routes and the page itself into the application, behind every other route."""
    add_routes(app, studio)
    page = build(studio)
    page.state_session_capacity = SESSIONS
    app.state.page_calls = any(each.fn is not None for each in page.fns.values())  # else Gradio's ways to call are closed
    put = partial(
        gr.mount_gradio_app, app, page, path="/", theme=gradio_theme(), footer_links=[], run_history=False, ssr_mode=False,
        show_error=False, enable_monitoring=False, pwa=False, mcp_server=False, max_file_size="64mb",
    )  # fmt: skip
    in_a_loop(put)
    served = Served(
        now=lambda: studio.resolver.extensions, head=partial(_head, studio, app.state.static_version), page=page,
        again=lambda extensions: in_a_loop(lambda: _lay_out(studio, extensions)),
    )  # fmt: skip
    app.state.page_mark = served.mark
    app.add_middleware(head.Head, page=served, body=head.body())


def _head(studio: Studio, version: str, extensions: Extensions) -> tuple[str, str]:
    """The head of the page with these extensions, and its marks."""
    areas, parts = areas_of(extensions), added.parts_of(extensions)
    marks = added.marks_of(extensions, areas, parts)
    config = head.config(areas, hint(studio.resolver.models()), [styles_parameter()], {**parts, "marks": marks})
    return head.head(variables(), config, version), marks
