"""The page's own questions: what it begins with, keeping what was set, and reading a picture's text. All behind the guard."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

from webui.errors import UserError
from webui.service.studio import Studio
from webui.service.users import User
from webui.ui import naming, opening
from webui.ui.reading import read

LARGEST_BODY = 2**20  # bytes of a JSON object


def add_routes(app: FastAPI, studio: Studio) -> None:
    """Add the routes."""

    @app.get("/x/opening")
    def begin(request: Request) -> JSONResponse:
        return JSONResponse(opening.opening(studio, user_of(request), signed_in=request.scope.get("webui.session") is not None))

    @app.get("/x/page")
    def look() -> JSONResponse:
        return JSONResponse({})  # which page is served is said with every answer

    @app.get("/x/models")
    def models() -> JSONResponse:
        found, known = opening.find(studio)
        return JSONResponse({"models": found, "choices": opening.by_control(studio, known)})

    @app.post("/x/read")
    async def parameters(request: Request) -> JSONResponse:
        given = await body(request)
        text, name = given.get("text", ""), given.get("area")
        if not isinstance(text, str):
            raise UserError("The parameters to read must be a text.")
        area = None if name is None else opening.area_of(studio, str(name))
        found = await run_in_threadpool(read, text, studio.resolver, area, keep=given.get("keep") is True)
        return JSONResponse({"area": found.area, "values": found.values, "notes": found.notes})

    @app.get("/x/filename")
    def filename(request: Request, pattern: str = "", format: str = "PNG") -> JSONResponse:  # noqa: A002
        return JSONResponse({"name": naming.example(pattern, format, user_of(request).name), "words": naming.words()})

    @app.post("/x/state/{area}")
    async def keep_state(area: str, request: Request) -> JSONResponse:
        await store(request, area, "")
        return JSONResponse({})

    @app.post("/x/state/{area}/inputs")
    async def keep_inputs(area: str, request: Request) -> JSONResponse:
        given = (await body(request)).get("inputs")
        if not isinstance(given, dict):
            raise UserError("The pictures must be a JSON object.")
        await run_in_threadpool(opening.keep_inputs, studio, user_of(request), opening.area_of(studio, area), given)
        return JSONResponse({})

    @app.get("/x/defaults/{area}")
    def defaults(area: str, request: Request) -> JSONResponse:
        found = opening.kept(studio, user_of(request), opening.area_of(studio, area), defaults_only=True)
        return JSONResponse({"values": found})

    @app.post("/x/defaults/{area}")
    async def keep_defaults(area: str, request: Request) -> JSONResponse:
        await store(request, area, opening.DEFAULTS)
        return JSONResponse({})

    async def store(request: Request, area: str, suffix: str) -> None:
        values = (await body(request)).get("values")
        if not isinstance(values, dict):
            raise UserError("The values must be a JSON object.")
        await run_in_threadpool(opening.keep, studio, user_of(request), opening.area_of(studio, area), values, suffix)


async def body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; `UserError` where it is none, too large, or holds what no answer could say again."""
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise UserError(f"That is too large; at most {LARGEST_BODY:,} bytes are taken here.")
    try:
        given = json.loads(content)
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError("What was sent is not JSON, or holds a text that is not Unicode.") from error
    if not isinstance(given, dict):
        raise UserError("What was sent is not a JSON object.")
    return given


def user_of(request: Request) -> User:
    """Who asks, as the guard found."""
    user: User = request.scope["webui.user"]
    return user
