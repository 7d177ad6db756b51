"""What an engine tells, on its way to who reads it."""

from __future__ import annotations

import threading
from collections import deque

from webui.engine.events import LAST, Event, supersedes


class Outbox:
    """Events of several requests in order, without those that newer ones made pointless; one reader, any number of writers.

    A key's events are taken from `open` to its last, of which there is only one. After `close` there are none, whatever writers
    that have not heard of it still put in.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._changed = threading.Condition()
        self._events: deque[tuple[str, Event]] = deque()
        self._closed = False

    def open(self, key: str) -> None:
        """Expect events of a key."""
        with self._changed:
            self._open.add(key)

    def put(self, key: str, event: Event) -> None:
        """Add an event."""
        with self._changed:
            if self._closed or key not in self._open:
                return
            if isinstance(event, LAST):
                self._open.remove(key)
            old = next((entry for entry in self._events if entry[0] == key and supersedes(event, entry[1])), None)
            if old is not None:
                self._events.remove(old)
            self._events.append((key, event))
            self._changed.notify()

    def next(self, timeout: float | None = None) -> tuple[str, Event] | None:
        """The oldest event, which is taken out; None after `timeout` seconds without one, or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed, timeout)
            return self._events.popleft() if self._events else None

    def close(self) -> None:
        """Keep nobody waiting any more."""
        with self._changed:
            self._closed = True
            self._events.clear()
            self._changed.notify_all()
