"""The whole server: the guard around our routes, and Gradio's page behind them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from webui.api.accounts_page import people_routes
from webui.api.entrance import Entrance
from webui.api.events import Streams
from webui.api.extensions import ExtensionRoutes
from webui.api.extensions_cards import CardRoutes
from webui.api.extensions_own import OwnRoutes
from webui.api.failures import PLAIN, Failures, of_http, of_ours
from webui.api.groups import GroupRoutes
from webui.api.guard import Guard
from webui.api.jobs import JobRoutes
from webui.api.kept import InputRoutes, SettingRoutes, StyleRoutes
from webui.api.models import ModelRoutes
from webui.api.pictures import PictureRoutes
from webui.api.pnginfo import InfoRoutes
from webui.api.prompts import PromptRoutes
from webui.api.schedules import ScheduleRoutes
from webui.api.static import Static
from webui.errors import WebUIError
from webui.service.extension_desk import Desk
from webui.service.prompts import Prompts
from webui.service.studio import Studio
from webui.service.upkeep import Upkeep

LOGGER = logging.getLogger(__name__)
UPKEEP_SECONDS = 20.0
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Page = Callable[[FastAPI, Studio], Any]


class Application:
    """The server as ASGI. `end` may be called from any thread."""

    def __init__(self, guard: Guard, streams: Streams) -> None:
        self.guard = guard
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self.guard(scope, receive, send)

    def end(self) -> None:
        """End what would not end by itself before the server does: the streams of events."""
        self._streams.close()


def build(studio: Studio, page: Page | None = None, entrance: Entrance | None = None) -> Application:
    """The server of a studio; `page` puts the page into the application, behind every route of ours."""
    upkeep = Upkeep(studio)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        task = asyncio.create_task(_repeat(upkeep))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    doors = entrance or Entrance()
    streams = Streams(studio.queue, studio.preferences)
    static = Static()
    app.state.static_version = static.version  # for whoever writes addresses of static files
    resolver = studio.resolver
    of_extensions = (lambda: resolver.extensions, lambda: resolver.files)  # asked for each time: they come and go
    for routes in (
        PictureRoutes(studio.pictures), JobRoutes(studio.queue, studio.styles), GroupRoutes(studio.groups), streams,
        StyleRoutes(studio.styles), static, SettingRoutes(studio.preferences, streams),
        InputRoutes(studio.inputs, studio.preferences, studio.pictures), ModelRoutes(resolver),
        InfoRoutes(studio.pictures, resolver), PromptRoutes(Prompts(resolver, studio.styles)), ScheduleRoutes(resolver),
        ExtensionRoutes(Desk(studio.shelf, studio.installer), resolver.cache, installing=doors.installing),
        CardRoutes(*of_extensions, resolver.cache), OwnRoutes(*of_extensions, studio.pictures, studio.queue),
    ):  # fmt: skip
        app.include_router(routes.router())
    app.router.routes.extend(people_routes(studio.users, doors))
    if page is not None:
        page(app, studio)
    _close_off(app)
    app.add_middleware(Failures)
    app.add_exception_handler(WebUIError, of_ours)
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(RequestValidationError, of_http)
    return Application(Guard(app, studio.users, doors, calls=getattr(app.state, "page_calls", True)), streams)


def _close_off(app: FastAPI) -> None:
    """What begins like our routes and is none is answered here, before Gradio sees it."""
    routes = app.router.routes
    first = next((at for at, route in enumerate(routes) if isinstance(route, Mount)), len(routes))
    routes.insert(first, Route("/x/{rest:path}", _nothing, methods=EVERY_METHOD))


async def _nothing(request: Request) -> JSONResponse:
    del request
    return JSONResponse({"error": PLAIN[404]}, 404)


async def _repeat(upkeep: Upkeep) -> None:
    """Look after the pictures for as long as the server runs."""
    while True:
        try:
            await run_in_threadpool(upkeep.once)
        except Exception:
            LOGGER.exception("Looking after the pictures failed; it is tried again.")
        await asyncio.sleep(UPKEEP_SECONDS)
