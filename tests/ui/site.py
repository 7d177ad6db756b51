"""The whole page for tests: a real server on a real port, with an engine that pretends, and a browser of the system."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from tests.ui.held import HeldEngine
from webui.api.application import build
from webui.api.entrance import Entrance
from webui.api.guard import cookie_name
from webui.params import parameters
from webui.service.engines import EngineHandle
from webui.service.extension_shelf import Shelf
from webui.service.studio import Studio, open_studio
from webui.service.users import OWNER_ID, User
from webui.settings import Settings
from webui.ui.page import mount

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PASSWORD = "correct horse battery"


def find_browser() -> str:
    """The path of a Chromium; skips the test where there is none, but fails it in CI, where one is installed."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"There is no browser here, and CI must have one; install one of: {', '.join(BROWSERS)}.")
    if found is None:
        pytest.skip(f"needs a browser: install one of {', '.join(BROWSERS)}")
    return found


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server that runs, and what is behind it."""

    address: str
    port: int
    studio: Studio
    engine: EngineHandle

    @property
    def pretended(self) -> HeldEngine:
        """The engine, where it is one that pretends."""
        assert isinstance(self.engine, HeldEngine)
        return self.engine

    def account(self, name: str) -> tuple[User, dict[str, str]]:
        """A new account, and the cookie that makes a browser its."""
        user = self.studio.users.create(name, PASSWORD)
        return user, self.cookie(name)

    def owner(self) -> tuple[User, dict[str, str]]:
        """The owner with the settings that a new one has, and the cookie."""
        self.studio.users.set_password(OWNER_ID, PASSWORD)
        user = self.studio.users.get(OWNER_ID)
        self.studio.preferences.change(user, dict.fromkeys(parameters(Settings)))
        return user, self.cookie(user.name)

    def cookie(self, name: str) -> dict[str, str]:
        """Sign somebody in."""
        token = self.studio.users.sign_in(name, PASSWORD, "127.0.0.1", "a test")
        return {"name": cookie_name(self.port, secure=False), "value": token, "url": self.address}


@contextmanager
def serving(root: Path, engine: EngineHandle, *, everyone_signs_in: bool = True, shelf: Shelf | None = None) -> Iterator[Site]:
    """Serve the studio of a folder until the block ends; `shelf` has the extensions, if the engine has them too."""
    with socket.create_server(("127.0.0.1", 0)) as listening, open_studio(root, engine=engine, shelf=shelf) as studio:
        port = listening.getsockname()[1]
        application = build(studio, mount, Entrance(everyone_signs_in=everyone_signs_in, port=port))
        config = uvicorn.Config(application, log_config=None, ws="none", lifespan="on", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="site", daemon=True)
        thread.start()
        try:
            yield Site(address=f"http://127.0.0.1:{port}", port=port, studio=studio, engine=engine)
        finally:
            application.end()
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the server did not end"
