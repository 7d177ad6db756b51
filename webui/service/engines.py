"""The engine as the worker sees it: plain data in and out, so that it can be a thread, another process or another machine."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from webui.engine.events import LAST, Event, Failed, Preview, supersedes
from webui.errors import UserError
from webui.request import Request
from webui.service.logs import fault

if TYPE_CHECKING:  # importing torch takes seconds, which the engine's own thread spends
    from webui.engine.log import EventStream
    from webui.service.opening import Service


class EngineHandle(Protocol):
    """Makes pictures of requests. Every method but `next` and `close` returns at once; all may be called from any thread.

    `key` names a request for as long as it runs. What concerns a key that is not running is ignored. Events are those of
    `webui.engine.events`; each key's end with exactly one of `LAST`. Previews are made only of what is watched.
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


class Followed:
    """A request in the engine: its job there, and the stream of previews while it is watched."""

    def __init__(self, job: str) -> None:
        self.job = job
        self.previews: EventStream | None = None


class ThreadEngine:
    """The engine in this process. A thread opens it, torch included, when it is warmed or gets its first request.

    That thread carries out what is asked for, one thing after the other; one more for each request reads its events. `memory`
    tells, when it is opened, how many megabytes models may take; 0 leaves that to it.
    """

    def __init__(
        self, root: Path, *, models_from: Sequence[Path] = (), exact: bool = False, memory: Callable[[], int] = lambda: 0
    ) -> None:
        self._open_service: Callable[[], Service] = lambda: open_service(root, models_from, exact, memory())
        self._closing = False
        self._wishes: queue.SimpleQueue[tuple[str, Callable[[], None]]] = queue.SimpleQueue()
        self._outbox = Outbox()
        self._service: Service | None = None  # this and what follows belong to the thread
        self._followed: dict[str, Followed] = {}
        self._thread = threading.Thread(target=self._loop, name="engine's door", daemon=True)
        self._thread.start()

    def warm(self) -> None:
        """Import torch and open the engine; models are loaded when they are first used."""
        self._wishes.put(("", self._open))

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        """Begin a request."""
        self._outbox.open(key)
        self._wishes.put((key, lambda: self._submit(key, request)))

    def next(self, timeout: float | None = None) -> tuple[str, Event] | None:
        """The next event."""
        return self._outbox.next(timeout)

    def watch(self, key: str, on: bool) -> None:
        """Make previews, or no more."""
        self._wishes.put(("", lambda: self._watch(key, on)))

    def interrupt(self, key: str) -> None:
        """End a request with its pictures as they are now."""
        self._wish(key, lambda service, job: service.engine.interrupt(job))

    def skip(self, key: str, picture: int | None = None) -> None:
        """Drop one picture."""
        self._wish(key, lambda service, job: service.engine.skip(job, picture))

    def cancel(self, key: str) -> None:
        """Drop a request."""
        self._wish(key, lambda service, job: service.engine.cancel(job))

    def close(self) -> None:
        """End after the call that is being made."""
        self._closing = True
        self._wishes.put(("", lambda: None))
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._outbox.close()

    # In the thread.

    def _loop(self) -> None:
        while True:
            key, carry_out = self._wishes.get()
            if self._closing:
                break
            try:
                carry_out()
            except Exception as error:  # noqa: BLE001  the edge of a job
                told = fault(error, "This job" if key else "Starting the engine")
                by_request = isinstance(error, UserError)
                self._outbox.put(key, Failed(job=key, sentence=told.sentence, error_id=told.error, by_request=by_request))
        if self._service is not None:
            self._service.close()

    def _open(self) -> None:
        if self._service is None:
            self._service = self._open_service()

    def _submit(self, key: str, plain: Mapping[str, Any]) -> None:
        self._open()
        assert self._service is not None
        engine = self._service.engine
        followed = self._followed[key] = Followed(engine.submit(Request.from_dict(plain)))
        self._read(key, followed, engine.events(followed.job), previews=False)

    def _watch(self, key: str, on: bool) -> None:
        followed = self._followed.get(key)
        if followed is None or self._service is None:
            return
        if followed.previews is not None:
            followed.previews.close()
            followed.previews = None
        if on:
            followed.previews = self._service.engine.events(followed.job, previews=True)
            self._read(key, followed, followed.previews, previews=True)

    def _wish(self, key: str, carry_out: Callable[[Service, str], None]) -> None:
        def if_running() -> None:
            followed = self._followed.get(key)
            if followed is not None and self._service is not None:
                with contextlib.suppress(UserError):  # it has ended, and was forgotten
                    carry_out(self._service, followed.job)

        self._wishes.put(("", if_running))

    def _forget(self, key: str, followed: Followed) -> None:
        if self._followed.get(key) is followed:  # not another request, which has got the key since
            del self._followed[key]
        if self._service is not None:
            if followed.previews is not None:
                followed.previews.close()
                followed.previews = None
            self._service.engine.forget(followed.job)

    # In a thread of each stream.

    def _read(self, key: str, followed: Followed, stream: EventStream, *, previews: bool) -> None:
        def read() -> None:
            for event in stream:
                if isinstance(event, Preview) == previews:
                    self._outbox.put(key, event)
                if isinstance(event, LAST) and not previews:
                    self._wishes.put(("", lambda: self._forget(key, followed)))

        threading.Thread(target=read, name=f"events of {key}", daemon=True).start()


def open_service(root: Path, models_from: Sequence[Path], exact: bool, memory_megabytes: int) -> Service:
    """Import torch, which takes seconds, and open the engine of a folder."""
    from webui.service.opening import open_engine

    return open_engine(root, models_from=models_from, exact=exact, memory_megabytes=memory_megabytes)
