"""Requests put to an ASGI application byte by byte, with headers that no client library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

from starlette.responses import PlainTextResponse

HOST = "127.0.0.1:7860"
HERE = ("127.0.0.1", 50_000)
AWAY = ("192.0.2.7", 50_000)
App = Callable[..., Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2 or name == "set-cookie", f"{name} is there twice"
        return found[0] if found else None

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def cookie(self) -> str:
        """The session cookie that was set, as `name=value`."""
        line = self.header("set-cookie")
        assert line is not None
        return line.partition(";")[0]


def scope_of(
    method: str, address: str, headers: Iterable[tuple[str, str]], client: tuple[str, int] | None, kind: str = "http", **more: Any
) -> dict[str, Any]:
    path, _, query = address.partition("?")
    return {
        "type": kind, "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http" if kind == "http" else "ws", "path": unquote(path), "raw_path": path.encode(),
        "query_string": query.encode(), "root_path": "", "client": client, "server": ("127.0.0.1", 7860), "state": {},
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        **more,
    }  # fmt: skip


def headers_of(
    method: str, host: str | None, origin: str | None, cookie: str | None, more: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """The headers a browser would send from our own page, with `more` beside them."""
    headers = [("host", host)] if host is not None else []
    if origin == "same":
        headers += [("origin", f"http://{host}")] if method not in ("GET", "HEAD") else []
    elif origin is not None:
        headers += [("origin", origin)]
    return headers + ([("cookie", cookie)] if cookie else []) + list(more)


def ask(
    app: App, method: str = "GET", address: str = "/", *, host: str | None = HOST, origin: str | None = "same",
    cookie: str | None = None, headers: Mapping[str, str] | Iterable[tuple[str, str]] = (), body: bytes | list[bytes] = b"",
    client: tuple[str, int] | None = HERE, stays: bool = False, **more: Any,
) -> Reply:  # fmt: skip
    """One request and its whole answer. A list of bytes comes in pieces and without Content-Length.

    Who `stays` listens until the answer ends; others are gone when they have said everything.
    """
    extra = list(headers.items() if isinstance(headers, Mapping) else headers)
    pieces = body if isinstance(body, list) else [body]
    if body and not isinstance(body, list):
        extra.append(("content-length", str(len(body))))
    scope = scope_of(method, address, headers_of(method, host, origin, cookie, extra), client, **more)
    incoming = [{"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1} for at, piece in enumerate(pieces)]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if stays and not incoming:
            await asyncio.Event().wait()
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(_limited(app(scope, receive, send)))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    decoded = [(name.decode().lower(), value.decode("latin-1")) for name, value in starts[0]["headers"]]
    return Reply(status=starts[0]["status"], headers=decoded, body=b"".join(each.get("body", b"") for each in sent))


def post(app: App, address: str, told: Any = None, **more: Any) -> Reply:
    """A POST of JSON."""
    headers = [("content-type", "application/json"), *more.pop("headers", [])]
    return ask(app, "POST", address, body=json.dumps({} if told is None else told).encode(), headers=headers, **more)


def submit(app: App, address: str, fields: Mapping[str, str], **more: Any) -> Reply:
    """A POST of a form."""
    headers = [("content-type", "application/x-www-form-urlencoded"), *more.pop("headers", [])]
    return ask(app, "POST", address, body=urlencode(fields).encode(), headers=headers, **more)


def knock(
    app: App, address: str, *, host: str = HOST, origin: str | None, cookie: str | None = None, client: tuple[str, int] = HERE
) -> str:
    """Try to open a websocket; returns "accept" or "close", whichever came first."""
    scope = scope_of("GET", address, headers_of("SOCKET", host, origin, cookie, []), client, "websocket", subprotocols=[])
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1001}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(_limited(app(scope, receive, send)))
    return str(sent[0]["type"]).removeprefix("websocket.")


async def _limited(work: Awaitable[None]) -> None:
    await asyncio.wait_for(work, 60)


class Crowd:
    """An application that answers nobody before `leave` is set; `waiting` is set once `many` are inside."""

    def __init__(self, many: int) -> None:
        self.waiting, self.leave = asyncio.Event(), asyncio.Event()
        self._many = many
        self._inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._inside += 1
        if self._inside == self._many:
            self.waiting.set()
        await self.leave.wait()
        await PlainTextResponse("")(scope, receive, send)
