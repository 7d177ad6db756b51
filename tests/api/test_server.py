"""The server's own parts: its socket, what Gradio finds around it, its end, and the work that waits for the first page."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse

from webui.api import server, share_server
from webui.api.connections import Connection
from webui.api.server import AfterFirstPage, Server, desktop, gradio_environment, listen, names_when_listening, url
from webui.api.share_server import CERTIFICATE, NotShared
from webui.errors import UserError

HOME = "127.0.0.1"


# --- the socket


def test_a_port_that_was_asked_for_is_the_one_or_a_sentence() -> None:
    with socket.create_server((HOME, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is taken"):
            listen(HOME, port)
    with listen(HOME, port) as listening:
        assert listening.getsockname() == (HOME, port)


def test_otherwise_it_is_the_next_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOME, 0)) as taken:
        first = taken.getsockname()[1]
        monkeypatch.setattr(server, "PORT", first)
        with listen(HOME, None) as listening:
            assert first < listening.getsockname()[1] < first + server.MORE_PORTS
        monkeypatch.setattr(server, "MORE_PORTS", 1)
        with pytest.raises(UserError, match="Every port"):
            listen(HOME, None)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "1.2.3.4.5"])
def test_an_address_that_is_not_ours_is_a_sentence(host: str) -> None:
    with pytest.raises(UserError, match="cannot listen on"):
        listen(host, None)


@pytest.mark.parametrize(
    ("host", "names", "expected"),
    [
        ("192.0.2.1", [], {"192.0.2.1"}),
        ("192.0.2.1", ["Box.LAN.", ""], {"192.0.2.1", "box.lan"}),
        ("0.0.0.0", ["x"], {"x", socket.gethostname().lower(), f"{socket.gethostname()}.local".lower()}),
    ],
)
def test_the_names_of_a_listening_machine(host: str, names: list[str], expected: set[str]) -> None:
    assert names_when_listening(host, names) == expected


def test_addresses_are_written_as_browsers_read_them() -> None:
    assert url(HOME, 7860) == "http://127.0.0.1:7860" and url("::1", 7860) == "http://[::1]:7860"


# --- around it


def test_gradio_finds_an_environment_of_ours(tmp_path: Path) -> None:
    given = {
        "GRADIO_VIBE_MODE": "1", "GRADIO_ALLOWED_PATHS": "/", "GRADIO_SHARE": "true", "GRADIO_ANALYTICS_ENABLED": "True",
        "GRADIO_ROOT_PATH": "http://evil.example", "GRADIO_SHARE_SERVER_ADDRESS": "share.example:7000", "PATH": "/bin",
        "NO_PROXY": "intranet", "http_proxy": "http://proxy:3128",
    }  # fmt: skip
    told = gradio_environment(given, tmp_path)
    assert (
        told["GRADIO_ANALYTICS_ENABLED"] == "False" and told["GRADIO_TEMP_DIR"] == str(tmp_path) and told["HF_HUB_OFFLINE"] == "1"
    )
    assert told["GRADIO_VIBE_MODE"] is told["GRADIO_ALLOWED_PATHS"] is told["GRADIO_SHARE"] is told["GRADIO_ROOT_PATH"] is None
    assert "GRADIO_SHARE_SERVER_ADDRESS" not in told and "PATH" not in told and "http_proxy" not in told
    assert told["NO_PROXY"] == told["no_proxy"] == "intranet,127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "x"}, "linux", False),
        ({}, "win32", True),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/tty1"}, "darwin", False),
        ({"CI": "true"}, "win32", False),
    ],
)
def test_the_browser_opens_where_somebody_sits(environ: dict[str, str], platform: str, expected: bool) -> None:
    assert desktop(environ, platform) is expected


# --- serving


class Running:
    """A server in a thread."""

    def __init__(self, app: Any) -> None:
        self.started, self.ending = threading.Event(), threading.Event()
        self.listening = listen(HOME, 0)
        self.port = self.listening.getsockname()[1]
        self.server = Server(app, self.started.set, self.ending.set)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})

    @contextmanager
    def ask(self, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(HOME, self.port, timeout=30)
        try:
            connection.request("GET", "/", headers=headers or {})
            with connection.getresponse() as reply:
                yield reply
        finally:
            connection.close()


@contextmanager
def running(app: Any) -> Iterator[Running]:
    served = Running(app)
    served.thread.start()
    try:
        assert served.started.wait(30)
        yield served
    finally:
        served.server.should_exit = True
        served.thread.join(30)
        assert not served.thread.is_alive() and served.ending.is_set()


async def lifespan(receive: Any, send: Any) -> None:
    for answer in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{answer}.complete"})


def test_no_proxy_is_believed_and_nothing_is_told_of_the_server() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        seen.append((scope["client"][0], scope["scheme"], scope["server"]))
        return await PlainTextResponse("hello")(scope, receive, send)

    with running(app) as served:
        claims = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
        with served.ask(headers=claims) as reply:
            assert reply.read() == b"hello" and reply.headers["Server"] is None
        assert seen == [(HOME, "http", (HOME, served.port))]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request_reaches_no_application(raw: bytes) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)
        seen.append(scope)
        return await PlainTextResponse("hello")(scope, receive, send)

    with running(app) as served, socket.create_connection((HOME, served.port), timeout=30) as connection:
        answer = b""
        with suppress(OSError):  # the server may have hung up before the last byte was sent
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                answer += piece
    assert seen == [] and b"hello" not in answer


def test_answers_do_not_wait_for_the_other_sides_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once: list[int] = []

    class Looking(Connection):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            at_once.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(server, "Connection", Looking)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await (lifespan(receive, send) if scope["type"] == "lifespan" else PlainTextResponse("hello")(scope, receive, send))

    with running(app) as served, served.ask() as reply:
        assert reply.read() == b"hello"
    assert at_once and all(at_once), "small parts are held back: 40 ms an answer"


def test_answers_without_an_end_are_ended_with_the_server() -> None:
    ended: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await lifespan(receive, send)

        async def events() -> Any:
            yield b"data: 1\n\n"
            while not served.ending.is_set():
                await asyncio.sleep(0.01)
            ended.append(True)

        return await StreamingResponse(events())(scope, receive, send)

    with running(app) as served, served.ask() as reply:
        assert reply.read(9) == b"data: 1\n\n"
        served.server.should_exit = True
        assert reply.read() == b"" and ended


def test_the_work_waits_for_the_first_page() -> None:
    worked = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("")(scope, receive, send)

    after = AfterFirstPage(app, worked.set, settle=0.01, patience=60)
    after.start()
    asyncio.run(asked(after, "/x/static/a.css"))
    assert not worked.wait(0.1)
    asyncio.run(asked(after, "/"))
    assert worked.wait(30)


def test_the_work_begins_when_nobody_asks_and_not_when_it_is_over() -> None:
    worked = threading.Event()
    impatient = AfterFirstPage(PlainTextResponse(""), worked.set, settle=0.01, patience=0.01)
    impatient.start()
    assert worked.wait(30)
    never = AfterFirstPage(PlainTextResponse(""), pytest.fail, settle=60, patience=60)  # type: ignore[arg-type]
    never.start()
    never.close()
    never._thread.join(30)
    assert not never._thread.is_alive()


async def asked(app: Any, path: str) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        pass

    await app({"type": "http", "path": path, "method": "GET", "headers": []}, receive, send)


# --- Gradio's server of addresses


class Internet:
    """What can be fetched, and what was."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.fetched: list[str] = []

    def get(self, address: str, **options: Any) -> httpx.Response:
        self.fetched.append(address)
        if address not in self.pages:
            raise httpx.ConnectError("no route")
        content = self.pages[address]
        request = httpx.Request("GET", address)
        return (
            httpx.Response(200, content=content, request=request)
            if isinstance(content, bytes)
            else httpx.Response(200, json=content, request=request)
        )


PROGRAM, API, ADDRESS = b"the program", "https://api.example/tunnel", "https://cdn.example/program"


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Internet:
    """Gradio's addresses, made up, and nothing there."""
    internet = Internet()
    tunneling = SimpleNamespace(
        CHECKSUMS={ADDRESS: hashlib.sha256(PROGRAM).hexdigest()},
        BINARY_URL=ADDRESS,
        BINARY_PATH=str(tmp_path / "frpc" / "program"),
    )
    monkeypatch.setitem(__import__("sys").modules, "gradio", SimpleNamespace(tunneling=tunneling))
    monkeypatch.setitem(__import__("sys").modules, "gradio.networking", SimpleNamespace(GRADIO_API_SERVER=API))
    monkeypatch.setattr(httpx, "get", internet.get)
    return internet


def test_the_command_names_server_port_and_certificate(internet: Internet, tmp_path: Path) -> None:
    internet.pages = {ADDRESS: PROGRAM, API: [{"host": "1.2.3.4", "port": "7000", "root_ca": "-----CERTIFICATE"}]}
    command = share_server.prepare(7861, tmp_path / "cache", environ={})
    assert Path(command[0]).read_bytes() == PROGRAM and Path(command[0]).stat().st_mode & 0o100
    assert command[command.index("-l") + 1] == "7861" and command[command.index("-i") + 1] == HOME
    assert command[command.index("--server_addr") + 1] == "1.2.3.4:7000" and "--tls_enable" in command
    assert Path(command[-1]) == tmp_path / "cache" / CERTIFICATE and Path(command[-1]).read_text() == "-----CERTIFICATE"
    again = share_server.prepare(7861, tmp_path / "cache", environ={})
    assert internet.fetched.count(ADDRESS) == 1 and again[3] != command[3], "the program is kept; each tunnel has its own secret"


def test_a_server_of_ones_own_is_taken(internet: Internet, tmp_path: Path) -> None:
    internet.pages = {ADDRESS: PROGRAM}
    own = {"GRADIO_SHARE_SERVER_ADDRESS": "share.example:7000"}
    command = share_server.prepare(1, tmp_path, "192.0.2.1", own)
    assert "share.example:7000" in command and "--tls_enable" not in command and "192.0.2.1" in command
    certified = share_server.prepare(1, tmp_path, environ={**own, "GRADIO_SHARE_SERVER_TLS_CERTIFICATE": "own.pem"})
    assert certified[-2:] == ["--tls_trusted_ca_file", "own.pem"] and API not in internet.fetched


def test_offline_there_is_a_sentence(internet: Internet, tmp_path: Path) -> None:
    with pytest.raises(NotShared, match="is this machine online"):
        share_server.prepare(1, tmp_path, environ={})


@pytest.mark.parametrize("answer", [b"<html>", {}, [], [{}], [{"host": "x", "port": "y", "root_ca": "z"}], [7]])
def test_an_answer_that_was_not_expected_is_a_sentence(internet: Internet, tmp_path: Path, answer: Any) -> None:
    internet.pages = {ADDRESS: PROGRAM, API: answer}
    with pytest.raises(NotShared, match="not expected"):
        share_server.prepare(1, tmp_path, environ={})


def test_a_program_that_is_not_the_known_one_is_never_run(internet: Internet, tmp_path: Path) -> None:
    internet.pages = {ADDRESS: b"something else", API: [{"host": "h", "port": 1, "root_ca": ""}]}
    with pytest.raises(NotShared, match="nothing was run"):
        share_server.prepare(1, tmp_path, environ={})
    program = tmp_path / "frpc" / "program"
    assert not program.exists()
    program.parent.mkdir()
    program.write_bytes(b"changed since")
    internet.pages[ADDRESS] = PROGRAM
    assert Path(share_server.prepare(1, tmp_path, environ={})[0]).read_bytes() == PROGRAM


def test_a_machine_without_a_program_gets_a_sentence(internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    internet.pages = {API: [{"host": "h", "port": 1, "root_ca": ""}]}
    monkeypatch.setattr(__import__("sys").modules["gradio"].tunneling, "CHECKSUMS", {})  # type: ignore[attr-defined]
    with pytest.raises(NotShared, match="this kind of machine"):
        share_server.prepare(1, tmp_path, environ={})
