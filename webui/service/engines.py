"""The engine as the worker sees it: plain data in and out, so that it can be a thread, another process or another machine.

What an extension holds up is left behind: its job fails, another engine is opened, and the jobs of others begin again in it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from webui.engine.events import LAST, Cancelled, Event, Failed, Interrupted, Notice, Picture, Preview, Skipped
from webui.errors import UserError
from webui.request import Request
from webui.service.extension_shelf import Shelf
from webui.service.extension_watch import Entry
from webui.service.logs import fault
from webui.service.outbox import Outbox
from webui.service.picture_texts import taking_part

if TYPE_CHECKING:  # importing torch takes seconds, which the engine's own thread spends
    from webui.engine.log import EventStream
    from webui.service.opening import Service


LOOK_SECONDS = 0.2  # between looks whether an engine that is waited for was left behind
AGAIN = "An extension in another job held everything up, so what was not finished here is begun again."


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


@dataclass(kw_only=True, eq=False)
class Followed:
    """A request in the engine, whichever that is by now: what was wished of it, and which of its pictures are settled.

    `job` and `request` are what the engine that has it knows it by, `previews` the stream of them while it is watched.
    """

    plain: Mapping[str, Any]
    watched: bool = False
    interrupted: bool = False
    cancelled: bool = False
    settled: set[int] = field(default_factory=set)
    pictures: int = 0
    job: str = ""
    request: Request | None = None
    previews: EventStream | None = None
    release: Callable[[], None] | None = None


Told = Callable[["OneEngine", str, Followed, Event], None]
Begun = Callable[[str, Followed], None]


class OneEngine:
    """One engine and the thread that opens it, torch included, and then carries out what is asked for, one after the other.

    One more thread for each request reads its events and tells them. `begun` is told of each request before the engine is.
    """

    def __init__(self, open_service: Callable[[], Service], told: Told, begun: Begun) -> None:
        self._open_service = open_service
        self._told = told
        self._begun = begun
        self._closing = self._left_behind = False
        self._wishes: queue.SimpleQueue[tuple[str, Followed | None, Callable[[], None]]] = queue.SimpleQueue()
        self._service: Service | None = None  # this and what follows belong to the thread
        self._thread = threading.Thread(target=self._loop, name="engine's door", daemon=True)
        self._thread.start()

    def warm(self) -> None:
        """Import torch and open the engine."""
        self._wishes.put(("", None, self._open))

    def submit(self, key: str, followed: Followed) -> None:
        """Begin a request; what of it is settled is not made again."""
        self._wishes.put((key, followed, lambda: self._submit(key, followed)))

    def watch(self, key: str, followed: Followed, on: bool) -> None:
        """Make previews of a request, or no more."""
        self._wishes.put(("", None, lambda: self._watch(key, followed, on)))

    def wish(self, followed: Followed, carry_out: Callable[[Service, str], None]) -> None:
        """Do something about a request, if it runs."""

        def if_running() -> None:
            if followed.job and self._service is not None:
                with contextlib.suppress(UserError):  # it has ended, and was forgotten
                    carry_out(self._service, followed.job)

        self._wishes.put(("", None, if_running))

    def forget(self, followed: Followed) -> None:
        """Let go of a request that has ended."""
        self._wishes.put(("", None, lambda: self._forget(followed)))

    def close(self) -> None:
        """End after the call that is being made."""
        self._closing = True
        self._wishes.put(("", None, lambda: None))
        while self._thread.is_alive() and self._thread is not threading.current_thread() and not self._left_behind:
            self._thread.join(LOOK_SECONDS)

    def leave_behind(self) -> None:
        """End it without waiting: it may never come back from what it is doing."""
        self._closing = self._left_behind = True
        if self._service is not None:
            self._service.engine.abandon()
        self._wishes.put(("", None, lambda: None))

    # In the thread.

    def _loop(self) -> None:
        while True:
            key, followed, carry_out = self._wishes.get()
            if self._closing:
                break
            try:
                carry_out()
            except Exception as error:  # noqa: BLE001  the edge of a job
                told = fault(error, "This job" if key else "Starting the engine")
                if followed is not None:
                    by_request = isinstance(error, UserError)
                    failed = Failed(job=key, sentence=told.sentence, error_id=told.error, by_request=by_request)
                    self._told(self, key, followed, failed)
        if self._service is not None and not self._left_behind:
            self._service.close()

    def _open(self) -> None:
        if self._service is None:
            self._service = self._open_service()

    def _submit(self, key: str, followed: Followed) -> None:
        self._open()
        assert self._service is not None
        engine = self._service.engine
        followed.request = request = Request.from_dict(followed.plain)
        self._begun(key, followed)
        followed.job = engine.submit(request)
        for picture in sorted(followed.settled):
            engine.skip(followed.job, picture)
        self._read(key, followed, engine.events(followed.job), previews=False)
        if followed.watched:
            self._watch(key, followed, True)

    def _watch(self, key: str, followed: Followed, on: bool) -> None:
        if not followed.job or self._service is None:
            return
        if followed.previews is not None:
            followed.previews.close()
            followed.previews = None
        if on:
            followed.previews = self._service.engine.events(followed.job, previews=True)
            self._read(key, followed, followed.previews, previews=True)

    def _forget(self, followed: Followed) -> None:
        if self._service is not None and followed.job:
            if followed.previews is not None:
                followed.previews.close()
                followed.previews = None
            self._service.engine.forget(followed.job)

    # In a thread of each stream.

    def _read(self, key: str, followed: Followed, stream: EventStream, *, previews: bool) -> None:
        def read() -> None:
            for event in stream:
                if isinstance(event, Preview) == previews:
                    self._told(self, key, followed, event)

        threading.Thread(target=read, name=f"events of {key}", daemon=True).start()


class ThreadEngine:
    """The engine in this process, opened when it is warmed or gets its first request.

    `memory` tells, when it is opened, how many megabytes models may take; 0 leaves that to it. `shelf` has the extensions that
    are used; when one of them holds the engine up, another one is opened in its place.
    """

    def __init__(
        self, root: Path, *, models_from: Sequence[Path] = (), exact: bool = False, memory: Callable[[], int] = lambda: 0,
        shelf: Shelf | None = None,
    ) -> None:  # fmt: skip
        self._open_service: Callable[[], Service] = lambda: open_service(root, models_from, exact, memory(), self._shelf)
        self._shelf: Shelf | None = None
        self._outbox = Outbox()
        self._lock = threading.RLock()
        self._closing = False
        self._followed: dict[str, Followed] = {}
        self._engine = OneEngine(self._open_service, self._hear, self._begun)
        if shelf is not None:
            self.use(shelf)

    def use(self, shelf: Shelf) -> None:
        """Use the extensions of a shelf, before the first request."""
        self._shelf = shelf
        shelf.watch.listeners.append(self.held_up)

    def warm(self) -> None:
        """Import torch and open the engine; models are loaded when they are first used."""
        self._engine.warm()

    def submit(self, key: str, request: Mapping[str, Any]) -> None:
        """Begin a request."""
        self._outbox.open(key)
        with self._lock:
            followed = self._followed[key] = Followed(plain=request)
            self._engine.submit(key, followed)

    def next(self, timeout: float | None = None) -> tuple[str, Event] | None:
        """The next event."""
        return self._outbox.next(timeout)

    def watch(self, key: str, on: bool) -> None:
        """Make previews, or no more."""
        with self._lock:
            if (followed := self._followed.get(key)) is not None:
                followed.watched = on
                self._engine.watch(key, followed, on)

    def interrupt(self, key: str) -> None:
        """End a request with its pictures as they are now."""
        with self._lock:
            if (followed := self._followed.get(key)) is not None:
                followed.interrupted = True
                self._engine.wish(followed, lambda service, job: service.engine.interrupt(job))

    def skip(self, key: str, picture: int | None = None) -> None:
        """Drop one picture."""
        with self._lock:
            if (followed := self._followed.get(key)) is not None:
                self._engine.wish(followed, lambda service, job: service.engine.skip(job, picture))

    def cancel(self, key: str) -> None:
        """Drop a request."""
        with self._lock:
            if (followed := self._followed.get(key)) is not None:
                followed.cancelled = True
                self._engine.wish(followed, lambda service, job: service.engine.cancel(job))

    def close(self) -> None:
        """End after the call that is being made, or after an extension's limit where that does not come back."""
        with self._lock:
            self._closing = True
            for followed in self._followed.values():
                if followed.release is not None:
                    followed.release()
            self._followed.clear()
        self._engine.close()
        if self._shelf is not None:
            self._shelf.watch.listeners.remove(self.held_up)
        self._outbox.close()

    def held_up(self, entry: Entry) -> None:
        """A hook of an extension does not come back: end its job, and have those of others begin again in another engine.

        Where it is not known for which job the hook is at work, all jobs that its extension takes part in are ended.
        """
        sentence = (
            f"The extension {entry.owner} was still busy in {entry.hook} after {entry.limit:g} seconds, so this job was ended; "
            "leave the extension out, or disable it."
        )
        with self._lock:
            if self._closing:
                self._engine.leave_behind()
                return
            running = dict(self._followed)
            if entry.job is None:
                ended = {key for key, each in running.items() if self._takes_part(entry.owner, each)}
            else:
                ended = {key for key, each in running.items() if each.request is entry.job}
                if running and not ended:  # a job that is over, in an engine that was left behind
                    return
            left, self._engine = self._engine, OneEngine(self._open_service, self._hear, self._begun)
            for key, followed in running.items():
                self._begin_again(key, followed, sentence if key in ended else "")
        left.leave_behind()

    def _takes_part(self, owner: str, followed: Followed) -> bool:
        request = followed.request
        return self._shelf is not None and request is not None and owner in taking_part(request, self._shelf.now)

    def _begun(self, key: str, followed: Followed) -> None:
        """Hold the extensions that take part in a request, from before it begins until it ends."""
        with self._lock:
            request, here = followed.request, self._followed.get(key) is followed
            if here and request is not None and self._shelf is not None and followed.release is None:
                names = tuple(taking_part(request, self._shelf.now))
                followed.release = self._shelf.hold(names, lambda: self.cancel(key))

    def _begin_again(self, key: str, followed: Followed, problem: str) -> None:
        followed.job, followed.previews = "", None
        if problem:
            self._end(key, followed, Failed(job=key, sentence=problem, error_id="", by_request=False))
        elif followed.cancelled:
            self._end(key, followed, Cancelled(job=key))
        elif followed.interrupted:  # what it was at is gone
            self._end(key, followed, Interrupted(job=key, pictures=followed.pictures))
        else:
            self._outbox.put(key, Notice(job=key, sentence=AGAIN))
            self._engine.submit(key, followed)

    def _hear(self, engine: OneEngine, key: str, followed: Followed, event: Event) -> None:
        """Pass on an event of a request, unless it is another engine's by now, or about a picture that was settled before."""
        with self._lock:
            if engine is not self._engine or self._followed.get(key) is not followed:
                if isinstance(event, LAST):
                    engine.forget(followed)
                return
            if getattr(event, "picture", None) in followed.settled:
                return
            if isinstance(event, Picture | Skipped):
                followed.settled.add(event.picture)
                followed.pictures += isinstance(event, Picture)
            if isinstance(event, LAST):
                engine.forget(followed)
                self._end(key, followed, event)
            else:
                self._outbox.put(key, event)

    def _end(self, key: str, followed: Followed, event: Event) -> None:
        self._followed.pop(key, None)
        if followed.release is not None:
            followed.release()
        self._outbox.put(key, event)


def open_service(root: Path, models_from: Sequence[Path], exact: bool, memory_megabytes: int, shelf: Shelf | None) -> Service:
    """Import torch, which takes seconds, and open the engine of a folder."""
    from webui.service.opening import open_engine

    return open_engine(root, models_from=models_from, exact=exact, memory_megabytes=memory_megabytes, extensions=shelf)
