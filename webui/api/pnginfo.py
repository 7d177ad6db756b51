"""The routes of what files say of how pictures were made: `/x/info`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from webui.api.asking import Told, Who, body, text
from webui.service.inputs import LARGEST
from webui.service.pictures import Pictures
from webui.service.pnginfo import compared, info_of
from webui.service.requests import Resolver
from webui.service.users import User

READING = 2  # at the same time: looking for what is hidden in pixels decodes them


class InfoRoutes:
    """What `/x/info` answers."""

    def __init__(self, pictures: Pictures, resolver: Resolver) -> None:
        self._pictures = pictures
        self._resolver = resolver
        self._reading = asyncio.Semaphore(READING)  # who waits holds no thread that others' requests need

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/info", self.of_file, methods=["POST"])
        router.add_api_route("/x/info/picture/{id}", self.of_picture, methods=["GET"])
        router.add_api_route("/x/info/compare", self.compare, methods=["POST"])
        return router

    async def of_file(self, request: Request, user: Who) -> JSONResponse:
        """What the file that is the body says; nothing of it is kept."""
        del user
        content = await body(request, LARGEST)
        return await self._told(partial(self._told_of, content))

    async def of_picture(self, id: str, user: Who) -> JSONResponse:  # noqa: A002
        """What the file of a picture of the gallery says; where it is gone, what the gallery knows."""
        return await self._told(partial(self._told_of_picture, id, user))

    def compare(self, given: Told, user: Who) -> JSONResponse:
        """In what two texts differ: {"a", "b"}."""
        del user
        return JSONResponse({"rows": compared(text(given, "a", ""), text(given, "b", ""))})

    def _told_of(self, content: bytes) -> dict[str, Any]:
        """What a file says, as plain data."""
        return asdict(info_of(content, self._resolver.extensions))

    def _told_of_picture(self, name: str, user: User) -> dict[str, Any]:
        picture = self._pictures.get(user, name)
        try:
            with picture.path.open("rb") as file:
                content = file.read(LARGEST)
        except OSError:
            content = picture.parameters.encode(errors="replace")
        return self._told_of(content) | {"width": picture.width, "height": picture.height}

    async def _told(self, read: Callable[[], dict[str, Any]]) -> JSONResponse:
        """The answer, which is read and written in a thread: either may take long."""
        async with self._reading:
            return await run_in_threadpool(lambda: JSONResponse(read()))
