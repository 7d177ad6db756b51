"""The server: a socket that is ours, uvicorn on it, and what is to happen once it answers."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.api.connections import Connection
from webui.errors import UserError

LOG = logging.getLogger(__name__)
PORT = 7860
MORE_PORTS = 40  # tried after PORT, where none was asked for
GRACE_SECONDS = 2  # that answers under way may take when the program ends
MOST_CONNECTIONS = 1000
MOST_HEADERS = 64 * 1024  # bytes of a request's first line and headers
SETTLE_SECONDS = 3.0  # from sending the first page to the work that makes the machine busy
PATIENCE = 30.0  # after which that work begins without anybody having looked


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens on `port`, or on the first free one from PORT on; `UserError` says why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(PORT, PORT + MORE_PORTS) if port is None else [port]:
        # Named, because asyncio sends small parts at once only where it knows that it is TCP; else each answer waits for 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name == "posix":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            elif hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows the other option would share a port that is taken
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            listening.bind((host, candidate))
            listening.listen(2048)
            return listening
        except OSError as error:
            listening.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise UserError(f"This machine cannot listen on {host} ({error.strerror}); see --listen.") from error
    if port is None:
        raise UserError(f"Every port from {PORT} to {PORT + MORE_PORTS - 1} is taken; name another one with --port.")
    raise UserError(f"Port {port} is taken by another program, or needs more rights; name another one with --port.")


def addresses_of_this_machine() -> list[str]:
    """Under which address others on the network may reach this machine: the one it would send from; no connection is made."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return [str(probe.getsockname()[0])]
    return []


class Server(uvicorn.Server):
    """uvicorn, set up not to believe proxies and not to say what it is.

    Calls `started` once it answers, and `ending` when it is to end, so that answers without an end can be ended.
    """

    def __init__(self, app: ASGIApp, started: Callable[[], None], ending: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, proxy_headers=False, server_header=False, ws="none", lifespan="on",
                limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=GRACE_SECONDS, timeout_keep_alive=15,
                h11_max_incomplete_event_size=MOST_HEADERS, http=Connection,
            )
        )  # fmt: skip
        self._on_start, self._on_end = started, ending

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._on_end()
        await super().shutdown(sockets=sockets)


class AfterFirstPage:
    """ASGI middleware: begins some work when the first page was sent and had time to appear, or when nobody asks for one."""

    def __init__(
        self, app: ASGIApp, work: Callable[[], None], *, settle: float = SETTLE_SECONDS, patience: float = PATIENCE
    ) -> None:
        self._app = app
        self._work = work
        self._settle, self._patience = settle, patience
        self._sent, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="after the first page", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def close(self) -> None:
        """Wait no longer; work that has not begun does not begin."""
        self._closing.set()
        self._sent.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self._app(scope, receive, send)
        if scope["type"] == "http" and scope["path"] == "/":
            self._sent.set()

    def _run(self) -> None:
        self._sent.wait(self._patience)
        if not self._closing.wait(self._settle):
            self._work()


def gradio_environment(environ: dict[str, str], cache: Path) -> dict[str, str | None]:
    """What must be set (None: unset) before Gradio is imported: no calls home, its files in our folder, no other ways in.

    Of Gradio's own variables only those that name another server for sharing are left to whoever starts the program.
    """
    loopback = "127.0.0.1,localhost,::1"
    kept = ("GRADIO_SHARE_SERVER_ADDRESS", "GRADIO_SHARE_SERVER_TLS_CERTIFICATE")
    cleared: dict[str, str | None] = {name: None for name in environ if name.startswith("GRADIO_") and name not in kept}
    proxies = [environ[name] for name in ("NO_PROXY", "no_proxy") if environ.get(name)]
    return cleared | {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(cache),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": ",".join([*proxies, loopback]),
        "no_proxy": ",".join([*proxies, loopback]),
    }


def desktop(environ: dict[str, str], platform: str) -> bool:
    """Whether there is a desktop whose browser can be opened, and somebody before it."""
    if any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY", "CI")):
        return False
    if platform in ("win32", "darwin"):
        return True
    return any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def url(host: str, port: int, scheme: str = "http") -> str:
    """The address of a server."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def names_when_listening(host: str, names: Sequence[str]) -> frozenset[str]:
    """Under which names besides loopback's the server may be asked for, when it listens on `host`."""
    own = {host} if host not in ("0.0.0.0", "::") else {socket.gethostname(), f"{socket.gethostname()}.local"}
    return frozenset(name.lower().rstrip(".") for name in (*own, *names) if name)
