"""The events of one job, written by the engine and read by any number of threads."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from webui.engine.events import LAST, Event, Preview, supersedes


class Log:
    """The events of a job in order, without those that newer ones made pointless. Safe from any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.watchers = 0
        self.ended = False
        self.read_to_end = False
        self._events: list[tuple[int, Event]] = []
        self._count = 0

    def add(self, event: Event) -> None:
        """Append; whatever comes after the last event is ignored."""
        with self.changed:
            if self.ended:
                return
            self._count += 1
            self._events = [(number, old) for number, old in self._events if not supersedes(event, old)]
            self._events.append((self._count, event))
            self.ended = isinstance(event, LAST)
            self.changed.notify_all()

    def after(self, number: int, previews: bool) -> tuple[int, Event] | None:
        """The first event later than `number`, if there is one; the caller holds `changed`."""
        wanted = (entry for entry in self._events if entry[0] > number)
        return next((entry for entry in wanted if previews or not isinstance(entry[1], Preview)), None)


class EventStream:
    """A reader of one job's events from the beginning; iterate over it, or call `next` with a timeout.

    With `previews` it also gets previews, which are only made while such a stream is open: close it, or use `with`.
    """

    def __init__(self, log: Log, previews: bool = False) -> None:
        self._log = log
        self._previews = previews
        self._seen = 0
        self._closed = False
        with log.changed:
            log.watchers += previews

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event, or None where none came within `timeout` seconds (None: wait for ever) or the stream is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._log.changed:
            while not self._closed:
                entry = self._log.after(self._seen, self._previews)
                if entry is not None:
                    self._seen = entry[0]
                    if isinstance(entry[1], LAST):
                        self._log.read_to_end = True
                        self._close()
                    return entry[1]
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._log.changed.wait(left)
        return None

    def close(self) -> None:
        """Stop reading; a thread that waits in `next` gets None."""
        with self._log.changed:
            self._close()
            self._log.changed.notify_all()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._log.watchers -= self._previews

    def __iter__(self) -> EventStream:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
