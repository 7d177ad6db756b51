"""Who has an account, who is connected, and whether the page is shared: for owners; everybody else sees what is theirs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from webui.api.entrance import Entrance
from webui.api.guard import SESSION, USER
from webui.errors import NotAllowed, UserError
from webui.service.tunnel import OFF
from webui.service.users import Session, User, Users

Endpoint = Callable[[Request], Awaitable[Response]]
OWNERS_ONLY = "Only an owner may do that."
NOT_SHARED = "This page is not shared; start the program with --share to give it an address on the internet."


class Accounts:
    """The routes of accounts, sessions and sharing. What they do is also what the page at /accounts does."""

    def __init__(self, users: Users, entrance: Entrance) -> None:
        self.users = users
        self.entrance = entrance

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/x/who", answering(self.who), methods=["GET"]),
            Route("/x/sessions/end", answering(self.end_session), methods=["POST"]),
            Route("/x/accounts", answering(self.create), methods=["POST"]),
            Route("/x/accounts/{id:int}/remove", answering(self.remove), methods=["POST"]),
            Route("/x/accounts/{id:int}/password", answering(self.set_password), methods=["POST"]),
            Route("/x/share", answering(self.shared), methods=["GET"]),
            Route("/x/share", answering(self.end_sharing), methods=["POST"]),
        ]

    async def who(self, request: Request) -> Response:
        """Everybody's sessions and accounts for owners, one's own for others."""
        user: User = request.scope[USER]
        here = self.users.id_of(request.scope[SESSION]) if request.scope[SESSION] else ""
        sessions = [described(session, here) for session in self.visible(user)]
        accounts = [
            {"id": each.id, "name": each.name, "owner": each.owner, "can_sign_in": self.users.can_sign_in(each.id)}
            for each in self.users.all()
            if user.owner or each.id == user.id
        ]
        return JSONResponse({"you": user.id, "sessions": sessions, "accounts": accounts})

    async def end_session(self, request: Request) -> Response:
        """End one session ("id"), or all of an account ("user")."""
        user, told = request.scope[USER], await read_json(request)
        if isinstance(told.get("id"), str):
            await run_in_threadpool(self.users.end, user, told["id"])
        elif type(told.get("user")) is int:
            if not user.owner and told["user"] != user.id:
                raise NotAllowed(OWNERS_ONLY)
            await run_in_threadpool(self.users.sign_out_everywhere, self.users.get(told["user"]).id)
        else:
            raise UserError('Say which session ("id") or whose sessions ("user").')
        return JSONResponse({})

    async def create(self, request: Request) -> Response:
        """Make an account."""
        require_owner(request)
        told = await read_json(request)
        name, password = field(told, "name"), field(told, "password")
        made = await run_in_threadpool(self.users.create, name, password, told.get("owner") is True)
        return JSONResponse({"id": made.id, "name": made.name, "owner": made.owner})

    async def remove(self, request: Request) -> Response:
        """Remove an account."""
        require_owner(request)
        await run_in_threadpool(self.users.remove, request.path_params["id"])
        return JSONResponse({})

    async def set_password(self, request: Request) -> Response:
        """Give an account another password."""
        require_owner(request)
        password = field(await read_json(request), "password")
        await run_in_threadpool(self.users.set_password, request.path_params["id"], password)
        return JSONResponse({})

    async def shared(self, request: Request) -> Response:
        """Whether the page is shared, and under which address."""
        require_owner(request)
        return JSONResponse(self.sharing())

    async def end_sharing(self, request: Request) -> Response:
        """End the tunnel."""
        require_owner(request)
        if (await read_json(request)).get("end") is not True:
            raise UserError('Sharing can be ended with {"end": true}; it begins with the program\'s start.')
        await self.close_tunnel()
        return JSONResponse(self.sharing())

    async def close_tunnel(self) -> None:
        """End the tunnel, where there is one."""
        if self.entrance.tunnel is not None:
            await run_in_threadpool(self.entrance.tunnel.end)

    def sharing(self) -> dict[str, str]:
        """What `/x/share` says."""
        if self.entrance.tunnel is None:
            return {"state": OFF, "address": "", "sentence": NOT_SHARED}
        state = self.entrance.tunnel.state()
        return {"state": state.kind, "address": state.address, "sentence": state.sentence}

    def visible(self, user: User) -> list[Session]:
        """The sessions somebody may see."""
        return [session for session in self.users.sessions() if user.owner or session.user.id == user.id]


def described(session: Session, here: str) -> dict[str, Any]:
    """A session as JSON; `here` is the id of the session that asks."""
    return {
        "id": session.id, "user": session.user.id, "name": session.user.name, "address": session.address, "agent": session.agent,
        "created": session.created, "seen": session.seen, "ends": session.ends, "here": session.id == here,
    }  # fmt: skip


def require_owner(request: Request) -> User:
    """The owner who asks; `NotAllowed` for others."""
    user: User = request.scope[USER]
    if not user.owner:
        raise NotAllowed(OWNERS_ONLY)
    return user


def answering(endpoint: Endpoint) -> Endpoint:
    """The endpoint, whose errors that are somebody's own are sentences."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 403 if isinstance(error, NotAllowed) else 400)

    return answer


async def read_json(request: Request) -> dict[str, Any]:
    """The JSON object that was sent."""
    try:
        told = await request.json()
    except (ValueError, RecursionError) as error:
        raise UserError("What was sent is no JSON.") from error
    if not isinstance(told, dict):
        raise UserError("What was sent is no JSON object.")
    return told


def field(told: dict[str, Any], name: str) -> str:
    """A text of the object."""
    value = told.get(name)
    if not isinstance(value, str):
        raise UserError(f'"{name}" is missing; it must be a text.')
    return value
