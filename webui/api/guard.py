"""What stands before every route: who is asking, from where, and whether they may."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from webui.api.entrance import LOOPBACK, Entrance
from webui.service.users import OWNER_ID, Users

USER = "webui.user"  # in the scope: the `User` who asks
SESSION = "webui.session"  # in the scope: the token of their session, or None for whoever sits at this machine


class Guard:
    """ASGI middleware: lets through who may, with the `User` in scope["webui.user"]."""

    def __init__(self, app: ASGIApp, users: Users, entrance: Entrance | None = None) -> None:
        self._app = app
        self._users = users
        self._entrance = entrance or Entrance()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] in ("http", "websocket"):
            here = (scope.get("client") or ("",))[0] in LOOPBACK and not self._entrance.everyone_signs_in
            scope = {**scope, USER: self._users.get(OWNER_ID) if here else None, SESSION: None}
        await self._app(scope, receive, send)
