"""What goes wrong, as answers: a sentence for whoever asked, and in the log what whoever repairs it needs."""

from __future__ import annotations

import logging
import uuid

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.api.asking import NobodyAsks, TooLarge
from webui.api.refusals import Refused
from webui.api.streams import Ended
from webui.errors import NotAllowed, NotFound, TooMany, UserError, WebUIError

LOGGER = logging.getLogger(__name__)
STATUS: tuple[tuple[type[WebUIError], int], ...] = (
    (NobodyAsks, 401), (NotAllowed, 403), (NotFound, 404), (TooLarge, 413), (TooMany, 429), (UserError, 400),
)  # fmt: skip
FAULT = "This failed through a fault in the program; the log has the details under {name}."
PLAIN = {404: "There is nothing at that address.", 405: "That address does not take such a request."}


def of_ours(request: Request, error: Exception) -> Response:
    """The answer to an error with a sentence of its own."""
    for kind, status in STATUS:
        if isinstance(error, kind):
            return JSONResponse({"error": str(error)}, status)
    return JSONResponse({"error": f"{error} The log has the details under {logged(request.scope, error)}."}, 500)


def of_http(request: Request, error: Exception) -> Response:
    """The answer to what the framework refuses."""
    del request
    status = error.status_code if isinstance(error, HTTPException) else 400
    headers = error.headers if isinstance(error, HTTPException) else None
    return JSONResponse({"error": PLAIN.get(status, "That is no request that can be understood.")}, status, headers)


def logged(scope: Scope, error: Exception) -> str:
    """Write an error into the log; returns the id that finds it."""
    name = uuid.uuid4().hex[:8]
    LOGGER.error("%s %s failed (error %s).", scope.get("method"), scope.get("path"), name, exc_info=error)
    return name


class Failures:
    """ASGI middleware: an error that nobody foresaw costs one answer and is found in the log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except (ClientDisconnect, Ended, Refused):
            raise
        except Exception as error:
            name = logged(scope, error)
            if started:
                raise  # the connection is cut, so that nobody takes a part for the whole
            response = JSONResponse({"error": FAULT.format(name=name)}, 500)
            await response(scope, receive, send)
