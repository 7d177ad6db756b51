"""The addresses of extensions: files that their manifests name, and routes of their own, behind the accounts of the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from webui.api.asking import Who, body
from webui.api.static import ASK_AGAIN, FOR_EVER, TYPES
from webui.errors import ExtensionError, NotAllowed, NotFound, UserError, quoted
from webui.extension import Answer, Asked, Files, Route
from webui.service.extension_files import page_files
from webui.service.extensions import Extensions
from webui.service.pictures import Pictures
from webui.service.queue import Queue
from webui.service.users import User

LARGEST_BODY = 8 * 2**20  # bytes of JSON for an extension
LARGEST_ANSWER = 64 * 2**20
ROUTES = "routes"  # the permission without which no address of an extension answers
SHOWN = frozenset({
    "image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "audio/mpeg", "audio/wav", "audio/ogg", "video/mp4",
    "video/webm", "text/plain", "text/csv", "application/json",
})  # fmt: skip
"""What a browser may show as it is; everything else that an extension answers is a file to save, and never a page or code."""
UNKNOWN = "application/octet-stream"
Now = Callable[[], Extensions]


class OwnRoutes:
    """What `/x/extensions/NAME/...` answers, whatever is loaded when it is asked."""

    def __init__(self, now: Now, files: Callable[[], Files], pictures: Pictures, queue: Queue) -> None:
        self._now = now
        self._files = files
        self._pictures = pictures
        self._queue = queue

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/extensions/{name}/files/{version}/{path:path}", self.file, methods=["GET"])
        router.add_api_route("/x/extensions/{name}/{path:path}", self.ask, methods=["GET", "POST"])
        return router

    async def file(self, request: Request, name: str, version: str, path: str) -> Response:
        """A file that the manifest of an extension names, as it was when the extension was loaded."""
        found = page_files(self._now()).get(name)
        content = found.contents.get(path) if found else None
        if found is None or content is None:
            raise NotFound(f"The extension {quoted(name)} has no file {quoted(path)} for the page.")
        suffix = PurePosixPath(path).suffix
        headers = {"ETag": f'"{found.version}"', "Cache-Control": FOR_EVER if version == found.version else ASK_AGAIN}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers={**headers, "Content-Type": TYPES[".css" if suffix == ".css" else ".js"]})

    async def ask(self, request: Request, name: str, path: str, user: Who) -> Response:
        """Ask a route of an extension's own."""
        extensions = self._now()
        route = self._route(extensions, name, path, request.method)
        if route.owner and not user.owner:
            raise NotAllowed("Only an owner may ask that.")
        given = _read(await body(request, LARGEST_BODY)) if request.method == "POST" else None
        asked = Asked(
            user=user.name, is_owner=user.owner, query=dict(request.query_params), body=given, home=extensions.homes[name],
            files=self._files(), picture=partial(_found, self._pictures.request, user),
            job=partial(_found, self._queue.request, user),
        )  # fmt: skip
        return await run_in_threadpool(_answered, name, route, asked)

    def _route(self, extensions: Extensions, name: str, path: str, method: str) -> Route:
        manifest = extensions.manifests.get(name)
        if manifest is None:
            raise NotFound(f"There is no extension {quoted(name)} in use.")
        own = [route for route in extensions.routes.get(name, ()) if route.path.strip("/") == path.strip("/")]
        if not own or ROUTES not in manifest.permissions:
            raise NotFound(f"The extension {name} answers nothing at {quoted(path)}.")
        for route in own:
            if route.method == method:
                return route
        raise UserError(f"{quoted(path)} of the extension {name} is asked with {own[0].method}.")


def _found(request: Callable[[User, str], Mapping[str, Any]], user: User, name: str) -> Mapping[str, Any] | None:
    """What something of a user's was asked for with; None where they have none of that name."""
    try:
        return request(user, name)
    except NotFound:
        return None


def _answered(name: str, route: Route, asked: Asked) -> Response:
    """What the extension answers; what is neither an `Answer` nor JSON is its fault, and said so."""
    answer = route.answer(asked)
    if isinstance(answer, Answer):
        if not isinstance(answer.content, bytes) or len(answer.content) > LARGEST_ANSWER:
            raise ExtensionError(f"The extension {name} answered with what is no bytes, or more than {LARGEST_ANSWER:,} of them.")
        shown = answer.kind.partition(";")[0].strip().lower() in SHOWN
        headers = {"Cache-Control": "no-store", **({} if shown else {"Content-Disposition": "attachment"})}
        return Response(answer.content, media_type=answer.kind if shown else UNKNOWN, headers=headers)
    try:
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})
    except (TypeError, ValueError) as error:
        raise ExtensionError(f"The extension {name} answered {quoted(route.path)} with something that is no JSON.") from error


def _read(content: bytes) -> Any:
    """What was sent; None for nothing."""
    if not content.strip():
        return None
    try:
        given = json.loads(content)
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise UserError("What was sent is not JSON, or holds a text that is not Unicode.") from error
    return given
