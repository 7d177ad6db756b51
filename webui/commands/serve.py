"""`launch.py`, `launch.py serve`: the page in the browser. What can be refused is refused before anything heavy is imported."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING

from webui import __version__
from webui.commands.terminal import Parser, end_at_once, say
from webui.errors import StorageError, UserError
from webui.install.environment import try_lock
from webui.service.folders import CACHE, DATA, own_folder
from webui.service.logs import LOG, logging_to

if TYPE_CHECKING:
    from webui.api.entrance import Entrance
    from webui.service.studio import Studio
    from webui.service.tunnel import Tunnel, TunnelState
    from webui.service.users import Users

DESCRIPTION = """Serve the page: open it in a browser, make pictures, keep them.

  launch.py
  launch.py serve --share

On this machine nobody needs to sign in. With --listen or --share everybody does, you too; the owner's password is made and shown
when it is first needed. Ctrl+C ends the program; pictures that are being made then are begun again at the next start."""
EVERYWHERE = "0.0.0.0"
HOME = "127.0.0.1"
LOCK, SERVING = "serving.lock", "serving.txt"  # in the data folder: held by who serves, and the address they serve at
UPLOADS = "uploads"  # in the cache folder: what Gradio keeps of what browsers send, while the program runs
DONE = 0


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where the page is served."""

    listening: socket
    host: str
    port: int
    port_was_asked_for: bool
    entrance: Entrance

    def address(self) -> str:
        """The address for a browser on this machine."""
        from webui.api.server import url

        return url(HOME if self.host in (EVERYWHERE, "::") else self.host, self.port)


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    options = read_options(arguments)
    try:
        with ExitStack() as stack:
            data, cache = own_folder(root, DATA), own_folder(root, CACHE)
            stack.enter_context(alone(data))
            stack.enter_context(logging_to(cache / LOG, "uvicorn", "gradio"))
            stack.enter_context(ended_like_ctrl_c())
            return serve(options, root, data, cache)
    except KeyboardInterrupt:  # before the page was served
        end_at_once()


def read_options(arguments: list[str]) -> argparse.Namespace:
    """What the command line says; `UserError` where it says what cannot be."""
    parser = Parser("serve", DESCRIPTION)
    add = parser.add_argument
    add("--port", type=int, metavar="N", help="Port to serve at. Default: 7860, or the next free one.")
    add("--listen", nargs="?", const=EVERYWHERE, metavar="ADDRESS", help="Serve to other machines too, or at one address.")
    add("--share", action="store_true", help="Make an address on the internet, by Gradio's tunnel, while this runs.")
    add("--sign-in", action="store_true", help="Have everybody sign in on this machine too, which others may use as well.")
    add("--host-name", action="append", default=[], metavar="NAME", help="Another name of this machine, such as a proxy's.")
    add("--output", type=Path, metavar="FOLDER", help="Where pictures go. Default: outputs/txt2img here.")
    add("--models-from", action="append", default=[], type=Path, metavar="PATH", help="Also use the models of another program.")
    add("--safe-mode", action="store_true", help="Start without the extensions that were added to the program.")
    add("--allow-installing", action="store_true", help="Let owners install extensions although others can reach the page.")
    add("--no-browser", action="store_true", help="Do not open the page in the browser.")
    add("--add-user", action="append", default=[], metavar="NAME", help="Make an account, and show its password.")
    add("--new-password", action="append", default=[], metavar="NAME", help="Make a new password for an account, and show it.")
    options = parser.read(arguments)
    if options.port is not None and not 0 < options.port < 65536:
        raise UserError(f"Port was {options.port}; it must be from 1 to 65535.")
    for folder in options.models_from:
        if not folder.is_dir():
            raise UserError(f"--models-from was {str(folder)!r}, where no folder is; name the one the other program is in.")
    if options.output is not None:
        from webui.service.gallery import check_folder

        check_folder(options.output)
    return options


def serve(options: argparse.Namespace, root: Path, data: Path, cache: Path) -> int:
    """Open everything, serve until somebody ends it, close everything."""
    say("Starting the page ...")
    from webui.api.server import gradio_environment, listen
    from webui.service.extension_shelf import Shelf
    from webui.service.studio import open_studio

    host = options.listen or HOME
    with listen(host, options.port) as listening:
        shutil.rmtree(cache / UPLOADS, ignore_errors=True)  # nobody may read them any more
        for name, value in gradio_environment(dict(os.environ), cache / UPLOADS).items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shelf = Shelf(root, safe_mode=options.safe_mode, marked=True)
        with open_studio(root, output=options.output, models_from=options.models_from, shelf=shelf) as studio:
            report(studio)
            make_accounts(options, studio.users)
            tunnel = make_tunnel(cache, host) if options.share else None
            site = Site(
                listening=listening, host=host, port=listening.getsockname()[1], port_was_asked_for=options.port is not None,
                entrance=entrance_for(options, listening, tunnel),
            )  # fmt: skip
            try:
                run(site, studio, data, browser=not options.no_browser)
            except KeyboardInterrupt:
                end_at_once_next_time(studio)  # first: what follows must not be interrupted and then waited for all the same
                say("\nEnding; what is being made now is begun again at the next start. Press Ctrl+C again to end at once.")
            finally:
                if tunnel is not None:
                    tunnel.end()
    return DONE


def report(studio: Studio) -> None:
    """Say which extensions are not loaded although they should be, and why."""
    for name, problem in studio.resolver.extensions.problems.items():
        say(f"The extension {name} is left out: {problem}")


def run(site: Site, studio: Studio, data: Path, *, browser: bool) -> None:
    """Build the application and serve it; ends with KeyboardInterrupt."""
    from webui.api.application import build
    from webui.api.server import AfterFirstPage, Server
    from webui.ui.page import mount

    application = build(studio, mount, site.entrance)
    app = AfterFirstPage(application, studio.engine.warm)
    address = site.address()

    def started() -> None:
        with suppress(OSError):
            (data / SERVING).write_text(address, encoding="utf-8")
        app.start()
        announce(site, studio.users)
        if site.entrance.tunnel is not None:
            site.entrance.tunnel.start(site.port)
        if browser:
            open_browser(address)

    try:
        Server(app, started, application.end).run(sockets=[site.listening])
    finally:
        app.close()
        with suppress(OSError):
            (data / SERVING).unlink(missing_ok=True)


def entrance_for(options: argparse.Namespace, listening: socket, tunnel: Tunnel | None) -> Entrance:
    """How the server may be reached, and whether everybody signs in."""
    from webui.api.entrance import Entrance
    from webui.api.server import names_when_listening

    names = options.host_name
    return Entrance(
        hosts=names_when_listening(options.listen, names) if options.listen else frozenset(name.lower() for name in names),
        any_address=options.listen in (EVERYWHERE, "::"),
        everyone_signs_in=everyone_signs_in(options),
        port=listening.getsockname()[1],
        tunnel=tunnel,
        installing=options.allow_installing or not (options.listen or options.share or options.host_name),
    )


def everyone_signs_in(options: argparse.Namespace) -> bool:
    """Whether others than those at this machine may get as far as the page."""
    return bool(options.listen or options.share or options.sign_in or options.host_name)


def make_accounts(options: argparse.Namespace, users: Users) -> None:
    """Make the accounts and passwords that were asked for, and the owner's where one is needed; each is shown this once."""
    from webui.service.users import OWNER_ID, new_password

    def show(name: str, password: str) -> None:
        say(f"\n  Name: {name}\n  Password: {password}\n  It is not shown again; on the page, Accounts changes it.\n")

    for name in options.add_user:
        password = new_password()
        show(users.create(name, password).name, password)
    for name in options.new_password:
        found = next((user for user in users.all() if user.name.casefold() == name.strip().casefold()), None)
        if found is None:
            raise UserError(f"There is no account {name!r}; --add-user makes one.")
        password = new_password()
        users.set_password(found.id, password)
        show(found.name, password)
    if everyone_signs_in(options) and not users.can_sign_in(OWNER_ID):
        password = new_password()
        users.set_password(OWNER_ID, password)
        say("Others can reach the page now, so everybody signs in. Your account:")
        show(users.get(OWNER_ID).name, password)


def make_tunnel(cache: Path, host: str) -> Tunnel:
    """The tunnel that --share opens; what becomes of it is said in the terminal."""
    from webui.api.share_server import prepare
    from webui.service.tunnel import OPEN, Tunnel

    def tell(state: TunnelState) -> None:
        say(f"Shared at {state.address} - {state.sentence}" if state.kind == OPEN else state.sentence)

    return Tunnel(partial(prepare, cache=cache, host=HOME if host in (EVERYWHERE, "::") else host), tell=tell)


def announce(site: Site, users: Users) -> None:
    """Say where the page is."""
    from webui.api.server import PORT, addresses_of_this_machine, url
    from webui.service.users import OWNER_ID

    if not site.port_was_asked_for and site.port != PORT:
        say(f"Port {PORT} is taken by another program; {site.port} is free.")
    say(f"Stable Diffusion web UI {__version__} is at {site.address()} - press Ctrl+C to end it.")
    if site.host == EVERYWHERE:
        for address in addresses_of_this_machine():
            say(f"On this network: {url(address, site.port)} - unencrypted: passwords can be read by whoever runs the network.")
    if site.entrance.everyone_signs_in:
        say(f"Everybody signs in, you too: as {users.get(OWNER_ID).name}. A forgotten password: --new-password NAME.")
    if site.entrance.tunnel is not None:
        say("Making the shared address ...")


def open_browser(address: str) -> None:
    """Open the page where there is a desktop; some browsers return only when they are closed, so in a thread."""
    from webui.api.server import desktop

    if desktop(dict(os.environ), sys.platform):
        threading.Thread(target=webbrowser.open, args=(address,), name="browser", daemon=True).start()


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system drops when its holder ends, however it ends; `UserError` where another has it."""
    try:
        file = (data / LOCK).open("a+")
    except OSError as error:
        raise StorageError(
            f"Nothing can be written in {data} ({error.strerror}); move the program to a folder of your own."
        ) from error
    with file:
        if not try_lock(file):
            where = ""
            with suppress(OSError):
                where = (data / SERVING).read_text(encoding="utf-8")
            raise UserError(
                f"The page of this folder is served already{f', at {where}' if where else ''}; end that program first."
            )
        yield


@contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Take the wishes of a service manager and of a closed terminal as Ctrl+C, unless whoever started us ignores them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ended(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in wishes()}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, ended)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wishes() -> list[signal.Signals]:
    """The signals by which somebody wants the program to end."""
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def end_at_once_next_time(studio: Studio) -> None:
    """Take the next of those signals as a wish not to wait any longer."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        studio.shelf.watch.close()  # whoever is at work now did not end the program
        end_at_once()

    if threading.current_thread() is threading.main_thread():
        for number in wishes():
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)
