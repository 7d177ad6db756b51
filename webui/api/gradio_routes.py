"""Which of Gradio's own routes the page needs; the others are not there for anybody.

Gradio comes with a proxy for any address, a reader of files, descriptions of all the page can do, an editor that runs code, and
more. What is open is listed here; a route of a later version is closed until somebody puts it on the list.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

READ, WRITE = ("GET", "HEAD"), ("POST",)
OURS = {"/login": (*READ, *WRITE), "/logout": WRITE, "/accounts": (*READ, *WRITE), "/robots.txt": READ}
FILE = "/gradio_api/file="
UPLOAD = "/gradio_api/upload"
NAMES = "/x/styles/"  # followed by a name as somebody chose it, which no file has
OPEN: tuple[tuple[tuple[str, ...], str], ...] = (
    (READ, r"/"),
    (READ, r"/config/?"),
    (READ, r"/theme\.css|/gradio_api/theme\.css|/favicon\.ico|/manifest\.json|/pwa_icon(/\d+)?"),
    (READ, r"/(assets|static)/[\w./@ +-]{1,200}"),
    (READ, r"/gradio_api/(app_id|queue/data|upload_progress)/?"),
    (READ, r"/gradio_api/heartbeat/\w+"),
    (READ, re.escape(FILE) + r".+"),
    (WRITE, r"/gradio_api/(queue/join|run/\w+|cancel|reset|upload)/?"),
)
TELLING = re.compile(r"/gradio_api/(queue/join|run/\w+|cancel|reset)/?")  # routes whose JSON names a session
CALLING = re.compile(r"/gradio_api/(queue/(join|data)|run/\w+|cancel|reset|heartbeat/\w+)/?")  # for handlers on the server only
HEARTBEAT = re.compile(r"/gradio_api/heartbeat/(\w+)")
MOST_PAGES = 20_000  # pages whose user is remembered
LONGEST_HASH = 100
LONGEST_PATH = 4000


def is_ours(path: str) -> bool:
    """Whether the path is one of this program's routes rather than one of Gradio's."""
    return path.startswith("/x/") or path in OURS


def is_open(method: str, path: str) -> bool:
    """Whether the page needs that route of Gradio's."""
    return any(method in methods and re.fullmatch(pattern, path) for methods, pattern in OPEN)


def is_odd(path: str) -> bool:
    """Whether a path, without its escapes, is written as no page of ours writes it, and might be read as another path."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path) or not path.startswith("/"):
        return True
    if len(path) > LONGEST_PATH:
        return True
    if path.startswith(NAMES):
        return False
    name = path.removeprefix(FILE)
    if {".", ".."} & set(re.split(r"[/\\]", name)):
        return True
    if path.startswith(FILE):
        return False  # which files may be read is a list of whole names
    return "//" in path or "\\" in path or re.search(r"%(2f|5c|2e)", path, re.IGNORECASE) is not None


def session_named(path: str, query: bytes) -> str | None:
    """The Gradio session, one page in one browser, that an address names; None where it names none."""
    if beat := HEARTBEAT.fullmatch(path):
        return beat[1]
    if path.startswith("/gradio_api/queue/data"):
        return parse_qs(query.decode("latin-1")).get("session_hash", [""])[-1]
    return None


def session_told(body: bytes) -> str | None:
    """The Gradio session that a body names; None where it is no JSON object or names none."""
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    told = content.get("session_hash") if isinstance(content, Mapping) else None
    return told if isinstance(told, str) else None


class Pages:
    """Whose the pages open in browsers are: a page is of who used its name first, and nobody else hears or steers it."""

    def __init__(self, most: int = MOST_PAGES) -> None:
        self._owners: OrderedDict[str, int] = OrderedDict()
        self._most = most
        self._turn = threading.Lock()

    def may(self, user: int, session: str | None) -> bool:
        """Whether the user may use that page; None is nobody's page."""
        if session is None:
            return True
        if not 0 < len(session) <= LONGEST_HASH:
            return False
        with self._turn:
            owner = self._owners.setdefault(session, user)
            self._owners.move_to_end(session)
            if len(self._owners) > self._most:
                self._owners.popitem(last=False)
        return owner == user


class Readable:
    """Which files Gradio may send to whom: those that a user uploaded, and those that were granted by name."""

    def __init__(self) -> None:
        self._users: dict[str, set[int]] = {}
        self._turn = threading.Lock()

    def grant(self, user: int, paths: Iterable[str]) -> None:
        """Let the user read these files."""
        with self._turn:
            for path in paths:
                self._users.setdefault(_slashes(path), set()).add(user)

    def revoke(self, user: int, path: str) -> bool:
        """Take that back; returns whether nobody may read the file any more."""
        with self._turn:
            users = self._users.get(_slashes(path), set())
            users.discard(user)
            if not users:
                self._users.pop(_slashes(path), None)
            return not users

    def may(self, user: int, path: str) -> bool:
        """Whether the user may read that file; a name that is not written exactly as it was granted is no file."""
        with self._turn:
            return user in self._users.get(_slashes(path), ())


def _slashes(path: str) -> str:
    return path.replace("\\", "/")  # as browsers write them in addresses
