"""The guard over a small application: who passes, under which names, from which pages, and with which headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.api.asgi import AWAY, HERE, HOST, Crowd, Reply, ask, headers_of, knock, scope_of
from webui.api import headers as header_rules
from webui.api.entrance import Entrance
from webui.api.guard import Guard, cookie_name
from webui.api.uploads import MB, BodyLimits
from webui.service.database import Database
from webui.service.passwords import Cost, Hasher
from webui.service.tunnel import OPEN, Tunnel, TunnelState
from webui.service.users import OWNER_ID, Users

SECRET = "correct horse"
CLOSED = Entrance(everyone_signs_in=True, port=7860)


class Clock:
    """A time that passes when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class OpenTunnel(Tunnel):
    """A tunnel that is open, or was."""

    def __init__(self, host: str) -> None:
        super().__init__(lambda port: [])
        self._state = TunnelState(kind=OPEN, address=f"https://{host}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def users(tmp_path: Path, clock: Clock) -> Iterator[Users]:
    database = Database(tmp_path / "webui.sqlite3")
    users = Users(database, clock, hasher=Hasher(Cost(n=16, r=1, p=1)))
    users.create("Anna", SECRET)
    yield users
    database.close()


@pytest.fixture
def inside() -> Starlette:
    """An application that tells what it was asked."""

    async def tell(request: Request) -> Response:
        user = request.scope["webui.user"]
        told = {
            "user": None if user is None else user.id, "session": request.scope["webui.session"], "method": request.method,
            "url": str(request.url), "headers": dict(request.headers), "size": len(await request.body()),
            "client": request.client.host if request.client else None,
        }  # fmt: skip
        return JSONResponse(told)

    async def fail(request: Request) -> Response:
        raise RuntimeError("broken")

    async def leaky(request: Request) -> Response:
        marks = {
            "Access-Control-Allow-Origin": "https://evil.example",
            "Cache-Control": "public, max-age=9",
            "X-Frame-Options": "no",
        }
        return PlainTextResponse("x", headers={**marks, "Content-Security-Policy": "default-src *"})

    async def picture(request: Request) -> Response:
        return Response(b"png", headers={"Cache-Control": "private, max-age=60"}, media_type="image/png")

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]
    routes = [Route("/x/fail", fail), Route("/x/leaky", leaky), Route("/x/picture", picture), WebSocketRoute("/x/socket", socket)]
    return Starlette(routes=[*routes, Route("/{path:path}", tell, methods=methods)])


Make = Callable[..., Guard]


@pytest.fixture
def make(inside: Starlette, users: Users) -> Make:
    return lambda entrance=None, **more: Guard(inside, users, entrance, **more)


def session(users: Users, *, secure: bool = False, port: int = 7860, address: str = "192.0.2.7") -> str:
    return f"{cookie_name(port, secure=secure)}={users.sign_in('Anna', SECRET, address, '')}"


def refused(reply: Reply, status: int) -> bool:
    return reply.status == status and set(reply.json()) == {"error"}


# --- who is asking


def test_whoever_sits_at_this_machine_is_the_owner(make: Make) -> None:
    told = ask(make()).json()
    assert told["user"] == OWNER_ID and told["session"] is None
    assert ask(make(), host="localhost:1234", client=("::1", 1)).json()["user"] == OWNER_ID


@pytest.mark.parametrize(
    ("entrance", "request_"),
    [
        (None, {"client": AWAY}),
        (None, {"client": None}),
        (None, {"headers": {"X-Forwarded-For": "127.0.0.1"}}),
        (None, {"headers": {"X-Forwarded-Host": "127.0.0.1"}}),
        (None, {"headers": {"Forwarded": "for=127.0.0.1"}}),
        (None, {"headers": {"Via": "1.1 proxy"}}),
        (None, {"headers": {"X-Real-IP": "127.0.0.1"}}),
        (None, {"headers": {"CF-Connecting-IP": "192.0.2.1"}}),
        (Entrance(hosts=frozenset({"box.lan"})), {"host": "box.lan:7860"}),
        (CLOSED, {}),
    ],
)
def test_everybody_else_signs_in(make: Make, entrance: Entrance | None, request_: dict[str, Any]) -> None:
    assert refused(ask(make(entrance), address="/x/jobs", **request_), 401)
    reply = ask(make(entrance), **{**request_, "headers": {**request_.get("headers", {}), "Accept": "text/html"}})
    assert (reply.status, reply.header("location")) == (303, "/login")


@pytest.mark.parametrize("entrance", [None, CLOSED])
def test_a_session_says_who_it_is(make: Make, users: Users, entrance: Entrance | None) -> None:
    port = 0 if entrance is None else 7860
    cookie = session(users, port=port)
    told = ask(make(entrance), cookie=f"theme=dark; {cookie}; x=y").json()
    assert told["user"] == 2 and cookie.endswith(told["session"])
    users.sign_out(told["session"])
    assert refused(ask(make(entrance), cookie=cookie, client=AWAY), 401)


def test_several_cookies_of_that_name_do_not_keep_anybody_out(make: Make, users: Users) -> None:
    cookie = session(users)
    assert ask(make(CLOSED), cookie=f"webui-7860=planted; {cookie}").json()["user"] == 2


@pytest.mark.parametrize("cookie", ["webui-7860=", "webui-7860=x", "webui-7861={}", "WEBUI-7860={}", 'webui-7860="{}', "={}"])
def test_what_is_no_session_opens_nothing(make: Make, users: Users, cookie: str) -> None:
    token = session(users).partition("=")[2]
    assert refused(ask(make(CLOSED), cookie=cookie.format(token)), 401)


def test_what_was_seen_of_sessions_is_written_now_and_then(make: Make, users: Users, clock: Clock) -> None:
    cookie = session(users)
    clock.now += 1000
    assert ask(make(CLOSED), cookie=cookie).status == 200
    clock.now += 1000
    assert users.session(cookie.partition("=")[2])
    assert users.unwritten()
    assert ask(make(CLOSED), cookie=cookie).status == 200 and not users.unwritten()


# --- under which name


@pytest.mark.parametrize("host", ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:65535", "[::1]:7860", "[0:0:0:0:0:0:0:1]"])
def test_the_names_of_this_machine_are_known(make: Make, host: str) -> None:
    assert ask(make(), host=host).json()["user"] == OWNER_ID


BAD_HOSTS = [
    *["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhost.", "127.0.0.1.", "127.0.0.1:", ":7860"],
    *["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:7860:7860", "127.0.0.1:x", "user@127.0.0.1", "evil.example@127.0.0.1:7860"],
    *[
        "127.0.0.1@evil.example",
        "127.0.0.1/x",
        "127.0.0.1?x",
        "127.0.0.1#x",
        "http://127.0.0.1",
        "::1",
        "[::1",
        "[::1]x",
        "[::ffff:127.0.0.1]",
    ],
    *[
        "[::1%lo]",
        "[evil.example]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0.0.0.0",
        "[::]",
        "127.0.0.2",
        "192.168.0.1",
        "*",
    ],
    *("", " ", "127.0.0.1, evil.example", "127.0.0.1 evil.example", " 127.0.0.1", "local\u00adhost", "127.0.0.1\x00"),
]


@pytest.mark.parametrize("host", BAD_HOSTS)
def test_other_names_are_not(make: Make, host: str) -> None:
    assert refused(ask(make(), host=host), 400)


def test_a_request_names_exactly_one_host(make: Make) -> None:
    assert refused(ask(make(), host=None), 400)
    assert refused(ask(make(), host=None, http_version="1.0"), 400)
    assert refused(ask(make(), headers=[("host", HOST)]), 400)
    assert refused(ask(make(), headers=[("Host", "evil.example")]), 400)


def test_names_on_the_command_line_and_the_address_of_the_connection_are_known(make: Make, users: Users) -> None:
    cookie = session(users, port=0)
    named = make(Entrance(hosts=frozenset({"box.lan"}), everyone_signs_in=True))
    assert ask(named, host="box.lan:7860", cookie=cookie).status == 200
    assert refused(ask(named, host="192.0.2.1:7860", cookie=cookie, server=("192.0.2.1", 7860)), 400)
    listening = make(Entrance(any_address=True, everyone_signs_in=True))
    assert ask(listening, host="192.0.2.1:7860", cookie=cookie, server=("192.0.2.1", 7860)).status == 200
    assert refused(ask(listening, host="192.0.2.2:7860", cookie=cookie, server=("192.0.2.1", 7860)), 400)
    assert refused(ask(listening, host="box.lan", cookie=cookie, server=None), 400)


# --- through the tunnel


def test_the_tunnels_name_is_known_while_it_is_open(make: Make, users: Users) -> None:
    tunnel = OpenTunnel("abc.example")
    guard = make(Entrance(everyone_signs_in=True, tunnel=tunnel))
    cookie = session(users, secure=True, port=0)
    for host, more in (("abc.example", {}), (HOST, {"X-Forwarded-Host": "abc.example", "X-Forwarded-Proto": "http"})):
        reply = ask(guard, "POST", "/x/jobs", host=host, headers=more, cookie=cookie, origin="https://abc.example")
        assert reply.json()["url"] == "https://abc.example/x/jobs"
        assert refused(ask(guard, host=host, headers=more), 401), "nobody is the owner for coming from the tunnel"
        assert refused(ask(guard, "POST", host=host, headers=more, cookie=cookie, origin=f"http://{HOST}"), 403)
    tunnel.end()
    assert refused(ask(guard, host="abc.example", cookie=cookie), 400)


def test_a_cookie_of_the_unencrypted_page_is_none_in_the_tunnel(make: Make, users: Users) -> None:
    guard = make(Entrance(everyone_signs_in=True, tunnel=OpenTunnel("abc.example"), port=7860))
    assert refused(ask(guard, host="abc.example", cookie=session(users)), 401)


# --- from which page


SAME = f"http://{HOST}"
POSTS: list[tuple[bool, list[tuple[str, str]]]] = [
    (True, [("Origin", SAME)]),
    (True, [("Origin", f"https://{HOST}")]),
    (True, [("Origin", SAME), ("Sec-Fetch-Site", "same-origin")]),
    (True, [("Sec-Fetch-Site", "same-origin")]),
    (False, []),
    (False, [("Origin", "null")]),
    (False, [("Origin", "")]),
    (False, [("Origin", "http://evil.example")]),
    (False, [("Origin", "http://127.0.0.1:3000")]),
    (False, [("Origin", "http://127.0.0.1")]),
    (False, [("Origin", "http://localhost:7860")]),
    (False, [("Origin", f"{SAME}.evil.example")]),
    (False, [("Origin", f"http://user@{HOST}")]),
    (False, [("Origin", f"{SAME}/")]),
    (False, [("Origin", f"file://{HOST}")]),
    (False, [("Origin", SAME), ("Origin", "http://evil.example")]),
    (False, [("Origin", SAME), ("Origin", SAME)]),
    (False, [("Origin", SAME), ("Sec-Fetch-Site", "cross-site")]),
    (False, [("Origin", SAME), ("Sec-Fetch-Site", "same-site")]),
    (False, [("Sec-Fetch-Site", "same-site")]),
    (False, [("Sec-Fetch-Site", "cross-site")]),
    (False, [("Sec-Fetch-Site", "none")]),
    (False, [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]),
    (False, [("Referer", SAME)]),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(("passes", "headers"), POSTS)
def test_what_changes_something_comes_from_our_own_page(
    make: Make, method: str, passes: bool, headers: list[tuple[str, str]]
) -> None:
    reply = ask(make(), method, "/x/jobs", origin=None, headers=headers)
    assert reply.status == 200 if passes else refused(reply, 403)


LINK = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
GETS: list[tuple[bool, list[tuple[str, str]]]] = [
    (True, []),
    (True, [("Origin", SAME)]),
    (True, [("Sec-Fetch-Site", "same-origin")]),
    (True, [("Sec-Fetch-Site", "none")]),
    (True, LINK),
    (False, [("Origin", "null")]),
    (False, [("Origin", "http://evil.example")]),
    (False, [("Origin", "http://localhost:3000")]),
    (False, [("Sec-Fetch-Site", "cross-site")]),
    (False, [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]),
    (False, [*LINK[:2], ("Sec-Fetch-Dest", "iframe")]),
    (False, [*LINK[:2], ("Sec-Fetch-Dest", "object")]),
    (False, [*LINK, ("Origin", "http://evil.example")]),
]


@pytest.mark.parametrize("address", ["/x/events", "/x/pictures/1", "/", "/login"])
@pytest.mark.parametrize(("passes", "headers"), GETS)
def test_other_sites_may_link_to_us_and_no_more(make: Make, address: str, passes: bool, headers: list[tuple[str, str]]) -> None:
    reply = ask(make(), address=address, origin=None, headers=headers)
    assert reply.status == 200 if passes else refused(reply, 403)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "POST "])
def test_other_methods_are_not_known(make: Make, method: str) -> None:
    assert refused(ask(make(), method), 405)


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/logout"),
        ("HEAD", "/logout"),
        ("PUT", "/login"),
        ("DELETE", "/accounts"),
        ("POST", "/robots.txt"),
        ("OPTIONS", "/login"),
    ],
)
def test_addresses_of_ours_take_what_is_ours(make: Make, users: Users, method: str, address: str) -> None:
    assert refused(ask(make(), method, address), 405)
    assert refused(ask(make(CLOSED), method, address, cookie=session(users)), 405)


def test_websockets_open_for_our_own_page_only(make: Make, users: Users) -> None:
    assert knock(make(), "/x/socket", origin=SAME) == "accept"
    cookie = session(users)
    assert knock(make(CLOSED), "/x/socket", origin=SAME, cookie=cookie, client=AWAY) == "accept"
    for guard, more in (
        (make(), {"origin": "http://evil.example"}),
        (make(), {"origin": "null"}),
        (make(), {"origin": None}),
        (make(), {"origin": SAME, "host": "evil.example"}),
        (make(), {"origin": "http://evil.example", "host": "evil.example"}),
        (make(), {"origin": SAME, "client": AWAY}),
        (make(CLOSED), {"origin": SAME}),
        (make(CLOSED), {"origin": "http://evil.example", "cookie": cookie}),
    ):
        assert knock(guard, "/x/socket", **more) == "close", more  # type: ignore[arg-type]
    assert knock(make(), "/gradio_api/stream", origin=SAME) == "close"


# --- what an application gets to see


def test_what_proxies_claim_is_not_passed_on(make: Make) -> None:
    claims = {
        "X-Forwarded-Host": "evil.example", "X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/e",
        "X-Gradio-Server": "http://evil.example", "X-HTTP-Method-Override": "DELETE", "X-HTTP-Method": "DELETE",
        "X-Method-Override": "DELETE", "X-Original-URL": "/x/jobs", "X-Rewrite-URL": "/x/jobs",
    }  # fmt: skip
    guard = make(Entrance(hosts=frozenset({"box.lan"})))
    reply = ask(guard, "POST", "/x/ours?_method=DELETE", headers=claims)
    assert refused(reply, 401), "and nobody is the owner who came through a proxy"
    told = ask(make(), "POST", "/x/ours?_method=DELETE", headers={name: claims[name] for name in list(claims)[4:]}).json()
    assert told["method"] == "POST" and told["url"] == f"http://{HOST}/x/ours?_method=DELETE" and told["client"] == "127.0.0.1"
    assert not {name.lower() for name in claims} & set(told["headers"])


def test_a_claimed_address_gets_no_further_tries(make: Make, users: Users) -> None:
    seen: list[str] = []

    async def address(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["webui.address"])
        await PlainTextResponse("")(scope, receive, send)

    guard = Guard(address, users, CLOSED)
    for number in range(3):
        ask(guard, address="/login", headers={"X-Forwarded-For": f"198.51.100.{number}"}, client=AWAY)
    assert seen == ["192.0.2.7"] * 3


ODD_PATHS = [
    "*",
    "http://evil.example/",
    *[
        r"/x/../etc/passwd",
        r"/x/%2e%2e/etc/passwd",
        r"/x/..%2fetc/passwd",
        r"/x/..%5cetc",
        r"/x/..\etc",
        r"//etc/passwd",
        r"/x//y",
        r"/x/./y",
        r"/x/..",
        r"/..",
    ],
    *[
        "/x/%252e%252e/y",
        "/x/a%00b",
        "/x/a%0ab",
        "/x/a%7fb",
        "/x/%2fetc",
        "/x/%c0%ae%c0%ae/y/..",
        "/gradio_api/file=../../etc/passwd",
    ],
    *["/gradio_api/file=/x/%2e%2e/y", "/gradio_api/file=..%5c..%5cx", "/gradio_api/file=a%00"],
]


@pytest.mark.parametrize("address", ODD_PATHS)
def test_odd_paths_are_refused_before_anybody_reads_them(make: Make, address: str) -> None:
    assert refused(ask(make(), address=address), 400)


@pytest.mark.parametrize("name", ["50%25", "a%2Fb", "..", "a%5Cb", "%2e%2e%2f%2e%2e", "a//b", "%252e"])
def test_a_style_may_be_called_anything(make: Make, name: str) -> None:
    assert ask(make(), "DELETE", f"/x/styles/{name}").status == 200
    assert refused(ask(make(), "DELETE", f"/x/styles/{name}%00"), 400)


# --- what every answer says


@pytest.mark.parametrize(
    "request_",
    [
        {}, {"address": "/x/jobs"}, {"address": "/x/leaky"}, {"address": "/login"}, {"host": "evil.example"}, {"client": AWAY},
        {"origin": "http://evil.example"}, {"address": "/gradio_api/info"}, {"method": "TRACE"}, {"address": "/x/nothing"},
        {"client": AWAY, "headers": {"accept": "text/html"}},
    ],
)  # fmt: skip
def test_every_answer_keeps_to_itself(make: Make, request_: dict[str, Any]) -> None:
    reply = ask(make(), **request_)
    for name, value in header_rules.ALWAYS.items():
        assert reply.header(name.lower()) == value
    policy = reply.header("content-security-policy") or ""
    assert "frame-ancestors 'none'" in policy and "default-src '" in policy and "*" not in policy
    assert reply.header("cache-control") == "no-store"
    assert reply.header("access-control-allow-origin") is None and reply.header("server") is None


def test_pages_without_scripts_run_none(make: Make) -> None:
    assert "default-src 'none'" in (ask(make(), address="/login").header("content-security-policy") or "")


def test_pictures_may_be_kept_by_their_owners_browser(make: Make) -> None:
    assert ask(make(), address="/x/picture").header("cache-control") == "private, max-age=60"
    assert "private" in (ask(make(), address="/assets/a-1.js").header("cache-control") or "")


def test_a_failing_application_is_not_hidden(make: Make) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        ask(make(), address="/x/fail")


# --- how much


def test_a_body_that_says_that_it_is_too_large_is_not_read(make: Make) -> None:
    guard = make(limits=BodyLimits(body=MB))
    assert ask(guard, "POST", "/x/jobs", body=b"x" * MB).json()["size"] == MB
    for length in (str(MB + 1), "9" * 30, "-1", "1e3", "x", ""):
        assert refused(ask(guard, "POST", "/x/jobs", headers={"Content-Length": length}), 413)


@pytest.mark.parametrize(
    "lengths",
    [
        [("Content-Length", "1"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "1"), ("Content-Length", "1")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")],
    ],
)
def test_a_request_ends_in_one_way(make: Make, lengths: list[tuple[str, str]]) -> None:
    assert refused(ask(make(), "POST", "/x/jobs", headers=lengths), 400)


@pytest.mark.parametrize("address", ["/x/jobs", "/gradio_api/queue/join"])
def test_a_body_that_turns_out_too_large_is_cut_off(make: Make, address: str) -> None:
    guard = make(limits=BodyLimits(body=MB))
    assert refused(ask(guard, "POST", address, body=[b"x" * 2**16] * 17), 413)
    assert ask(guard, "POST", "/x/jobs", body=[b"x" * 2**16] * 16).json()["size"] == MB


def test_whoever_has_not_signed_in_sends_little(make: Make) -> None:
    assert refused(ask(make(CLOSED), "POST", "/login", body=[b"x" * 10_000] * 2), 413)
    assert refused(ask(make(CLOSED), "POST", "/login", body=b"x" * 20_000), 413)


def test_an_application_that_makes_something_else_of_it_changes_nothing(users: Users) -> None:
    async def forgiving(scope: Any, receive: Any, send: Any) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
        except MultiPartException:
            await PlainTextResponse("all is well")(scope, receive, send)

    guard = Guard(forgiving, users, limits=BodyLimits(body=10))
    assert refused(ask(guard, "POST", "/x/jobs", body=[b"x" * 11]), 413)


def test_one_user_cannot_take_every_connection(users: Users) -> None:
    async def check() -> None:
        crowd = Crowd(2)
        guard = Guard(crowd, users, limits=BodyLimits(open=2))
        open_ones = [asyncio.create_task(status(guard)) for _ in range(2)]
        await crowd.waiting.wait()
        assert await status(guard) == 429
        other = session(users, port=0)
        another = asyncio.create_task(status(guard, other))
        await asyncio.sleep(0)
        crowd.leave.set()
        assert [await task for task in (*open_ones, another)] == [200, 200, 200]
        assert await status(guard) == 200

    asyncio.run(asyncio.wait_for(check(), 60))


async def status(app: Any, cookie: str | None = None) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope_of("GET", "/x/y", headers_of("GET", HOST, None, cookie, []), HERE), receive, send)
    return int(sent[0]["status"])


# --- streams


def test_streams_pass_piece_by_piece(users: Users) -> None:
    async def check() -> None:
        got: asyncio.Queue[bytes] = asyncio.Queue()
        onward = asyncio.Event()

        async def events() -> Any:
            yield b"data: one\n\n"
            await onward.wait()
            yield b"data: two\n\n"

        async def stream(scope: Any, receive: Any, send: Any) -> None:
            await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)

        async def send(message: dict[str, Any]) -> None:
            if message.get("body"):
                got.put_nowait(message["body"])

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        scope = scope_of("GET", "/x/events", headers_of("GET", HOST, None, None, []), HERE)
        task = asyncio.create_task(Guard(stream, users)(scope, receive, send))  # type: ignore[arg-type]
        assert await got.get() == b"data: one\n\n", "the first is there while the second is not yet made"
        onward.set()
        assert await got.get() == b"data: two\n\n"
        await task

    asyncio.run(asyncio.wait_for(check(), 60))


@pytest.mark.parametrize("version", ["2.3", "2.4"])
def test_a_stream_ends_with_its_session(users: Users, version: str) -> None:
    token = users.sign_in("Anna", SECRET, "192.0.2.7", "")
    sent: list[dict[str, Any]] = []
    left: list[bool] = []

    async def events() -> Any:
        try:
            for number in range(1000):
                yield f"data: {number}\n\n"
                if number == 2:
                    users.sign_out(token)
                await asyncio.sleep(0)
        finally:
            left.append(True)

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of("GET", "/x/events", headers_of("GET", HOST, None, f"webui-7860={token}", []), AWAY)
    scope["asgi"]["spec_version"] = version
    asyncio.run(asyncio.wait_for(Guard(stream, users, CLOSED)(scope, receive, send), 60))  # type: ignore[arg-type]
    bodies = [message["body"] for message in sent[1:]]
    assert bodies == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", b""] and not sent[-1]["more_body"]
    assert left, "what made the events has ended too"
