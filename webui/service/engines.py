"""The engine as the worker sees it: plain data in and out, so that it can be a thread, another process or another machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from webui.engine.events import Event


class EngineHandle(Protocol):
    """Makes pictures of requests. Every method but `next` returns at once and may be called from any thread.

    `key` names a request for as long as it runs. What concerns a key that is not running is ignored. Events are those of
    `webui.engine.events`; each key's end with exactly one of `LAST`.
    """

    def warm(self) -> None:
        """Begin with what takes long before the first picture."""

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        """Begin a request (`Request.to_dict`)."""

    def next(self, timeout: float | None = None) -> tuple[str, Event] | None:
        """The next event and the key it belongs to; None where none came within `timeout` seconds, or after `close`."""

    def watch(self, key: str, on: bool) -> None:
        """Make previews of a request, or no more."""

    def interrupt(self, key: str) -> None:
        """End a request with its pictures as they are now."""

    def skip(self, key: str, picture: int | None = None) -> None:
        """Drop one picture, or those being made now."""

    def cancel(self, key: str) -> None:
        """Drop a request."""

    def close(self) -> None:
        """End; requests that run are cancelled."""


class ThreadEngine:
    """The engine in this process: a thread imports torch and opens it when it is first needed."""

    def __init__(self, root: Path, *, exact: bool = False) -> None:
        self._root = root
        self._exact = exact

    def warm(self) -> None:
        """Import torch."""

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        """Begin a request."""

    def next(self, timeout: float | None = None) -> tuple[str, Event] | None:
        """The next event."""
        time.sleep(timeout or 0)
        return None

    def watch(self, key: str, on: bool) -> None:
        """Make previews."""

    def interrupt(self, key: str) -> None:
        """End a request."""

    def skip(self, key: str, picture: int | None = None) -> None:
        """Drop a picture."""

    def cancel(self, key: str) -> None:
        """Drop a request."""

    def close(self) -> None:
        """End."""
