"""The whole server: what is not meant for somebody is closed, and what goes wrong is a sentence with a place in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, Router

from tests.api.asgi import AWAY, HERE, HOST, ask, headers_of, scope_of
from tests.api.house import House, house
from tests.service.shelf import pixels
from webui.api.application import build
from webui.api.guard import Guard
from webui.errors import StorageError
from webui.service import gallery
from webui.service.studio import Studio

ROOT = Path(__file__).parents[2]


def page(app: FastAPI, studio: Studio) -> None:
    """What stands in for the page: a route of its own, some that fail, and everything else."""
    del studio

    async def failing(request: Request) -> JSONResponse:
        raise {"fault": KeyError("the secret"), "disk": StorageError("The disk is full."), "sql": sqlite3.Error("x")}[
            request.path_params["how"]
        ]

    async def breaking(request: Request) -> StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"half"
            raise KeyError("the secret")

        return StreamingResponse(parts())

    async def everything(request: Request) -> HTMLResponse:
        return HTMLResponse("the page")

    app.router.routes.append(Route("/x/fail/{how}", failing))
    app.router.routes.append(Route("/x/break", breaking))
    app.mount("/", Router([Route("/{rest:path}", everything)]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), page=page) as made:
        yield made


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """Every route of ours: a method and an address."""
    guard = app.guard
    assert isinstance(guard, Guard)
    for route in walk(guard._app.router.routes):  # type: ignore[attr-defined]
        for method in sorted(route.methods - {"HEAD"}):
            yield method, re.sub(r"\{(\w+)(:\w+)?\}", "1", route.path)


def walk(found: list[Any]) -> Iterator[Any]:
    for route in found:
        if isinstance(route, Mount):
            continue
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if hasattr(route, "path") and getattr(route, "methods", None):
            yield route
        elif inner is not None:
            yield from walk(inner.routes)


def test_every_route_is_closed_to_who_has_not_signed_in(home: House) -> None:
    found = sorted(set(routes(home.app)))
    assert {("GET", "/x/pictures"), ("POST", "/x/jobs"), ("GET", "/x/events"), ("DELETE", "/x/styles/1")} <= set(found)
    assert len(found) > 35
    for method, address in found:
        reply = ask(home.app, method, address, client=AWAY)
        if address not in ("/login", "/robots.txt"):
            assert reply.status == 401, (method, address)
        assert b"builtin" not in reply.body


def test_what_only_looks_like_a_route_of_ours_never_reaches_the_page(home: House) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        reply = home.send(method, "/x/nothing/here")
        assert (reply.status, reply.json()) == (404, {"error": "There is nothing at that address."})
    assert home.get("/").text == "the page"


def test_a_fault_is_a_sentence_with_an_id_that_finds_it_in_the_log(home: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "webui"):
        reply = home.get("/x/fail/fault")
    said = reply.json()["error"]
    name = said.rpartition(" ")[2].rstrip(".")
    assert reply.status == 500 and said == f"This failed through a fault in the program; the log has the details under {name}."
    assert name in caplog.text and "KeyError: 'the secret'" in caplog.text and "secret" not in reply.text


def test_a_disk_that_fails_says_so_and_is_in_the_log(home: House, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "webui"):
        reply = home.get("/x/fail/disk")
    match = re.fullmatch(r"The disk is full\. The log has the details under (\w+)\.", reply.json()["error"])
    assert reply.status == 500 and match is not None and match[1] in caplog.text
    assert home.get("/x/fail/sql").status == 500


def test_an_answer_that_breaks_off_is_not_taken_for_whole(home: House, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[dict[str, Any]] = []

    async def get() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await home.app(scope_of("GET", "/x/break", headers_of("GET", HOST, "same", None, []), HERE), receive, send)

    with caplog.at_level(logging.ERROR, "webui"), pytest.raises((KeyError, BaseExceptionGroup)):
        asyncio.run(get())
    assert [message.get("more_body") for message in sent[1:]] == [True] and "the secret" in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x", 400), (b'{"ids": ', 400), (b"[]", 400), (b'{"ids": NaN}', 400), (b"\xff\xfe", 400),
        (b'"' + b"x" * 2**20 + b'"', 413),
    ],
)
def test_bodies_are_objects_and_not_too_large(home: House, body: bytes, status: int) -> None:
    for pieces in (body, [body[:1], body[1:]]):
        reply = home.send("POST", "/x/pictures/star", pieces, home.anna)  # type: ignore[arg-type]
        assert reply.status == status and reply.json()["error"].endswith(".")


def test_no_description_of_the_routes_is_sent(home: House) -> None:
    for address in ("/docs", "/redoc", "/openapi.json"):
        assert home.get(address).status == 404


def test_upkeep_begins_with_the_server_and_ends_with_it(home: House) -> None:
    async def lived() -> None:
        incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        task = asyncio.create_task(build(home.studio)({"type": "lifespan", "state": {}}, incoming.get, outgoing.put))
        incoming.put_nowait({"type": "lifespan.startup"})
        assert (await asyncio.wait_for(outgoing.get(), 20))["type"] == "lifespan.startup.complete"
        async with asyncio.timeout(20):
            while not home.studio.pictures.search(home.owner, "handmade"):
                await asyncio.sleep(0.01)
        incoming.put_nowait({"type": "lifespan.shutdown"})
        assert (await asyncio.wait_for(outgoing.get(), 20))["type"] == "lifespan.shutdown.complete"
        await task

    gallery.save(home.studio.outputs, pixels(8, 1), 1, "handmade\nSteps: 1, Seed: 1, Size: 8x8")
    asyncio.run(lived())


def test_torch_and_gradio_are_not_imported_by_the_server() -> None:
    code = "import sys, webui.api.application; sys.exit(', '.join({'torch', 'gradio', 'transformers'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
