"""The virtual environment beside launch.py: whether it is ready (asked at every start, so in a millisecond), and making it.

Everything needed to run is in `.venv`; its stamp says what was installed, and is written last. As long as the stamp fits,
a start reads three small files, installs nothing and opens no connection.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

from webui.errors import UserError, WebUIError

RUN_PINS = "requirements.txt"
TEST_PINS = "requirements-test.txt"
PIP_VERSION = "26.3"
SUPPORTED = ((3, 11), (3, 12), (3, 13))
STAMP = "webui-stamp.json"
UNFINISHED = "webui-unfinished"
PLAIN = "plain"  # a stamp's "source" where the ordinary index's torch stands in for a build whose own index did not answer
LOCK = ".venv.lock"
INDEX_SECONDS = 5.0
HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # what systems answer where another process has a lock
Say = Callable[[str], None]


class SetupError(WebUIError):
    """The environment could not be prepared; the message says what to do."""


def venv_folder(root: str) -> str:
    """Return the environment's folder."""
    return os.path.join(root, ".venv")


def venv_python(root: str, platform: str = sys.platform) -> str:
    """Return the environment's interpreter."""
    parts = ("Scripts", "python.exe") if platform == "win32" else ("bin", "python")
    return os.path.join(venv_folder(root), *parts)


def read_stamp(root: str) -> dict[str, str]:
    """Return what was installed, empty if nothing was finished."""
    try:
        with open(os.path.join(venv_folder(root), STAMP), encoding="utf-8") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def digest(path: str) -> str:
    """Return a file's content hash, the same whatever git did to its line ends."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read().replace(b"\r\n", b"\n")).hexdigest()


def read_config(root: str) -> dict[str, str]:
    """Return the environment's pyvenv.cfg."""
    try:
        with open(os.path.join(venv_folder(root), "pyvenv.cfg"), encoding="utf-8") as file:
            pairs = (line.partition("=") for line in file)
            return {key.strip().lower(): value.strip() for key, _, value in pairs}
    except OSError:
        return {}


def venv_problem(root: str, python: tuple[int, int] = sys.version_info[:2]) -> str | None:
    """Return why `.venv` cannot be used as it is, or None; "" if there is none at all.

    A finished environment keeps its own Python, whichever one launch.py is started with.
    """
    folder, interpreter, stamp = venv_folder(root), venv_python(root), read_stamp(root)
    if not os.path.lexists(folder):
        return ""
    config = read_config(root)
    version = ".".join(config.get("version", config.get("version_info", "")).split(".")[:2])
    if not os.path.exists(interpreter) or not os.path.isdir(config.get("home", "")):
        return "the Python it was made with is gone"
    if stamp and stamp.get("location") != os.path.realpath(folder):
        return "this folder was moved or copied"
    if stamp and stamp.get("interpreter") != os.path.realpath(interpreter):
        return "the Python it was made with was replaced"
    if version not in [f"{major}.{minor}" for major, minor in SUPPORTED]:
        return f"it was made with Python {version or 'of unknown version'}"
    if not stamp and version != f"{python[0]}.{python[1]}":
        return f"it was made with Python {version} and never finished"
    if not stamp and not has_pip(folder, version):
        return "it has no pip, because its making was interrupted or another program made it"
    return None


def has_pip(folder: str, version: str) -> bool:
    """Tell whether an environment got as far as holding pip."""
    sites = (("lib", f"python{version}", "site-packages"), ("Lib", "site-packages"))
    return any(os.path.exists(os.path.join(folder, *site, "pip", "__main__.py")) for site in sites)


def is_ready(root: str, pins: Sequence[str], torch: str | None = None) -> bool:
    """Tell whether everything in the files `pins` is installed and the torch build is the one wanted (None: any).

    "auto" is never ready, because only looking at the machine again can tell; nor is a build that was asked for while the plain
    package stands in for it, because its index may answer now.
    """
    stamp = read_stamp(root)
    if not stamp or venv_problem(root) is not None or torch not in (None, stamp.get("backend")):
        return False
    if torch is not None and stamp.get("source") == PLAIN:
        return False
    return all(stamp.get(name) == digest(os.path.join(root, name)) for name in pins)


def child_environment(root: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to run the environment's Python with: only its own packages and this folder can be imported."""
    # Packages are installed without bytecode, which the first start writes; without it each start takes four seconds more.
    python = ("PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "__PYVENV_LAUNCHER__")
    dropped = (*python, "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    kept = {name: value for name, value in environ.items() if name not in dropped}
    return kept | {"PYTHONPATH": root, "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}


@contextlib.contextmanager
def locked(root: str, say: Say, patience: float = 0.5) -> Iterator[None]:
    """Hold the lock that lets one launch install at a time; the system drops it when its holder ends, however it ends.

    Some network disks have no locks; there it says so and goes on without.
    """
    path = os.path.join(root, LOCK)
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "a+", encoding="utf-8"))
        except OSError as error:
            why = f"Nothing can be written in {root} ({error.strerror})"
            raise SetupError(f"{why}; move the project to a folder of your own.") from error
        try:
            told = False
            while not try_lock(file):
                if not told:
                    say("Another launch is installing the packages; waiting for it ...")
                told = True
                time.sleep(patience)
        except OSError as error:
            say(f"The disk of {root} cannot lock files ({error.strerror}); start nothing else here until this is done.")
        yield


def try_lock(file: IO[str]) -> bool:
    """Take the lock on an open file if nobody has it; raises OSError where files cannot be locked at all."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise
    return True


def write_stamp(root: str, stamp: Mapping[str, str]) -> None:
    """Write down what is installed now, whole or not at all."""
    folder = venv_folder(root)
    place = {"location": os.path.realpath(folder), "interpreter": os.path.realpath(venv_python(root))}
    path = os.path.join(folder, STAMP)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump({**stamp, **place}, file, indent=1)
    os.replace(path + ".new", path)


def take_option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Take `--name VALUE` or `--name=VALUE` out of a command line, wherever it stands before a lone `--`.

    Raises UserError if the value is missing.
    """
    rest, value = list(arguments), None
    end = rest.index("--") if "--" in rest else len(rest)
    for at in range(end):
        if rest[at] == name:
            if at + 1 >= end:
                raise UserError(f"{name} needs a value after it.")
            return rest[at + 1], rest[:at] + rest[at + 2 :]
        if rest[at].startswith(name + "="):
            return rest[at].partition("=")[2], rest[:at] + rest[at + 1 :]
    return value, rest
