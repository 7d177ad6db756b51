"""What extensions do that they did not say they would: their use of network and files, heard of from Python itself.

An audit hook (PEP 578) hears of every file that is opened and every address that is connected to. The frames of the thread say
whose doing it is: the innermost frame of an extension, unless code of the program stands between, which was asked to do it. It is
told, not prevented: an extension has the rights of who runs the program.
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from webui.errors import one_line
from webui.service.extension_manifest import Manifest

LOG = logging.getLogger(__name__)
PROGRAM = str(Path(__file__).resolve().parents[1]) + os.sep
MOST_FINDINGS = 50  # of one extension
DEEPEST = 400  # frames that are looked at
LONGEST = 200  # characters of what is told of one
WRITING = ("w", "a", "x", "+")
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ADDRESSES: Mapping[str, tuple[str, int]] = {  # events of the network: what is said of them, and where the address is
    "socket.connect": ("connected to", 1), "socket.bind": ("listened at", 1), "socket.sendto": ("sent to", 1),
    "socket.getaddrinfo": ("looked up", 0), "socket.gethostbyname": ("looked up", 0),
}  # fmt: skip
CHANGES: Mapping[str, str] = {  # events of files that are changed
    "os.remove": "deleted", "os.rename": "renamed", "os.mkdir": "made the folder", "os.rmdir": "deleted the folder",
    "os.truncate": "shortened", "os.chmod": "changed the rights of", "os.link": "linked", "os.symlink": "linked",
    "shutil.rmtree": "deleted the folder", "sqlite3.connect": "opened",
}  # fmt: skip
PROGRAMS: Mapping[str, int] = {"subprocess.Popen": 0, "os.system": 0, "os.posix_spawn": 0, "os.exec": 0, "os.startfile": 0}
WATCHED = frozenset({"open", *ADDRESSES, *CHANGES, *PROGRAMS})
OF_EVERYBODY = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib/", "/System/", "/Library/")  # what any program reads


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that an extension did and did not declare: which permission it needed, what it was, and in which line."""

    permission: str
    what: str
    where: str


@dataclass(kw_only=True, eq=False)
class Watched:
    """An extension whose doings are heard of, and what was found."""

    name: str
    folder: str
    permissions: frozenset[str]
    own: tuple[str, ...]  # folders in which it may write
    readable: tuple[str, ...]
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)


class Audit:
    """Hears of what all code in the process does, and notes what extensions did not declare."""

    def __init__(self) -> None:
        self._watched: tuple[Watched, ...] = ()

    def add(self, manifest: Manifest, home: Path) -> Watched:
        """Hear of an extension from now on; its `home` folder and what it brings are its own."""
        folder = _place(manifest.folder) + os.sep
        watched = Watched(
            name=manifest.name, folder=folder, permissions=manifest.permissions, own=(_place(home) + os.sep,),
            readable=(folder, PROGRAM, *_python()),
        )  # fmt: skip
        self._watched = (*self._watched, watched)
        return watched

    def remove(self, watched: Watched) -> None:
        """Hear of it no more."""
        self._watched = tuple(each for each in self._watched if each is not watched)

    def heard(self, event: str, given: tuple[Any, ...]) -> None:
        """Called by Python at every event, in the thread where it happens; what it raises would be raised there."""
        if event not in WATCHED or not self._watched:
            return
        found = self._whose(sys._getframe(2))
        if found is None:
            return
        watched, frame = found
        said = _said(event, given, watched)
        if said is None or said[0] in watched.permissions or len(watched.findings) >= MOST_FINDINGS:
            return
        permission, what = said
        if (permission, what) not in watched.findings:
            line = f"{frame.f_code.co_filename.removeprefix(watched.folder)}:{frame.f_lineno}"
            watched.findings[permission, what] = Finding(permission=permission, what=what, where=line)
            LOG.warning('The extension %s %s (%s) without the permission "%s".', watched.name, what, line, permission)

    def _whose(self, frame: FrameType | None) -> tuple[Watched, FrameType] | None:
        """The extension whose code does it, and where."""
        watched, left = self._watched, DEEPEST
        while frame is not None and left:
            file = frame.f_code.co_filename
            if file.startswith(PROGRAM):
                return None
            for each in watched:
                if file.startswith(each.folder):
                    return each, frame
            frame, left = frame.f_back, left - 1
        return None


@cache
def audit() -> Audit:
    """The one of this process: an audit hook stays until the process ends."""
    made = Audit()

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in WATCHED:
            made.heard(event, given)

    sys.addaudithook(hook)
    return made


def _said(event: str, given: tuple[Any, ...], watched: Watched) -> tuple[str, str] | None:
    """The permission that an event needs and what is told of it; None where it needs none."""
    if event in ADDRESSES:
        verb, at = ADDRESSES[event]
        address = given[at] if at < len(given) else ""
        shown = ":".join(str(part) for part in address[:2]) if isinstance(address, tuple) else str(address)
        return "network", f"{verb} {_shown(shown)}"
    if event in PROGRAMS:
        return "files", f"started the program {_shown(str(given[0]) if given else '')}"
    path = _path(given[0]) if given else ""
    if not path:
        return None
    if event == "open":
        mode, flags = (given[1], given[2]) if len(given) > 2 else ("", 0)
        writes = any(sign in mode for sign in WRITING) if isinstance(mode, str) else bool(int(flags or 0) & WRITE_FLAGS)
        verb = "wrote to" if writes else "read"
    else:
        writes, verb = True, CHANGES[event]
    if f"{path}{os.sep}".startswith(watched.own) or _is_compiled(path, watched):
        return None
    if not writes and path.startswith(watched.readable):
        return None
    return "files", f"{verb} {_shown(path)}"


def _is_compiled(path: str, watched: Watched) -> bool:
    """Whether a file is what Python keeps of code that it imported."""
    return f"{os.sep}__pycache__" in path and path.startswith(watched.readable)


def _path(given: object) -> str:
    if isinstance(given, bytes):
        given = os.fsdecode(given)
    return _place(given) if isinstance(given, str | os.PathLike) else ""


def _place(path: Any) -> str:
    try:
        return str(os.path.realpath(path))
    except (OSError, ValueError):
        return ""


def _shown(text: str) -> str:
    return one_line(text)[:LONGEST]


@cache
def _python() -> tuple[str, ...]:
    """Where Python and its packages are, which importing reads."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {sys.prefix, sys.base_prefix}
    return tuple(_place(path) + os.sep for path in sorted(found)) + OF_EVERYBODY
