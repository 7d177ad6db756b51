"""What stands before every route, ours and Gradio's: who asks, under which name, from which page, and how much they send.

A request passes these questions in this order: is the Host one of ours; is the path written plainly; does it come from our own
page; who is it; is it a route the page needs; is it theirs; is it not too much. Answers are passed on piece by piece.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.api import headers
from webui.api.entrance import LOOPBACK, Entrance
from webui.api.gradio_routes import (
    CALLING,
    FILE,
    OURS,
    TELLING,
    UPLOAD,
    Pages,
    Readable,
    is_odd,
    is_open,
    is_ours,
    session_named,
    session_told,
)
from webui.api.refusals import Refused
from webui.api.streams import Answer, Body, Counted, Ended, Held
from webui.api.uploads import BodyLimits, Uploads, is_upload
from webui.service.attempts import HERE, PROXY, TUNNEL
from webui.service.users import OWNER_ID, User, Users

USER = "webui.user"  # in the scope: the `User` who asks; None on the pages that are for everybody
SESSION = "webui.session"  # in the scope: the token of their session; None for whoever works at this machine without one
ADDRESS = "webui.address"  # in the scope: where they are, as tries to sign in are counted
SECURE = "webui.secure"  # in the scope: whether the connection to the browser is encrypted
FOR_EVERYBODY = ("/login", "/robots.txt")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What is known of a request before anybody reads it."""

    method: str  # "SOCKET" for a websocket
    path: str
    host: str
    secure: bool
    address: str
    direct: bool  # no proxy and no tunnel says that it passed it on


class Guard:
    """ASGI middleware: answers what may not pass, and lets the rest pass with the `User` in scope["webui.user"]."""

    def __init__(
        self, app: ASGIApp, users: Users, entrance: Entrance | None = None, *, limits: BodyLimits | None = None,
        uploads: Uploads | None = None, readable: Readable | None = None, calls: bool = True,
    ) -> None:  # fmt: skip
        """`calls` says whether the page has handlers of Gradio's that run on the server; without, nothing can call any."""
        self._app = app
        self._users = users
        self._entrance = entrance or Entrance()
        self._limits = limits or BodyLimits()
        self.readable = readable or Readable()  # which files Gradio may send to whom
        self._uploads = uploads or Uploads(self._limits, self.readable)
        self._pages = Pages()
        self._calls = calls
        self._under_way: Counter[int] = Counter()
        self._uploading: Counter[int] = Counter()
        self._turn = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            answer = Answer(send, scope["path"])
            try:
                await self._http(scope, receive, answer)
            except Refused as refused:
                await answer.refuse(refused, scope)

    async def _http(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        visit = self._visit(scope, scope["method"])
        user, token = await self._who(scope, visit)
        inner = self._inner(scope, visit, user, token)
        if visit.method not in OURS.get(visit.path, METHODS):  # else Gradio might answer
            raise Refused(405, "That address does not take such a request.")
        if user is None:
            if visit.path not in FOR_EVERYBODY:
                raise Refused(401, "Sign in first.", elsewhere="/login")
            body = Body(receive, self._limits.form, patience=self._limits.patience)
            body.check_length(scope)
            await self._pass_on(inner, body, answer)
            return
        self._check_route(visit, user, scope["query_string"])
        with self._counted(user), self._uploads_counted(user, visit):
            await self._admit(inner, receive, answer, visit, user, token)

    async def _admit(self, inner: Scope, receive: Receive, answer: Answer, visit: Visit, user: User, token: str | None) -> None:
        """Pass on what a known user asks, with an eye on what comes in and how long they may listen."""
        uploading = is_upload(visit.method, visit.path)
        limit = self._limits.upload if uploading else self._limits.body
        count = (lambda size: self._uploads.receive(user.id, size)) if uploading else None
        body = Body(receive, limit, count, patience=self._limits.patience)
        body.check_length(inner)
        if uploading:
            self._uploads.begin(user.id)
        elif TELLING.fullmatch(visit.path) and visit.method == "POST":
            if not self._pages.may(user.id, session_told(await body.whole())):
                raise Refused(404, "That page is not yours; load it again.")
        if token is not None:
            answer.lasts = lambda: self._users.lasts(token)
        if uploading and visit.path.rstrip("/") == UPLOAD:
            await self._gradio_upload(inner, body, answer, user)
        else:
            await self._pass_on(inner, body, answer)

    async def _pass_on(self, inner: Scope, body: Body, answer: Answer) -> None:
        body.over = lambda: answer.ended
        answer.refused = lambda: body.refused
        try:
            await self._app(inner, body, answer)
        except (ClientDisconnect, Ended):
            if not answer.ended and body.refused is None:
                raise
        if body.refused is not None:
            await answer.refuse(body.refused, inner)
        await answer.finish()

    # --- the questions

    def _visit(self, scope: Scope, method: str) -> Visit:
        """The request's Host, path, method and origin, where nothing is wrong with them."""
        asked = headers.asked_for(scope)
        arrived_at = (scope.get("server") or ("",))[0]
        if asked is None or not self._entrance.allows(asked.name, arrived_at):
            named = "" if asked is None else f" {asked.name!r}"
            raise Refused(400, f"This server does not go by the name{named}; whoever runs it may add one with --host-name.")
        peer = (scope.get("client") or ("",))[0]
        tunnel = self._entrance.tunnel_host()
        passed_on = headers.values(scope, b"x-forwarded-host")
        # The tunnel's server may name this machine in Host, and the address people know beside it.
        if tunnel is not None and asked.name != tunnel and passed_on and passed_on[0].lower() == tunnel:
            asked = headers.Authority(name=tunnel, port="")
        through_tunnel = tunnel is not None and asked.name == tunnel
        host = str(asked)
        if method not in (*METHODS, "SOCKET"):
            raise Refused(405, "This server knows no such method.")
        if len(headers.values(scope, b"content-length") + headers.values(scope, b"transfer-encoding")) > 1:
            raise Refused(400, "It is not clear where that request ends.")
        if is_odd(scope["path"]):
            raise Refused(400, "That address is not written as an address of this server.")
        if headers.foreign(scope, method, host):
            raise Refused(403, "The request came from another site's page; it must say with Origin that it comes from this one.")
        direct = peer in LOOPBACK and asked.name in LOOPBACK and not headers.forwarded(scope)
        return Visit(
            method=method,
            path=scope["path"],
            host=host,
            secure=through_tunnel or scope.get("scheme") in ("https", "wss"),
            address=TUNNEL if through_tunnel else HERE if direct else PROXY if peer in LOOPBACK else peer,
            direct=direct,
        )

    async def _who(self, scope: Scope, visit: Visit) -> tuple[User | None, str | None]:
        """The user, and the token of their session."""
        for token in headers.cookies(scope, cookie_name(self._entrance.port, secure=visit.secure)):
            user = self._users.session(token)
            if user is not None:
                if self._users.unwritten():
                    await run_in_threadpool(self._users.write_seen)
                return user, token
        if visit.direct and not self._entrance.everyone_signs_in:
            return self._users.get(OWNER_ID), None
        return None, None

    def _check_route(self, visit: Visit, user: User, query: bytes) -> None:
        """`Refused` for what of Gradio's the page does not need, and for what is somebody else's."""
        if is_ours(visit.path):
            return
        if not is_open(visit.method, visit.path) or (not self._calls and CALLING.fullmatch(visit.path)):
            raise Refused(404, "There is nothing at that address.")
        if visit.path.startswith(FILE) and not self.readable.may(user.id, visit.path.removeprefix(FILE)):
            raise Refused(404, "There is no such file.")
        if not self._pages.may(user.id, session_named(visit.path, query)):
            raise Refused(404, "That page is not yours; load it again.")

    def _counted(self, user: User) -> Counted:
        return Counted(self._under_way, self._turn, user.id, self._limits.open)

    def _uploads_counted(self, user: User, visit: Visit) -> Counted | nullcontext[None]:
        """Each upload is in memory or on the disk for as long as it takes to come in, so few may be under way at a time."""
        if not is_upload(visit.method, visit.path):
            return nullcontext()
        return Counted(self._uploading, self._turn, user.id, self._limits.uploading, "uploads")

    def _inner(self, scope: Scope, visit: Visit, user: User | None, token: str | None) -> Scope:
        """The scope an application gets: nothing of what proxies claim, and who asks."""
        kept = headers.trusted(scope, visit.host)
        schemes = {"SOCKET": ("ws", "wss")}.get(visit.method, ("http", "https"))
        known = {USER: user, SESSION: token, ADDRESS: visit.address, SECURE: visit.secure}
        return {**scope, "headers": kept, "scheme": schemes[visit.secure], **known}

    # --- special cases

    async def _gradio_upload(self, inner: Scope, body: Body, answer: Answer, user: User) -> None:
        """Hold back Gradio's answer, the names of the stored files, until they were looked at."""
        inner["headers"] = [pair for pair in inner["headers"] if pair[0] != b"accept-encoding"]
        held = Held(answer, body, inner, lambda paths: self._uploads.accept(user.id, paths))
        await self._app(inner, body, held)
        if held.folder is not None:
            await run_in_threadpool(self._uploads.sweep, held.folder)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A websocket passes for whoever is known, from our own page."""
        try:
            visit = self._visit(scope, "SOCKET")
            user, token = await self._who(scope, visit)
            if user is None or not is_ours(visit.path):
                raise Refused(403, "Sign in first.")
        except Refused:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        with self._counted(user):
            await self._app(self._inner(scope, visit, user, token), receive, send)


def cookie_name(port: int, *, secure: bool, kind: str = "webui") -> str:
    """The session cookie's name; the prefix makes browsers refuse one that another site or an unencrypted page set."""
    return f"__Host-{kind}-{port}" if secure else f"{kind}-{port}"
