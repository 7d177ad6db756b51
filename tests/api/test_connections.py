"""Who says too slowly what they want, or comes too often at once, is let go; who only waits for an answer is not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from tests.api.asgi import HERE, HOST, headers_of, scope_of
from tests.api.test_server import HOME, Running, lifespan, running
from webui.api import connections
from webui.api.connections import HEADER_SECONDS, Connection
from webui.api.guard import Guard
from webui.api.refusals import Refused
from webui.api.streams import SLOWEST, Body
from webui.api.uploads import BodyLimits
from webui.service.database import Database
from webui.service.users import Users

SOON = 0.2  # seconds
ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "header_seconds", SOON)


def answering(app: Any) -> Any:
    """The application with a beginning and an end."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await (lifespan(receive, send) if scope["type"] == "lifespan" else app(scope, receive, send))

    return called


@contextmanager
def connected(served: Running) -> Iterator[socket.socket]:
    with socket.create_connection((HOME, served.port), timeout=30) as made:
        yield made


def ended(made: socket.socket, drip: bytes = b"") -> bool:
    """Whether the other side lets go, while something is said again and again; raises where it does not."""
    made.settimeout(0.01 if drip else 30)
    for _ in range(3000 if drip else 1):
        try:
            if drip:
                made.sendall(drip)
            if not made.recv(1000):
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    raise AssertionError("the connection was kept")


@pytest.mark.parametrize(
    ("said", "drip"), [(b"", b""), (ASKED, b""), (ASKED + b"X: ", b"x"), (ASKED + b"\r\n", b"G"), (ASKED + b"\r\n", b"\r\n")]
)
def test_a_request_that_is_not_whole_in_time_is_not_waited_for(said: bytes, drip: bytes) -> None:
    with running(answering(PlainTextResponse("here"))) as served, connected(served) as made:
        made.sendall(said)
        assert ended(made, drip)
        with served.ask() as reply:
            assert reply.read() == b"here", "others are answered"


def test_who_waits_for_a_slow_answer_gets_it() -> None:
    go_on = threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        await PlainTextResponse("at last")(scope, receive, send)

    with running(answering(slow)) as served, connected(served) as made:
        made.sendall(ASKED + b"\r\n")
        for _ in range(2):
            with connected(served) as silent:
                assert ended(silent)
        go_on.set()
        assert made.recv(1000).startswith(b"HTTP/1.1 200")


def test_one_address_has_so_many_connections_and_this_machine_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "header_seconds", HEADER_SECONDS)
    monkeypatch.setattr(Connection, "most_of_one", 2)
    with running(answering(PlainTextResponse("here"))) as served:
        for mine, away in ((connections.LOOPBACK, False), (frozenset[str](), True)):
            monkeypatch.setattr(connections, "LOOPBACK", mine)
            with connected(served) as first, connected(served) as second, connected(served) as third:
                if away:
                    assert ended(third)
                for made in (first, second) if away else (first, second, third):
                    made.sendall(ASKED + b"\r\n")
                    assert made.recv(1000).startswith(b"HTTP/1.1 200")


# --- bodies


async def silence() -> Any:
    await asyncio.Event().wait()


def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    database = Database(tmp_path / "webui.sqlite3")
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(app, Users(database), limits=BodyLimits(patience=0.01))
    for path in ("/login", "/x/jobs", "/x/inputs"):
        sent.clear()
        scope = scope_of("POST", path, headers_of("POST", HOST, "same", None, [("content-length", "10")]), HERE)
        asyncio.run(asyncio.wait_for(guard(scope, silence, send), 30))
        assert sent[0]["status"] == 408 and b"too slowly" in sent[1]["body"]
    database.close()


def test_only_waiting_counts_and_what_comes_earns_more_time() -> None:
    async def test() -> None:
        coming = [{"type": "http.request", "body": bytes(SLOWEST * 100), "more_body": True} for _ in range(3)]

        async def receive() -> Any:
            return coming.pop(0) if coming else await silence()

        body = Body(receive, 10**9, patience=0.01)
        for _ in range(3):
            await body()
            await asyncio.sleep(0.02)  # whoever reads takes its time
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body(), 0.05)
        assert body.refused is None, "there are minutes left for the rest"

    asyncio.run(test())


def test_a_steady_trickle_is_too_slow_in_the_end() -> None:
    async def receive() -> Any:
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def test() -> None:
        body = Body(receive, 10**9, patience=0.1)
        with pytest.raises(Refused, match="too slowly"):
            for _ in range(10_000):
                await body()
        assert body.refused is not None and body.refused.refusal.status == 408

    asyncio.run(asyncio.wait_for(test(), 30))


def test_after_the_whole_body_somebody_may_listen_as_long_as_they_like() -> None:
    async def test() -> None:
        coming = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            return coming.pop(0) if coming else await silence()

        body = Body(receive, 10, patience=0.01)
        await body()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(body(), 0.1)
        assert body.refused is None

    asyncio.run(test())
