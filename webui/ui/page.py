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
from webui.ui import head, settings_tab, txt2img
from webui.ui.areas import AREAS, SETTINGS, TXT2IMG, styles_parameter
from webui.ui.bridge import connect, element
from webui.ui.hints import hint
from webui.ui.opening import choices
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
    known = choices(studio)
    page = gr.Blocks(title=head.TITLE, analytics_enabled=False, fill_width=True)
    with page:
        with gr.Tabs(elem_id="w-tabs"):
            with gr.Tab("txt2img", id="txt2img", elem_id="tab_txt2img"):
                pictures, run = txt2img.tab(known)
            with gr.Tab("Gallery", id="gallery", elem_id="tab_gallery"):
                element("webui-gallery", "gallery")
            with gr.Tab("Models", id="models", elem_id="tab_models"):
                element("webui-model-files", "models")
            with gr.Tab("Settings", id="settings", elem_id="tab_settings"):
                settings = settings_tab.tab()
        connect(page, TXT2IMG, pictures, run)
        connect(page, SETTINGS, settings)
    return page


def mount(app: FastAPI, studio: Studio) -> None:
    """Put the page's routes and the page itself into the application, behind every other route."""
    add_routes(app, studio)
    page = build(studio)
    page.state_session_capacity = SESSIONS
    app.state.page_calls = any(each.fn is not None for each in page.fns.values())  # else Gradio's ways to call are closed
    config = head.config(AREAS, hint(studio.resolver.models()), {TXT2IMG.name: [styles_parameter()]})
    put = partial(
        gr.mount_gradio_app, app, page, path="/", theme=gradio_theme(), footer_links=[], run_history=False, ssr_mode=False,
        show_error=False, enable_monitoring=False, pwa=False, mcp_server=False, max_file_size="64mb",
    )  # fmt: skip
    in_a_loop(put)
    app.add_middleware(head.Head, head=head.head(variables(), config, app.state.static_version), body=head.body())
