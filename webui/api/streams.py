"""What passes between a browser and a route: bodies that are counted while they come, answers that stop when a session ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from webui.api import headers
from webui.api.refusals import Refused

PLAIN_PAGES = ("/login", "/accounts")  # without scripts


class Ended(OSError):
    """The session of whoever listens has ended; of this kind because that is how a lost connection shows."""


PATIENCE, SLOWEST = 30.0, 16 * 1024  # seconds that a body may keep us waiting, and bytes of it that earn another second


class Body:
    """The `receive` of a request: counts what comes in, and raises `Refused` where it is too much, or comes too slowly."""

    def __init__(
        self, receive: Receive, most: int, count: Callable[[int], None] | None = None, *, patience: float = PATIENCE
    ) -> None:
        self._receive = receive
        self._most = most
        self._count = count
        self._patience = patience
        self._waited = 0.0
        self._whole = False
        self._size = 0
        self._again: list[Message] = []
        self.refused: Refused | None = None
        self.over: Callable[[], bool] = lambda: False

    async def __call__(self) -> Message:
        """The next message."""
        if self._again:
            return self._again.pop(0)
        if self.over():
            return {"type": "http.disconnect"}
        message = await self._next()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            size = len(message.get("body", b""))
            self._size += size
            try:
                if self._size > self._most:
                    raise _too_large(self._most)
                if self._count is not None:
                    self._count(size)
            except Refused as refused:
                self.refused = refused  # whoever reads may make another answer of it
                raise
        return message

    async def _next(self) -> Message:
        """What comes next: within the time that is left while the body is not whole, of which only waiting takes any."""
        if self._whole:
            return await self._receive()
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout(self._patience + self._size / SLOWEST - self._waited):
                message = await self._receive()
        except TimeoutError as error:
            self.refused = Refused(408, "What was sent came too slowly; try again over a better connection.")
            raise self.refused from error
        self._waited += now() - began
        return message

    def check_length(self, scope: Scope) -> None:
        """`Refused` where the request says beforehand that it is too large."""
        told = headers.values(scope, b"content-length")
        if any(not length.isdecimal() or int(length) > self._most for length in told):
            raise _too_large(self._most)

    async def whole(self) -> bytes:
        """The whole body, which is passed on afterwards as if nobody had read it."""
        read: list[Message] = []
        while True:
            message = await self()
            read.append(message)
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
        self._again = read
        return b"".join(message.get("body", b"") for message in read)


class Answer:
    """The `send` of a request: adds the headers of every answer, and ends a stream when `lasts` says that the session has ended.

    A stream is an answer that has begun and does not say how long it is.
    """

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._path = path
        self.started = False
        self.ended = False
        self._complete = False
        self._stream = False
        self._flowing = False
        self.lasts: Callable[[], bool] = lambda: True
        self.refused: Callable[[], Refused | None] = lambda: None

    async def __call__(self, message: Message) -> None:
        """Pass on one message."""
        if self.ended or (self.refused() is not None and not self.started):
            raise Ended("nobody listens any more")
        if message["type"] == "http.response.start":
            self.started = True
            message = {**message, "headers": list(message.get("headers", []))}
            self._stream = not headers.values(message, b"content-length")
            headers.secure(message, self._path, plain=self._path in PLAIN_PAGES)
        elif message["type"] == "http.response.body":
            if self._stream and self._flowing and not self.lasts():
                self.ended = True
                raise Ended("the session has ended")
            self._flowing = message.get("more_body", False)
            self._complete = not self._flowing
        await self._send(message)

    async def refuse(self, refused: Refused, scope: Scope) -> None:
        """Answer with why not, where nothing was answered yet."""
        if self.started:
            return
        self.refused = lambda: None
        response = refused.refusal.response(scope)

        async def nothing() -> Message:
            return {"type": "http.disconnect"}

        await response(scope, nothing, self)

    async def finish(self) -> None:
        """Close an answer that was ended in the middle."""
        if self.ended and self.started and not self._complete:
            self._complete = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class Held:
    """A `send` that keeps an answer, a JSON list of files, until they were looked at."""

    def __init__(self, answer: Answer, body: Body, scope: Scope, accept: Callable[[Sequence[str]], None]) -> None:
        self._answer = answer
        self._request = body
        self._scope = scope
        self._accept = accept
        self._start: Message = {}
        self._body = b""
        self.folder: Path | None = None

    async def __call__(self, message: Message) -> None:
        """Keep a message; with the last, look and answer."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._body += message.get("body", b"")
        if message.get("more_body", False):
            return
        try:
            if self._request.refused is not None:
                raise self._request.refused
            if self._start["status"] == 200:
                paths = [str(path) for path in json.loads(self._body)]
                self.folder = Path(paths[0]).parent.parent if paths else None
                await run_in_threadpool(self._accept, paths)
        except Refused as refused:
            await self._answer.refuse(refused, self._scope)
            return
        await self._answer(self._start)
        await self._answer({"type": "http.response.body", "body": self._body})


class Counted:
    """The requests of one user that are under way; `Refused` where one more would be too many."""

    def __init__(self, under_way: Counter[int], turn: threading.Lock, user: int, most: int, what: str = "requests") -> None:
        self._under_way, self._turn, self._user, self._most, self._what = under_way, turn, user, most, what

    def __enter__(self) -> None:
        with self._turn:
            if self._under_way[self._user] >= self._most:
                why = f"More than {self._most} {self._what} of yours are under way; wait for some, or close some pages."
                raise Refused(429, why, headers={"Retry-After": "5"})
            self._under_way[self._user] += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._turn:
            self._under_way[self._user] -= 1
            if not self._under_way[self._user]:
                del self._under_way[self._user]


def _too_large(most: int) -> Refused:
    size = f"{most / 2**20:,.0f} MB" if most >= 2**20 else f"{most // 2**10} KB"
    return Refused(413, f"That is too large; at most {size} are taken here.")
