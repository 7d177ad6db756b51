"""The command that serves the page: what it says, whom it lets in, one at a time in a folder, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import webui
from tests.service.extensions_written import write
from tests.service.pretend import PretendEngine
from webui.api.entrance import Entrance
from webui.api.server import listen
from webui.cli import main
from webui.commands import serve
from webui.commands.serve import Site, announce, entrance_for, make_accounts, read_options
from webui.errors import UserError
from webui.service.database import Database
from webui.service.extension_shelf import Shelf
from webui.service.passwords import Cost, Hasher
from webui.service.studio import open_studio
from webui.service.users import OWNER_ID, Users

ROOT = Path(webui.__file__).parents[1]
HOME = "127.0.0.1"
SOON = 120  # seconds; far more than anything here takes
POSIX = pytest.mark.skipif(os.name != "posix", reason="Windows sends no such signals to one process")

# The command as it is, with a page of one line in place of Gradio's, and a tunnel program that only says an address.
PROGRAM = """
import sys, time, types
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from webui.api import share_server
from webui.api.accounts_page import people_routes
from webui.api.guard import Guard
from webui.service import engines

class Application:
    def __init__(self, studio, page, entrance):
        routes = [*people_routes(studio.users, entrance), Mount("/", PlainTextResponse("the page"))]
        self.guard = Guard(Starlette(routes=routes), studio.users, entrance)

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
        else:
            await self.guard(scope, receive, send)

    def end(self):
        print("streams ended", flush=True)

sys.modules["webui.api.application"] = types.SimpleNamespace(build=Application)
sys.modules["webui.ui.page"] = types.SimpleNamespace(mount=None)
says = "import time; print('start proxy success: https://abc.example', flush=True); time.sleep(600)"
share_server.prepare = lambda port, cache, host: [sys.executable, "-c", says]
engines.ThreadEngine.warm = lambda self: None  # what is meant to import torch, some seconds after the first page
if "--stuck" in sys.argv:
    sys.argv.remove("--stuck")
    engines.ThreadEngine.close = lambda self: time.sleep(600)
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where a shell has it ignored
from webui.cli import main
code = main(sys.argv[2:], Path(sys.argv[1]))
print("left", code, "torch" in sys.modules, flush=True)
sys.exit(code)
"""


class Started:
    """The command in a process of its own, and the lines it says."""

    def __init__(self, root: Path, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-c", PROGRAM, str(root), "serve", "--no-browser", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=root
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that is like that."""
        while (line := self._lines.get(timeout=SOON)) is not None:
            self.said.append(line)
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"{pattern!r} was not said:\n" + "\n".join(self.said))

    def port(self) -> int:
        return int(self.wait_for(r"is at http://127\.0\.0\.1:(\d+) - press Ctrl\+C")[1])

    def end(self) -> tuple[int, list[str]]:
        """Its exit code, and all it said."""
        code = self.process.wait(SOON)
        while (line := self._lines.get(timeout=SOON)) is not None:
            self.said.append(line)
        return code, self.said

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        self.process.wait(SOON)
        self._reader.join(SOON)
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Started] = []

    def call(*arguments: str) -> Started:
        started.append(Started(tmp_path, *arguments))
        return started[-1]

    yield call
    for each in started:
        each.close()


def ask(port: int, host: str = HOME) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOME, port, timeout=SOON)
    try:
        connection.request("GET", "/", headers={"Host": host})
        with connection.getresponse() as reply:
            return reply.status, reply.read()
    finally:
        connection.close()


# --- from start to end


@POSIX
def test_the_page_is_served_until_ctrl_c_by_one_program_at_a_time(start: Start, tmp_path: Path) -> None:
    first = start()
    port = first.port()
    assert ask(port) == (200, b"the page")
    second = start()
    code, said = second.end()
    assert code == 2 and f"served already, at http://{HOME}:{port};" in "\n".join(said)
    assert ask(port) == (200, b"the page"), "the first goes on"
    first.process.send_signal(signal.SIGINT)
    code, said = first.end()
    assert code == 0 and "left 0 False" in said, "torch is not imported for a page"
    assert "streams ended" in said and "begun again at the next start" in "\n".join(said) and "Traceback" not in "\n".join(said)
    assert (tmp_path / "cache" / "log.txt").exists() and not (tmp_path / "data" / serve.SERVING).exists()


@POSIX
def test_a_killed_program_leaves_no_lock_and_a_manager_ends_it_in_order(start: Start) -> None:
    killed = start()
    killed.port()
    killed.process.kill()
    killed.process.wait(SOON)
    again = start()
    again.port()
    again.process.terminate()
    code, said = again.end()
    assert code == 0 and "left 0 False" in said and "Traceback" not in "\n".join(said)


@POSIX
def test_ctrl_c_twice_ends_at_once(start: Start) -> None:
    stuck = start("--stuck")
    stuck.port()
    stuck.process.send_signal(signal.SIGINT)
    stuck.wait_for("again to end at once")
    stuck.process.send_signal(signal.SIGINT)
    code, said = stuck.end()
    assert code == 130 and "Traceback" not in "\n".join(said)


def test_sharing_makes_the_owners_password_once(start: Start) -> None:
    shared = start("--share")
    name, password = shared.wait_for(r"Name: (\w+)")[1], shared.wait_for(r"Password: ([a-z0-9-]{23})")[1]
    port = shared.port()
    shared.wait_for(r"Everybody signs in, you too: as owner")
    shared.wait_for(r"Shared at https://abc\.example")
    assert ask(port)[0] == ask(port, "abc.example")[0] == 401 and ask(port, "evil.example")[0] == 400
    connection = http.client.HTTPConnection(HOME, port, timeout=SOON)
    headers = {"Host": "abc.example", "Origin": "https://abc.example"}
    connection.request("POST", "/login", f"name={name}&password={password}", headers)
    with connection.getresponse() as reply:
        assert reply.status == 303 and "__Host-webui" in (reply.headers["Set-Cookie"] or "")
    connection.close()
    shared.close()
    again = start("--share")
    again.port()
    again.wait_for("Shared at")
    assert "Password" not in "\n".join(again.said)


# --- what it is told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "0"], "Port was 0"),
        (["--port", "70000"], "Port was 70000"),
        (["--port", "x"], "--port"),
        (["--models-from", "nowhere"], "where no folder is"),
        (["--shar"], "did you mean --share"),
        (["page"], "was not expected here"),
        (["--listen", "192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--output", "file/x"], "cannot be written to"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["serve", *arguments], tmp_path) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("")
    assert main(["serve"], tmp_path) == 1
    assert "Nothing can be written in" in capsys.readouterr().err


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    database = Database(tmp_path / "webui.sqlite3")
    yield Users(database, hasher=Hasher(Cost(n=16, r=1, p=1)))
    database.close()


def test_working_alone_needs_no_account(users: Users, capsys: pytest.CaptureFixture[str]) -> None:
    make_accounts(read_options([]), users)
    assert not users.has_passwords() and capsys.readouterr().err == ""


@pytest.mark.parametrize("opening", [["--share"], ["--listen"], ["--listen", "192.0.2.1"], ["--sign-in"], ["--host-name", "box"]])
def test_whatever_lets_others_in_makes_the_owners_account(
    users: Users, opening: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    make_accounts(read_options(opening), users)
    said = capsys.readouterr().err
    password = re.search(r"Password: (\S+)", said)
    assert password is not None and users.session(users.sign_in("owner", password[1], HOME, "")) == users.get(OWNER_ID)
    make_accounts(read_options(opening), users)
    assert capsys.readouterr().err == ""


def test_accounts_and_new_passwords_are_made_and_shown(users: Users, capsys: pytest.CaptureFixture[str]) -> None:
    make_accounts(read_options(["--add-user", "Anna", "--add-user", "Bert"]), users)
    first = dict(re.findall(r"Name: (\w+)\n  Password: (\S+)", capsys.readouterr().err))
    assert set(first) == {"Anna", "Bert"} and not any(user.owner for user in users.all()[1:])
    make_accounts(read_options(["--new-password", "anna"]), users)
    second = dict(re.findall(r"Name: (\w+)\n  Password: (\S+)", capsys.readouterr().err))
    assert set(second) == {"Anna"} and users.sign_in("Anna", second["Anna"], HOME, "")
    with pytest.raises(UserError, match="wrong"):
        users.sign_in("Anna", first["Anna"], HOME, "")
    with pytest.raises(UserError, match="There is no account 'Carl'"):
        make_accounts(read_options(["--new-password", "Carl"]), users)
    with pytest.raises(UserError, match="is taken"):
        make_accounts(read_options(["--add-user", "anna"]), users)


@pytest.mark.parametrize(
    ("arguments", "signs_in", "any_address", "name", "known"),
    [
        ([], False, False, "box.lan", False),
        (["--share"], True, False, "box.lan", False),
        (["--sign-in"], True, False, "box.lan", False),
        (["--host-name", "Box.LAN"], True, False, "box.lan", True),
        (["--listen"], True, True, "box.lan", False),
        (["--listen", "192.0.2.1", "--host-name", "box.lan"], True, False, "192.0.2.1", True),
    ],
)
def test_how_the_server_may_be_reached(arguments: list[str], signs_in: bool, any_address: bool, name: str, known: bool) -> None:
    with listen(HOME, 0) as listening:
        entrance = entrance_for(read_options(arguments), listening, None)
        assert (entrance.everyone_signs_in, entrance.any_address) == (signs_in, any_address)
        assert entrance.port == listening.getsockname()[1] and entrance.allows(name, None) is known
        assert entrance.allows("localhost", None) and not entrance.allows("evil.example", None)


@pytest.mark.parametrize("opening", [["--share"], ["--listen"], ["--host-name", "box"]])
def test_nothing_is_installed_while_others_can_come_unless_the_console_says_so(opening: list[str]) -> None:
    with listen(HOME, 0) as listening:
        for arguments, installing in (([], True), (opening, False), ([*opening, "--allow-installing"], True)):
            assert entrance_for(read_options(arguments), listening, None).installing is installing


def test_extensions_that_are_left_out_are_named_in_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "broken", "raise RuntimeError('never read')\n")
    for safe_mode, why in ((True, "The program was started in safe mode"), (False, "RuntimeError: never read")):
        with open_studio(tmp_path, engine=PretendEngine(), shelf=Shelf(tmp_path, safe_mode=safe_mode)) as studio:
            serve.report(studio)
            assert studio.resolver.extensions.samplers.keys() > {"Euler"} and "samplers" in studio.shelf.now.versions
        said = capsys.readouterr().err
        assert "The extension broken is left out: " in said and why in said


def test_what_is_said_when_others_can_come(
    users: Users, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.api.server.addresses_of_this_machine", lambda: ["192.0.2.1"])
    with listen(HOME, 0) as listening:
        port = listening.getsockname()[1]
        here: dict[str, Any] = {"listening": listening, "port": port}
        announce(Site(**here, host=HOME, port_was_asked_for=False, entrance=Entrance()), users)
        said = capsys.readouterr().err
        assert f"Port 7860 is taken by another program; {port} is free." in said and f"http://127.0.0.1:{port} -" in said
        assert "signs in" not in said and "192.0.2.1" not in said
        announce(Site(**here, host=serve.EVERYWHERE, port_was_asked_for=True, entrance=Entrance(everyone_signs_in=True)), users)
        said = capsys.readouterr().err
        assert "is taken" not in said and f"On this network: http://192.0.2.1:{port}" in said and "as owner" in said


# --- the one door


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], ["serve"]),
        (["serve", "--share"], ["serve", "--share"]),
        (["--share"], ["serve", "--share"]),
        (["--torch", "cpu"], ["serve"]),
        (["--torch", "cpu", "--port", "9000"], ["serve", "--port", "9000"]),
        (["models", "list"], ["models", "list"]),
    ],
)
def test_launch_alone_starts_the_page(
    arguments: list[str], command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("launch", ROOT / "launch.py")
    assert spec is not None and spec.loader is not None
    launch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch)
    ran: list[list[str]] = []
    monkeypatch.setattr(launch, "run", lambda words, folder=None: ran.append(words) or 0)
    monkeypatch.setattr("webui.install.preparing.prepare", lambda *given: None)
    assert launch.dispatch(arguments) == 0 and ran == [["-m", "webui", *command]]
    assert ("Starting the page in the browser" in capsys.readouterr().err) == (arguments[:1] not in (["serve"], ["models"]))
