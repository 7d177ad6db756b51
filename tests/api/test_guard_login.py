"""Signing in and out, accounts, sessions and sharing, through the guard as a browser would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.api.asgi import AWAY, HOST, ask, post, submit
from webui.api.accounts_page import people_routes
from webui.api.entrance import Entrance
from webui.api.guard import Guard
from webui.service.attempts import BY_ACCOUNT, BY_ADDRESS, BY_NAME, BY_SHARED, WINDOW, TooManyAttempts
from webui.service.database import Database
from webui.service.passwords import Cost, Hasher
from webui.service.tunnel import OPEN, Tunnel, TunnelState
from webui.service.users import IDLE_SECONDS, OWNER_ID, Users

SECRET, OTHER = "correct horse", "battery staple"
TUNNEL = "abc.example"


class Clock:
    """A time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class CountingHasher(Hasher):
    """Counts the hashes it computes."""

    computed = 0

    def _compute(self, password: str, salt: bytes, cost: Cost) -> bytes:
        self.computed += 1
        return super()._compute(password, salt, cost)


class OpenTunnel(Tunnel):
    """A tunnel that is open until it is ended."""

    def __init__(self) -> None:
        super().__init__(lambda port: [])
        self._state = TunnelState(kind=OPEN, address=f"https://{TUNNEL}", sentence="Shared.")


class House:
    """A guarded application with two accounts: the owner's and Anna's."""

    def __init__(self, database: Database) -> None:
        self.clock = Clock()
        self.hasher = CountingHasher(Cost(n=16, r=1, p=1))
        self.users = Users(database, self.clock, hasher=self.hasher)
        self.users.set_password(OWNER_ID, OTHER)
        self.anna = self.users.create("Anna", SECRET)
        self.tunnel = OpenTunnel()
        self.entrance = Entrance(everyone_signs_in=True, port=7860, tunnel=self.tunnel)

        async def who(request: Request) -> Response:
            return JSONResponse(request.scope["webui.user"].name)

        routes = [*people_routes(self.users, self.entrance), Route("/", who), Route("/x/jobs", who, methods=["GET", "POST"])]
        self.app = Guard(Starlette(routes=routes), self.users, self.entrance)
        self.at_home = Guard(Starlette(routes=[*people_routes(self.users, Entrance()), Route("/", who)]), self.users, Entrance())

    def sign_in(self, name: str = "Anna", password: str = SECRET, **more: Any) -> str:
        """The cookie of a new session."""
        reply = submit(self.app, "/login", {"name": name, "password": password}, client=AWAY, **more)
        assert reply.status == 303, reply.text
        return reply.cookie()

    def owner(self) -> str:
        """The cookie of a new session of the owner."""
        return self.sign_in("owner", OTHER)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(tmp_path / "webui.sqlite3")
    yield House(database)
    database.close()


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(tag)


# --- signing in


def test_signing_in_gives_a_cookie_that_only_our_pages_send(house: House) -> None:
    reply = submit(house.app, "/login", {"name": " anna ", "password": SECRET}, client=AWAY)
    assert (reply.status, reply.header("location")) == (303, "/")
    marks = {mark.strip().lower() for mark in (reply.header("set-cookie") or "").split(";")[1:]}
    assert {"httponly", "samesite=lax", "path=/"} <= marks and "secure" not in marks
    assert not any(mark.startswith("domain") for mark in marks)
    assert ask(house.app, cookie=reply.cookie(), client=AWAY).json() == "Anna"


def test_in_the_tunnel_the_cookie_is_for_encrypted_connections(house: House) -> None:
    reply = submit(
        house.app, "/login", {"name": "Anna", "password": SECRET}, host=TUNNEL, origin=f"https://{TUNNEL}",
    )  # fmt: skip
    marks = {mark.strip().lower() for mark in (reply.header("set-cookie") or "").split(";")[1:]}
    assert "secure" in marks and reply.cookie().startswith("__Host-")
    assert ask(house.app, cookie=reply.cookie(), host=TUNNEL).json() == "Anna"
    assert ask(house.app, cookie=reply.cookie(), client=AWAY).status == 401


@pytest.mark.parametrize("fields", [{}, {"name": "Anna"}, {"password": SECRET}, {"name": "Anna", "password": SECRET + "x"},
                                    {"name": "Nobody", "password": SECRET}, {"name": "owner", "password": SECRET},
                                    {"name": "Anna'--", "password": SECRET}])  # fmt: skip
def test_what_is_wrong_is_not_said_more_closely(house: House, fields: dict[str, str]) -> None:
    reply = submit(house.app, "/login", fields, client=AWAY)
    assert reply.status == 401 and "The name or the password is wrong." in reply.text and reply.header("set-cookie") is None
    assert SECRET not in reply.text


def test_the_form_shows_the_name_again_as_text(house: House) -> None:
    name = '"><img src=x onerror=alert(1)>'
    reply = submit(house.app, "/login", {"name": name, "password": "x"}, client=AWAY)
    assert "img" not in Tags(reply.text).found and "script" not in Tags(reply.text).found and "&lt;img" in reply.text


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None, "http://127.0.0.1:3000"])
def test_no_other_site_signs_anybody_in_or_out(house: House, origin: str | None) -> None:
    cookie = house.sign_in()
    assert submit(house.app, "/login", {"name": "Anna", "password": SECRET}, origin=origin).status == 403
    assert submit(house.app, "/logout", {}, origin=origin, cookie=cookie).status == 403
    assert ask(house.app, cookie=cookie).json() == "Anna" and len(house.users.sessions()) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_a_form_signs_in_or_out(house: House, method: str) -> None:
    cookie = house.sign_in()
    for address in (f"/login?name=Anna&password={SECRET.replace(' ', '+')}", "/logout"):
        reply = ask(house.app, method, address, client=AWAY)
        assert reply.header("set-cookie") is None
        assert ask(house.app, method, address, cookie=cookie, client=AWAY).status in (303, 405)  # 303: /login, to the page
    assert ask(house.app, cookie=cookie, client=AWAY).json() == "Anna"


def test_a_session_somebody_brought_is_not_the_one_they_get(house: House) -> None:
    planted = "webui-7860=chosen-by-somebody-else"
    cookie = house.sign_in(cookie=planted)
    assert cookie != planted and ask(house.app, cookie=planted, client=AWAY).status == 401
    again = house.sign_in("owner", OTHER, cookie=cookie)
    assert ask(house.app, cookie=again, client=AWAY).json() == "owner"
    assert ask(house.app, cookie=cookie, client=AWAY).status == 401, "whose browser it was before"


def test_ten_thousand_tries_are_answered_without_work(house: House) -> None:
    house.hasher.computed = 0
    statuses = []
    for number in range(10_000):
        password = SECRET if number == 9_999 else f"guess {number}"
        client = (f"198.51.100.{number % 250}", 1)
        reply = submit(house.app, "/login", {"name": "Anna", "password": password}, client=client) if number < 300 else None
        if reply is None:  # the rest without the HTTP around it: this is about the counting
            try:
                house.users.sign_in("Anna", password, client[0], "")
                statuses.append(303)
            except TooManyAttempts:
                statuses.append(429)
            continue
        statuses.append(reply.status)
    assert statuses == [401] * BY_ACCOUNT + [429] * (10_000 - BY_ACCOUNT) and house.hasher.computed == BY_ACCOUNT
    house.clock.now += WINDOW + 1
    assert house.sign_in()


@pytest.mark.parametrize("through", ["tunnel", "proxy"])
def test_an_attacker_behind_one_address_keeps_neither_the_machine_out_nor_known_browsers(house: House, through: str) -> None:
    ways: dict[str, dict[str, Any]] = {
        "tunnel": {"host": TUNNEL, "origin": f"https://{TUNNEL}"}, "proxy": {"headers": [("x-forwarded-for", "198.51.100.1")]},
    }  # fmt: skip
    way = ways[through]
    first = submit(house.app, "/login", {"name": "Anna", "password": SECRET}, **way)
    (browser,) = (value.partition(";")[0] for key, value in first.headers if key == "set-cookie" and "webui-browser" in value)
    house.hasher.computed = 0
    statuses = [
        submit(house.app, "/login", {"name": f"name {number}", "password": "x"}, **way).status for number in range(BY_SHARED + 9)
    ]
    assert statuses == [401] * BY_SHARED + [429] * 9 and house.hasher.computed == BY_SHARED
    fields = {"name": "Anna", "password": SECRET}
    assert submit(house.app, "/login", fields, **way).status == 429
    assert submit(house.app, "/login", fields, cookie=browser, **way).status == 303
    assert submit(house.app, "/login", fields).status == 303, "who sits at the machine"
    assert ask(house.app, cookie=browser, **way).status == 401, "it is no session"


def test_whoever_must_wait_is_told_how_long(house: House) -> None:
    for _ in range(BY_NAME):
        submit(house.app, "/login", {"name": "Anna", "password": "x"}, client=AWAY)
    reply = submit(house.app, "/login", {"name": "Anna", "password": SECRET}, client=AWAY)
    assert reply.status == 429 and reply.header("retry-after") == str(round(WINDOW)) and "15 minutes" in reply.text


def test_no_header_gives_more_tries(house: House) -> None:
    for number in range(BY_ADDRESS):
        claims = {"X-Forwarded-For": f"198.51.100.{number}", "X-Real-IP": f"198.51.100.{number}", "Forwarded": f"for={number}"}
        fields = {"name": f"name {number}", "password": "x"}
        assert submit(house.app, "/login", fields, client=AWAY, headers=list(claims.items())).status == 401
    last = submit(
        house.app, "/login", {"name": "Anna", "password": SECRET}, client=AWAY, headers=[("X-Forwarded-For", "203.0.113.1")]
    )
    assert last.status == 429


def test_signing_out_here_and_everywhere(house: House) -> None:
    first, second = house.sign_in(), house.sign_in()
    reply = submit(house.app, "/logout", {}, cookie=first, client=AWAY)
    assert (reply.status, reply.header("location")) == (303, "/login") and "Max-Age=0" in (reply.header("set-cookie") or "")
    assert ask(house.app, cookie=first, client=AWAY).status == 401 and ask(house.app, cookie=second, client=AWAY).status == 200
    third = house.sign_in()
    submit(house.app, "/logout", {"everywhere": "yes"}, cookie=second, client=AWAY)
    assert [ask(house.app, cookie=cookie, client=AWAY).status for cookie in (second, third)] == [401, 401]


def test_sessions_end_by_themselves(house: House) -> None:
    cookie = house.sign_in()
    house.clock.now += IDLE_SECONDS + 1
    assert ask(house.app, cookie=cookie, client=AWAY).status == 401


def test_search_engines_are_sent_away(house: House) -> None:
    assert ask(house.app, address="/robots.txt", client=AWAY).text == "User-agent: *\nDisallow: /\n"


# --- who is here


def test_the_owner_sees_everybody_and_others_themselves(house: House) -> None:
    owner, anna = house.owner(), house.sign_in()
    told = ask(house.app, address="/x/who", cookie=owner).json()
    assert {(each["name"], each["address"], each["here"]) for each in told["sessions"]} == {
        ("owner", "192.0.2.7", True), ("Anna", "192.0.2.7", False),
    }  # fmt: skip
    assert [each["name"] for each in told["accounts"]] == ["owner", "Anna"]
    told = ask(house.app, address="/x/who", cookie=anna).json()
    assert {each["name"] for each in told["sessions"]} == {each["name"] for each in told["accounts"]} == {"Anna"}
    secrets = (owner.partition("=")[2], anna.partition("=")[2], "scrypt$")
    assert not any(secret in ask(house.app, address="/x/who", cookie=owner).text for secret in secrets)


def test_owners_end_any_session_and_others_their_own(house: House) -> None:
    owner, anna, more = house.owner(), house.sign_in(), house.sign_in()
    ids = {each["name"]: each["id"] for each in ask(house.app, address="/x/who", cookie=owner).json()["sessions"]}
    assert post(house.app, "/x/sessions/end", {"id": ids["owner"]}, cookie=anna).status == 400
    assert post(house.app, "/x/sessions/end", {"user": OWNER_ID}, cookie=anna).status == 403
    assert ask(house.app, cookie=owner).status == 200
    assert post(house.app, "/x/sessions/end", {"id": house.users.id_of(anna.partition("=")[2])}, cookie=more).status == 200
    assert ask(house.app, cookie=anna).status == 401
    own = post(house.app, "/x/sessions/end", {"id": house.users.id_of(more.partition("=")[2])}, cookie=more)
    assert own.status == 200 and own.json() == {}, "whoever ends their own session hears of it"
    assert ask(house.app, cookie=more).status == 401
    again = house.sign_in()
    assert post(house.app, "/x/sessions/end", {"user": house.anna.id}, cookie=owner).status == 200
    assert ask(house.app, cookie=again).status == 401
    for wrong in ({}, {"id": 1}, {"user": "2"}, {"user": True}, {"user": 99}, {"id": "nothing"}):
        assert post(house.app, "/x/sessions/end", wrong, cookie=owner).status == 400


def test_owners_make_and_remove_accounts(house: House) -> None:
    owner = house.owner()
    made = post(house.app, "/x/accounts", {"name": "Bert", "password": OTHER}, cookie=owner)
    assert made.status == 200 and made.json()["owner"] is False
    bert, number = house.sign_in("Bert", OTHER), made.json()["id"]
    assert post(house.app, f"/x/accounts/{number}/password", {"password": "a new secret"}, cookie=owner).status == 200
    assert ask(house.app, cookie=bert).status == 401 and house.sign_in("Bert", "a new secret")
    assert post(house.app, f"/x/accounts/{number}/remove", cookie=owner).status == 200
    assert [user.name for user in house.users.all()] == ["owner", "Anna"]
    for wrong in (
        {},
        {"name": "x"},
        {"name": 1, "password": OTHER},
        {"name": "anna", "password": OTHER},
        {"name": "C", "password": "x"},
    ):
        assert post(house.app, "/x/accounts", wrong, cookie=owner).status == 400
    assert post(house.app, f"/x/accounts/{OWNER_ID}/remove", cookie=owner).status == 400


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/x/accounts", {"name": "Bert", "password": OTHER, "owner": True}),
        ("/x/accounts/1/remove", {}),
        ("/x/accounts/2/remove", {}),
        ("/x/accounts/1/password", {"password": "mine now!"}),
        ("/x/share", {"end": True}),
    ],
)
def test_others_may_not(house: House, address: str, told: dict[str, Any]) -> None:
    anna = house.sign_in()
    assert post(house.app, address, told, cookie=anna).status == 403
    assert post(house.app, address, told).status == 401
    assert len(house.users.all()) == 2 and house.owner() and house.tunnel.host() == TUNNEL


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"1", b"{", b"\xff", b"[" * 5000])
def test_what_is_no_object_gets_a_sentence(house: House, body: bytes) -> None:
    reply = ask(house.app, "POST", "/x/accounts", body=body, cookie=house.owner())
    assert reply.status == 400 and "JSON" in reply.json()["error"]


# --- sharing


def test_the_owner_sees_the_shared_address_and_ends_it(house: House) -> None:
    owner = house.owner()
    told = ask(house.app, address="/x/share", cookie=owner).json()
    assert told == {"state": "open", "address": f"https://{TUNNEL}", "sentence": "Shared."}
    assert ask(house.app, address="/x/share", cookie=house.sign_in()).status == 403
    assert post(house.app, "/x/share", {}, cookie=owner).status == 400 and house.tunnel.host() == TUNNEL
    assert post(house.app, "/x/share", {"end": True}, cookie=owner).json()["state"] == "ended"
    assert ask(house.app, host=TUNNEL).status == 400


def test_without_sharing_the_owner_is_told_how_to(house: House) -> None:
    assert "--share" in ask(house.at_home, address="/x/share").json()["sentence"]


# --- the page


def test_the_page_shows_texts_as_texts(house: House) -> None:
    house.users.create("<script>alert(1)</script>", SECRET)
    evil = "</td><img src=x onerror=alert(1)>"
    house.sign_in(headers=[("user-agent", evil)])
    reply = ask(house.app, address="/accounts", cookie=house.owner())
    assert reply.status == 200 and "script" not in Tags(reply.text).found and "img" not in Tags(reply.text).found
    assert "&lt;script&gt;" in reply.text and "&lt;img" in reply.text and f"https://{TUNNEL}" in reply.text


def test_the_page_does_what_its_forms_say(house: House) -> None:
    cookie = house.owner()

    def act(**fields: str) -> str:
        reply = submit(house.app, "/accounts", fields, cookie=cookie)
        assert reply.status == 200, reply.text
        return reply.text

    password = re.search(r"The password: ([a-z0-9-]{23})", act(action="create", name="Bert"))
    assert password is not None
    bert = house.sign_in("Bert", password[1])
    number = str(next(user.id for user in house.users.all() if user.name == "Bert"))
    assert "was ended" in act(action="end session", id=house.users.id_of(bert.partition("=")[2]))
    assert ask(house.app, cookie=bert).status == 401
    fresh = re.search(r"The new password of Bert: ([a-z0-9-]{23})", act(action="new password", id=number))
    assert fresh is not None and house.sign_in("Bert", fresh[1])
    assert "was removed" in act(action="remove", id=number) and len(house.users.all()) == 2
    assert "does not work any more" in act(action="end sharing")
    for wrong in (
        {},
        {"action": "?"},
        {"action": "remove", "id": "x"},
        {"action": "remove", "id": "9" * 20},
        {"action": "remove"},
    ):
        assert submit(house.app, "/accounts", wrong, cookie=cookie).status == 400


def test_the_page_of_others_shows_and_does_what_is_theirs(house: House) -> None:
    house.owner()
    anna = house.sign_in()
    text = ask(house.app, address="/accounts", cookie=anna).text
    assert "owner" not in text and TUNNEL not in text and "this browser" in text
    owners = next(session.id for session in house.users.sessions() if session.user.owner)
    for fields in (
        {"action": "create", "name": "X"}, {"action": "remove", "id": "2"}, {"action": "new password", "id": "1"},
        {"action": "end sharing"}, {"action": "end session", "id": owners},
    ):  # fmt: skip
        assert submit(house.app, "/accounts", fields, cookie=anna).status == 400
    assert len(house.users.sessions()) == 2 and ask(house.app, cookie=anna).status == 200
    assert len(house.users.all()) == 2 and house.tunnel.host() == TUNNEL


def test_a_new_password_of_ones_own_needs_the_old_one(house: House) -> None:
    anna, elsewhere = house.sign_in(), house.sign_in()
    change = {"action": "own password", "password": "a new secret"}
    for wrong in (change, {**change, "old": "guess"}, {**change, "old": OTHER}):
        assert submit(house.app, "/accounts", wrong, cookie=anna).status == 400
    reply = submit(house.app, "/accounts", {**change, "old": SECRET}, cookie=anna)
    assert reply.status == 303 and ask(house.app, cookie=reply.cookie()).json() == "Anna"
    assert [ask(house.app, cookie=cookie).status for cookie in (anna, elsewhere)] == [401, 401]


def test_whoever_sits_at_this_machine_needs_no_old_password(house: House) -> None:
    text = ask(house.at_home, address="/accounts").text
    assert 'name="old"' not in text and "New password" in text and "Sign out" not in text
    reply = submit(house.at_home, "/accounts", {"action": "own password", "password": "a new secret"})
    assert reply.status == 200 and house.sign_in("owner", "a new secret")


def test_nothing_is_there_for_whoever_is_outside(house: House) -> None:
    for address in (
        "/",
        "/accounts",
        "/x/who",
        "/x/share",
        "/x/jobs",
        "/docs",
        "/openapi.json",
        "/favicon.ico",
        "/login/",
        "/LOGIN",
    ):
        assert ask(house.app, address=address, client=AWAY).status == 401, address
    assert HOST not in ask(house.app, address="/login", client=AWAY).text
