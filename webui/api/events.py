"""The stream of what happens to somebody's jobs (server-sent events): no thread waits for it, and it ends when nothing is open.

A browser holds few connections to one server, so an idle page has none: it opens the stream when it submits a job, and gets first
a view of every open job, then the events. What a slow connection cannot take is left out where newer events say the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import anyio
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from webui.api.asking import Who
from webui.api.refusals import Refused
from webui.errors import TooMany
from webui.service.broadcast import Event, Subscription
from webui.service.jobs import ENDS
from webui.service.preferences import Preferences
from webui.service.queue import Queue
from webui.service.users import User
from webui.settings import Settings

HEARTBEAT_SECONDS = 15.0
PAUSE_SECONDS = 0.03  # between two messages, in which events that supersede each other become one
MOST_STREAMS = 20  # of one user
RETRY_MILLISECONDS = 1000
IDLE: Event = {"job": "", "number": 0, "kind": "idle"}
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # proxies that would gather the events
]


class Streams:
    """All streams of the server. For one event loop, but for `close`, which any thread may call."""

    def __init__(
        self, queue: Queue, preferences: Preferences, *, heartbeat: float = HEARTBEAT_SECONDS, most: int = MOST_STREAMS
    ) -> None:
        self.queue = queue
        self.preferences = preferences
        self.heartbeat = heartbeat
        self._most = most
        self._open: Counter[int] = Counter()
        self._streams: set[Stream] = set()
        self.closing = False

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter()
        router.add_api_route("/x/events", self.events, methods=["GET"])
        return router

    async def events(self, user: Who) -> Response:
        """Listen to one's jobs."""
        if self._open[user.id] >= self._most:
            raise TooMany(f"{self._most} pages of yours listen already, which is the most; close some.")
        return Stream(self, user)

    def close(self) -> None:
        """End all streams, and begin no more: the server ends."""
        self.closing = True
        for stream in tuple(self._streams):
            stream.wake()

    def look_again(self, user: User) -> None:
        """The user has other settings now."""
        for stream in tuple(self._streams):
            if stream.user.id == user.id:
                stream.changed = True
                stream.wake()

    def add(self, stream: Stream) -> None:
        """A stream begins."""
        self._open[stream.user.id] += 1
        self._streams.add(stream)

    def remove(self, stream: Stream) -> None:
        """A stream has ended."""
        self._streams.discard(stream)
        self._open[stream.user.id] -= 1
        if not self._open[stream.user.id]:
            del self._open[stream.user.id]


class Stream(Response):
    """The answer to one listener."""

    def __init__(self, streams: Streams, user: User) -> None:
        super().__init__()
        self.user = user
        self.changed = False  # the user's settings
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """There is something to look at; from any thread."""
        self._loop.call_soon_threadsafe(self._news.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until nothing is open, nobody listens, or the server ends."""
        del scope
        self._streams.add(self)
        lost: OSError | None = None
        try:
            async with anyio.create_task_group() as group:

                async def until_gone() -> None:
                    with contextlib.suppress(Refused):
                        while (await receive())["type"] != "http.disconnect":
                            pass
                    group.cancel_scope.cancel()

                group.start_soon(until_gone)
                try:
                    await self._send_all(send)
                except OSError as error:  # nobody is there any more, or may be; not to be raised from within a group
                    lost = error
                group.cancel_scope.cancel()
        finally:
            self._streams.remove(self)
        if lost is not None:
            raise lost

    async def _send_all(self, send: Send) -> None:
        settings = await self._settings()
        subscription = self._streams.queue.broadcast.subscribe(self.user.id, self.wake, previews=settings.previews)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await _write(send, f"retry: {RETRY_MILLISECONDS}\n\n")
            views = await self._views()
            await _write(send, _messages({**view, "task": view["kind"], "kind": "view"} for view in views))
            await self._follow(send, subscription, Previews(settings), idle=not views and await self._idle())
            if not self._streams.closing:
                await _write(send, _messages([IDLE]))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            subscription.close()

    async def _follow(self, send: Send, subscription: Subscription, previews: Previews, *, idle: bool) -> None:
        """Pass on events until no job is open; `idle` says that this may be so already, and is to be looked at."""
        while not self._streams.closing:
            self._news.clear()
            if self.changed:
                self.changed = False
                settings = await self._settings()
                subscription.previews = settings.previews
                previews.use(settings)
            taken = subscription.take()
            events = previews.sift(taken, self._loop.time())
            await _write(send, _messages(events))
            idle = idle or any(event["kind"] in ENDS or event["kind"] == "group" for event in taken)
            if idle and not self._news.is_set():
                idle = await self._idle()
                if idle and not self._news.is_set():  # news may be of a job that begins, or of what was taken already
                    return
            await asyncio.sleep(PAUSE_SECONDS)
            if not await self._wait(send, previews.due(self._loop.time())):
                idle = True

    async def _wait(self, send: Send, seconds: float | None) -> bool:
        """Wait for news, or for a preview that is held back; returns False where there was nothing for long.

        Meanwhile it says that the connection is still there.
        """
        try:
            async with asyncio.timeout(self._streams.heartbeat if seconds is None else min(seconds, self._streams.heartbeat)):
                await self._news.wait()
        except TimeoutError:
            if seconds is None or seconds >= self._streams.heartbeat:
                await _write(send, ": still here\n\n")
                return False
        return True

    async def _settings(self) -> Settings:
        return await run_in_threadpool(self._streams.preferences.settings, self.user)

    async def _idle(self) -> bool:
        return await run_in_threadpool(self._streams.queue.is_idle, self.user)

    async def _views(self) -> list[dict[str, Any]]:
        return await run_in_threadpool(self._streams.queue.view, self.user)


class Previews:
    """Leaves out previews that somebody does not want, and those that come sooner than they want."""

    def __init__(self, settings: Settings) -> None:
        self._held: dict[tuple[str, int], Event] = {}
        self._next: dict[tuple[str, int], float] = {}  # when a picture's next preview may be sent
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Do as the settings say from now on."""
        self._wanted = settings.previews
        self._pause = 1 / settings.previews_per_second

    def sift(self, events: Iterable[Event], now: float) -> list[Event]:
        """The events to send now: all but previews, and of each picture the newest preview whose time has come."""
        passed = []
        for event in events:
            key = (event["job"], event.get("picture", -1))
            if event["kind"] == "preview":
                if self._wanted:
                    self._held[key] = event
                continue
            passed.append(event)
            if event["kind"] in ("picture", "skipped"):
                self._forget([key])
            elif event["kind"] in ENDS:
                self._forget([each for each in (*self._held, *self._next) if each[0] == event["job"]])
        for key in [key for key in self._held if self._next.get(key, now) <= now]:
            passed.append(self._held.pop(key))
            self._next[key] = now + self._pause
        return passed

    def due(self, now: float) -> float | None:
        """In how many seconds the next preview that is held back may be sent; None where there is none."""
        return max(min((self._next.get(key, now) for key in self._held), default=0.0) - now, 0.0) if self._held else None

    def _forget(self, keys: Iterable[tuple[str, int]]) -> None:
        for key in keys:
            self._held.pop(key, None)
            self._next.pop(key, None)


def _messages(events: Iterable[Event]) -> str:
    """Events as lines; JSON has no line ends of its own."""
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in events)


async def _write(send: Send, text: str) -> None:
    if text:
        await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
