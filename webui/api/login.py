"""Signing in and out: a page without scripts, so that it needs nothing that whoever is outside may not have."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from webui.api import headers
from webui.api.entrance import Entrance
from webui.api.guard import ADDRESS, SECURE, SESSION, USER, cookie_name
from webui.api.plain_page import page, text, told
from webui.errors import UserError
from webui.service.attempts import TooManyAttempts
from webui.service.users import DAY, LONGEST_SECONDS, User, Users

BROWSER = "webui-browser"  # the cookie of a browser that has signed in before
BROWSER_SECONDS = 365 * DAY
MOST_FIELDS = 50  # of a form
FORM = """<h1>Sign in</h1>
{told}
<form method="post" action="/login">
<label>Name <input name="name" autocomplete="username" required autofocus maxlength="40" value="{name}"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required maxlength="200"></label>
<button>Sign in</button>
</form>
<p class="soft">Accounts are given by whoever runs this program. A password is sent as this page is: encrypted where the address
begins with https, readable on the way where it begins with http.</p>"""


class Login:
    """The routes of signing in and out."""

    def __init__(self, users: Users, entrance: Entrance) -> None:
        self._users = users
        self._entrance = entrance

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/login", self.form, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            Route("/logout", self.sign_out, methods=["POST"]),
            Route("/robots.txt", self.robots, methods=["GET"]),
        ]

    async def form(self, request: Request) -> Response:
        """The page; whoever has signed in is sent on."""
        if request.scope[SESSION] is not None:
            return RedirectResponse("/", 303)
        return _form()

    async def sign_in(self, request: Request) -> Response:
        """Begin a session with a token that nobody had before; one that the browser came with ends."""
        fields = await read_form(request)
        name, address = fields.get("name", ""), request.scope[ADDRESS]
        agent = request.headers.get("user-agent", "")
        try:
            password, browser = fields.get("password", ""), self._browser(request)
            token = await run_in_threadpool(self._users.sign_in, name, password, address, agent, browser)
        except TooManyAttempts as error:
            return _form(str(error), name, 429, {"Retry-After": str(round(error.seconds))})
        except UserError as error:
            return _form(str(error), name, 401)
        if request.scope[SESSION] is not None:
            await run_in_threadpool(self._users.sign_out, request.scope[SESSION])
        return self.with_cookie(request, RedirectResponse("/", 303), token)

    async def sign_out(self, request: Request) -> Response:
        """End the session, with `everywhere` all of that account."""
        fields = await read_form(request)
        user: User = request.scope[USER]
        if fields.get("everywhere"):
            await run_in_threadpool(self._users.sign_out_everywhere, user.id)
        elif request.scope[SESSION] is not None:
            await run_in_threadpool(self._users.sign_out, request.scope[SESSION])
        response = RedirectResponse("/login", 303)
        secure = request.scope[SECURE]
        response.delete_cookie(
            cookie_name(self._entrance.port, secure=secure), path="/", secure=secure, httponly=True, samesite="lax"
        )
        return response

    async def robots(self, request: Request) -> Response:
        """Nothing here is for search engines."""
        del request
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    def with_cookie(self, request: Request, response: Response, token: str) -> Response:
        """The answer with the session's cookie, which scripts cannot read and other sites' pages do not send.

        A second one stays when the session has ended: by it the browser is known at the next try to sign in.
        """
        secure = request.scope[SECURE]
        cookies = {"webui": (token, LONGEST_SECONDS), BROWSER: (self._users.browser_of(token), BROWSER_SECONDS)}
        for kind, (value, seconds) in cookies.items():
            response.set_cookie(
                cookie_name(self._entrance.port, secure=secure, kind=kind), value, max_age=int(seconds), path="/", secure=secure,
                httponly=True, samesite="lax",
            )  # fmt: skip
        return response

    def _browser(self, request: Request) -> str:
        name = cookie_name(self._entrance.port, secure=request.scope[SECURE], kind=BROWSER)
        return next(iter(headers.cookies(request.scope, name)), "")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send it, the first of each name; a form with too many fields is none of ours."""
    body = (await request.body()).decode("utf-8", errors="replace")
    try:
        found = parse_qs(body, max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _form(sentence: str = "", name: str = "", status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return page("Sign in", FORM.format(told=told(sentence, bad=True), name=text(name[:40])), status, headers)
