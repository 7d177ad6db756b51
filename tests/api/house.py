"""The whole server without Gradio's page: a studio with a pretend engine behind the guard, an owner, and two people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.api.asgi import HERE, HOST, Reply, ask, headers_of, post, scope_of
from tests.service.pretend import PretendEngine, place_model
from webui.api.application import Application, build
from webui.service.passwords import Cost, Hasher
from webui.service.studio import Studio, open_studio
from webui.service.users import OWNER_ID, User

SECRET = "correct horse"
PATIENCE = 20.0  # seconds


@dataclass(kw_only=True)
class House:
    """The server, and who may enter."""

    studio: Studio
    engine: PretendEngine
    app: Application
    cookies: dict[int, str | None]
    owner: User
    anna: User
    bob: User

    def get(self, address: str, user: User | None = None, **more: Any) -> Reply:
        """What a GET brings; the owner asks where nobody is named."""
        return ask(self.app, "GET", address, cookie=self.cookies[(user or self.owner).id], **more)

    def post(self, address: str, told: Any = None, user: User | None = None, **more: Any) -> Reply:
        """What a POST of JSON brings."""
        return post(self.app, address, told, cookie=self.cookies[(user or self.owner).id], **more)

    def send(self, method: str, address: str, body: bytes = b"", user: User | None = None, **more: Any) -> Reply:
        """What any request brings."""
        return ask(self.app, method, address, body=body, cookie=self.cookies[(user or self.owner).id], **more)

    def submit(self, user: User | None = None, **parameters: Any) -> str:
        """A job of one step and one picture unless told; returns its id."""
        reply = self.post("/x/jobs", {"kind": "txt2img", "parameters": {"steps": 1, "prompt": "a ball", **parameters}}, user)
        assert reply.status == 200, reply.text
        return str(reply.json()["job"])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing gets on meanwhile."""
        going_on = self.engine._step
        self.engine._step = lambda key, job: None  # type: ignore[method-assign]
        try:
            yield
        finally:
            self.engine._step = going_on  # type: ignore[method-assign]

    def pictures(self, user: User | None = None, query: str = "") -> list[dict[str, Any]]:
        """What the gallery lists."""
        reply = self.get(f"/x/pictures{query}", user)
        assert reply.status == 200, reply.text
        return list(reply.json()["pictures"])

    def make(self, user: User | None = None, count: int = 1, **parameters: Any) -> list[str]:
        """Pictures of one job, once they are there; their ids in the job's order."""
        job = self.submit(user, count=count, **parameters)
        asyncio.run(self.until_idle(user))
        return [each["id"] for each in reversed(self.pictures(user, f"?job={job}"))]

    async def until_idle(self, user: User | None = None) -> list[dict[str, Any]]:
        """All that the stream tells until nothing is open."""
        async with self.listen(user) as listener:
            return await listener.rest()

    @asynccontextmanager
    async def listen(self, user: User | None = None) -> AsyncIterator[Listener]:
        """Listen to the events; leaving goes away as a browser does."""
        listener = Listener()
        headers = headers_of("GET", HOST, "same", self.cookies[(user or self.owner).id], [])
        task = asyncio.create_task(self.app(scope_of("GET", "/x/events", headers, HERE), listener.receive, listener.send))
        listener.task = task
        try:
            yield listener
        finally:
            listener.gone.set()
            await asyncio.wait_for(asyncio.wait([task]), PATIENCE)
            if not task.cancelled():
                task.result()


class Listener:
    """One who listens to events."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self.comments = 0
        self.gone = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.said = asyncio.Event()  # something was sent

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.said.set()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            return
        for block in message.get("body", b"").decode().split("\n\n"):
            self.comments += block.startswith(":")
            if block.startswith("data: "):
                self._events.put_nowait(json.loads(block.removeprefix("data: ")))
        if not message.get("more_body"):
            self.ended = True
            self._events.put_nowait(None)

    async def next(self) -> dict[str, Any] | None:
        """The next event, None at the end."""
        return await asyncio.wait_for(self._events.get(), PATIENCE)

    async def rest(self) -> list[dict[str, Any]]:
        """All events until the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found

    async def until(self, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event that passes."""
        while True:
            event = await self.next()
            assert event is not None, "the stream has ended"
            if test(event):
                return event


@contextmanager
def house(root: Path, step_seconds: float = 0.0, **more: Any) -> Iterator[House]:
    """Build it; `more` goes to `build`."""
    place_model(root)
    engine = PretendEngine(step_seconds)
    with open_studio(root, engine=engine) as studio:
        users = studio.users
        users._hasher = Hasher(Cost(n=16, r=1, p=1))
        anna, bob = users.create("Anna", SECRET), users.create("Bob", SECRET)
        cookies: dict[int, str | None] = {OWNER_ID: None}
        for user in (anna, bob):
            cookies[user.id] = f"webui-0={users.sign_in(user.name, SECRET, 'here', 'test')}"
        yield House(
            studio=studio, engine=engine, app=build(studio, **more), cookies=cookies, owner=users.get(OWNER_ID), anna=anna,
            bob=bob,
        )  # fmt: skip
