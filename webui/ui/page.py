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

from webui.service.studio import Studio
from webui.ui import generating, head, pnginfo, settings_tab
from webui.ui.areas import AREAS, GENERATING, SETTINGS, TXT2IMG, styles_parameter
from webui.ui.bridge import begin, connect, element
from webui.ui.hints import hint
from webui.ui.opening import find
from webui.ui.routes import add_routes
from webui.ui.theme import gradio_theme, variables

T = TypeVar("T")
SESSIONS = 200  # pages that Gradio remembers something of


def build(studio: Studio) -> gr.Blocks:
    """The tabs with all their controls; nothing in it belongs to one person."""
    return in_a_loop(lambda: _lay_out(studio))


def in_a_loop(make: Callable[[], T]) -> T:
    """What `make` makes while an event loop runs: where none runs, Gradio makes some and never closes them."""

    async def made() -> T:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(made())
    return make()


def _lay_out(studio: Studio) -> gr.Blocks:
    _, known = find(studio)
    page = gr.Blocks(title=head.TITLE, analytics_enabled=False, fill_width=True)
    with page:
        with gr.Tabs(elem_id="w-tabs", overflow_behavior="wrap"):
            made = {}
            for name, area in GENERATING.items():
                with gr.Tab(name, id=name, elem_id=f"tab_{name}"):
                    made[name] = generating.tab(area, known)
            with gr.Tab(pnginfo.TITLE, id=pnginfo.NAME, elem_id=f"tab_{pnginfo.NAME}"):
                pnginfo.tab()
            with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
                element("webui-gallery", "gallery")
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                element("webui-model-files", "models")
            with gr.Tab("Settings", id="settings", elem_id="tab_settings"):
                settings = settings_tab.tab()
        for name, area in GENERATING.items():
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
    config = head.config(AREAS, hint(studio.resolver.models()), [styles_parameter()])
    put = partial(
        gr.mount_gradio_app, app, page, path="/", theme=gradio_theme(), footer_links=[], run_history=False, ssr_mode=False,
        show_error=False, enable_monitoring=False, pwa=False, mcp_server=False, max_file_size="64mb",
    )  # fmt: skip
    in_a_loop(put)
    app.add_middleware(head.Head, head=head.head(variables(), config, app.state.static_version), body=head.body())
