"""The page at /accounts: plain HTML over what `accounts` does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from webui.api.accounts import Accounts, require_owner
from webui.api.entrance import Entrance
from webui.api.guard import ADDRESS, SESSION, USER
from webui.api.login import Login, read_form
from webui.api.plain_page import page, text, told
from webui.errors import UserError
from webui.service.tunnel import OPEN, STARTING
from webui.service.users import Session, User, Users, new_password

Fields = dict[str, str]
Action = Callable[[Request, Fields], Awaitable[str | Response]]  # the sentence to show, or another answer


class AccountsPage:
    """The page and what its forms do."""

    def __init__(self, accounts: Accounts, login: Login, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._users = accounts.users
        self._login = login
        self._clock = clock
        self._actions: dict[str, Action] = {
            "create": self._create, "remove": self._remove, "new password": self._new_password,
            "own password": self._own_password, "end session": self._end_session, "end sharing": self._end_sharing,
        }  # fmt: skip

    def routes(self) -> list[Route]:
        """The routes."""
        return [Route("/accounts", self.show, methods=["GET"]), Route("/accounts", self.act, methods=["POST"])]

    async def show(self, request: Request) -> Response:
        """The page."""
        return self._page(request)

    async def act(self, request: Request) -> Response:
        """Do what a form says, and show the page with what came of it."""
        fields = await read_form(request)
        action = self._actions.get(fields.get("action", ""))
        try:
            if action is None:
                raise UserError("That form is of another version of this page; load it again.")
            done = await action(request, fields)
        except UserError as error:
            return self._page(request, str(error), bad=True)
        return self._page(request, done) if isinstance(done, str) else done

    # --- what the forms do

    async def _create(self, request: Request, fields: Fields) -> str:
        require_owner(request)
        password = fields.get("password") or new_password()
        owner = fields.get("owner") == "yes"
        made = await run_in_threadpool(self._users.create, fields.get("name", ""), password, owner)
        return f"{made.name} can sign in now. The password: {password}"

    async def _remove(self, request: Request, fields: Fields) -> str:
        require_owner(request)
        user = self._named(fields)
        await run_in_threadpool(self._users.remove, user.id)
        return f"The account of {user.name} was removed."

    async def _new_password(self, request: Request, fields: Fields) -> str:
        require_owner(request)
        user, password = self._named(fields), new_password()
        await run_in_threadpool(self._users.set_password, user.id, password)
        return f"The new password of {user.name}: {password}"

    async def _own_password(self, request: Request, fields: Fields) -> str | Response:
        user: User = request.scope[USER]
        address, agent = request.scope[ADDRESS], request.headers.get("user-agent", "")
        if request.scope[SESSION] is not None:  # whoever found an open browser should not get the account with it
            await run_in_threadpool(self._users.confirm, user.id, fields.get("old", ""), address)
        await run_in_threadpool(self._users.set_password, user.id, fields.get("password", ""))
        if request.scope[SESSION] is None:
            return "The password was changed."
        token = await run_in_threadpool(self._users.sign_in_again, user.id, fields.get("password", ""), address, agent)
        return self._login.with_cookie(request, RedirectResponse("/accounts", 303), token)

    async def _end_session(self, request: Request, fields: Fields) -> str:
        await run_in_threadpool(self._users.end, request.scope[USER], fields.get("id", ""))
        return "The session was ended."

    async def _end_sharing(self, request: Request, fields: Fields) -> str:
        del fields
        require_owner(request)
        await self._accounts.close_tunnel()
        return ""

    def _named(self, fields: Fields) -> User:
        number = fields.get("id", "")
        if not number.isdecimal() or len(number) > 15:
            raise UserError("That form is of another version of this page; load it again.")
        return self._users.get(int(number))

    # --- what it shows

    def _page(self, request: Request, sentence: str = "", *, bad: bool = False) -> Response:
        user: User = request.scope[USER]
        parts = [
            '<p><a href="/">Back to the pictures</a></p>', "<h1>Accounts</h1>", told(sentence, bad=bad),
            *([self._sharing(), self._accounts_table(user)] if user.owner else []),
            self._sessions(user, request.scope[SESSION]), _own(user, signed_in=request.scope[SESSION] is not None),
        ]  # fmt: skip
        return page("Accounts", "\n".join(parts), 400 if bad else 200)

    def _sharing(self) -> str:
        shared = self._accounts.sharing()
        address = f"<p><strong>{text(shared['address'])}</strong></p>" if shared["address"] else ""
        button = _button("end sharing", "End sharing") if shared["state"] in (OPEN, STARTING) else ""
        return f"<h2>Sharing</h2>\n{address}<p>{text(shared['sentence'])}</p>\n{button}"

    def _accounts_table(self, user: User) -> str:
        rows = []
        for each in self._users.all():
            marks = {"owner": each.owner, "no password yet": not self._users.can_sign_in(each.id)}
            kind = ", ".join(mark for mark, true in marks.items() if true)
            buttons = _button("new password", "New password", id=each.id)
            buttons += _button("remove", "Remove", id=each.id) if each.id not in (1, user.id) else ""
            rows.append(f"<tr><td>{text(each.name)}</td><td>{kind}</td><td>{buttons}</td></tr>")
        return f"""<h2>Everybody with an account</h2>
<table><tr><th>Name</th><th></th><th></th></tr>
{"".join(rows)}</table>
<h2>One more</h2>
<form method="post" action="/accounts"><input type="hidden" name="action" value="create">
<label>Name <input name="name" required maxlength="40" autocomplete="off"></label>
<label>Password <input name="password" minlength="8" maxlength="200" autocomplete="new-password" placeholder="one is made up">
</label>
<label><input type="checkbox" name="owner" value="yes"> Owner: may do everything, this page included</label>
<button>Make the account</button></form>"""

    def _sessions(self, user: User, token: str | None) -> str:
        here = self._users.id_of(token) if token else ""
        rows = [self._session_row(session, here) for session in self._accounts.visible(user)]
        table = f"<table><tr><th>Who</th><th>Where</th><th>Seen</th><th></th></tr>{''.join(rows)}</table>"
        return f"<h2>Signed in</h2>\n{table if rows else '<p>Nobody.</p>'}"

    def _session_row(self, session: Session, here: str) -> str:
        minutes = max(round((self._clock() - session.seen) / 60), 0)
        seen = "now" if minutes < 2 else f"{minutes} minutes ago" if minutes < 120 else f"{minutes // 60} hours ago"
        where = f'{text(session.address)}<br><span class="soft">{text(session.agent)}</span>'
        button = "this browser" if session.id == here else _button("end session", "End", id=session.id)
        return f"<tr><td>{text(session.user.name)}</td><td>{where}</td><td>{seen}</td><td>{button}</td></tr>"


def _button(action: str, label: str, **fields: object) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{text(name)}" value="{text(value)}">' for name, value in {"action": action, **fields}.items()
    )
    return f'<form method="post" action="/accounts">{hidden}<button class="small">{text(label)}</button></form> '


def _own(user: User, *, signed_in: bool) -> str:
    old = '<label>Present password <input name="old" type="password" required autocomplete="current-password"></label>'
    leave = """<form method="post" action="/logout"><p><button>Sign out</button></p></form>
<form method="post" action="/logout"><input type="hidden" name="everywhere" value="yes">
<p><button>Sign out everywhere</button></p></form>"""
    return f"""<h2>You, {text(user.name)}</h2>
<form method="post" action="/accounts"><input type="hidden" name="action" value="own password">
{old if signed_in else ""}
<label>New password
<input name="password" type="password" required minlength="8" maxlength="200" autocomplete="new-password"></label>
<button>Change the password</button></form>
{leave if signed_in else ""}"""


def people_routes(users: Users, entrance: Entrance) -> list[Route]:
    """Every route of signing in, accounts, sessions and sharing."""
    login, accounts = Login(users, entrance), Accounts(users, entrance)
    return [*login.routes(), *accounts.routes(), *AccountsPage(accounts, login).routes()]
