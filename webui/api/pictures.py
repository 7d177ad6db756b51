"""The routes of the pictures: lists, files by id, small pictures, marks, zip files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import anyio
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from webui.api.asking import Told, Who, asked, flag, texts
from webui.errors import NotFound, UserError, quoted
from webui.metadata.writing import TYPES
from webui.params import Params, param
from webui.service.archives import archive
from webui.service.pictures import LONGEST_PAGE, LONGEST_SEARCH, MOST_AT_ONCE, PAGE, Picture, Pictures
from webui.service.thumbnails import MAKING, placeholder
from webui.service.users import User

FOR_EVER = "private, max-age=31536000, immutable"  # an id is never another picture's
UNKNOWN = "application/octet-stream"
LONGEST_NUMBER = 15  # digits of a picture's number; an id is longer


@dataclass(frozen=True, kw_only=True)
class Search(Params):
    """Which pictures are wanted."""

    text: str = param("", "Search", longest=LONGEST_SEARCH, help="Words that occur in the prompts or the parameters.")
    starred: bool = param(False, "Starred", help="Only those with a star.")
    trashed: bool = param(False, "Trashed", help="Those in the trash.")
    job: str = param("", "Job", help="Only those of a job.")
    before: str = param("", "Before", help="Only those older than the picture of this number or id.")
    limit: int = param(PAGE, "Limit", min=1, max=LONGEST_PAGE, step=1, help="How many at most.")
    everyone: bool = param(False, "Everyone", help="Those of everybody; for owners.")


@dataclass(frozen=True, kw_only=True)
class Whose(Params):
    """How a single picture is asked for."""

    download: bool = param(False, "Download", help="As a file to be saved.")
    everyone: bool = param(False, "Everyone", help="Whoever's it is; for owners.")


@dataclass(frozen=True, kw_only=True)
class Several(Params):
    """Which pictures a zip file has."""

    ids: str = param("", "Pictures", longest=MOST_AT_ONCE * 20, help="Ids with commas between them.")
    everyone: bool = param(False, "Everyone", help="Whoever's they are; for owners.")


class PictureFile(FileResponse):
    """A picture's bytes as saved."""

    chunk_size = 2**20


class PictureRoutes:
    """What `/x/pictures` answers."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._making: anyio.CapacityLimiter | None = None

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/pictures", self.search, methods=["GET"])
        router.add_api_route("/x/pictures/zip", self.zip, methods=["GET"])
        router.add_api_route("/x/pictures/{id}", self.picture, methods=["GET"])
        router.add_api_route("/x/pictures/{id}/thumbnail", self.thumbnail, methods=["GET"])
        router.add_api_route("/x/pictures/{what}", self.mark, methods=["POST"])
        router.add_api_route("/x/jobs/{job}/zip", self.zip_of_job, methods=["GET"])
        return router

    def search(self, request: Request, user: Who) -> JSONResponse:
        """A stretch of the pictures, the newest first."""
        wanted = asked(request, Search)
        found = self._pictures.search(
            user, wanted.text, starred=wanted.starred, trashed=wanted.trashed, job=wanted.job,
            before=self._number(user, wanted), limit=wanted.limit + 1, everyone=wanted.everyone,
        )  # fmt: skip
        shown = [described(picture) for picture in found[: wanted.limit]]
        return JSONResponse({"pictures": shown, "more": len(found) > wanted.limit})

    def picture(self, request: Request, id: str, user: Who) -> Response:  # noqa: A002
        """A picture's bytes as saved."""
        wanted = asked(request, Whose)
        picture = self._pictures.get(user, id, everyone=wanted.everyone)
        if _is_known(request, picture.id):
            return Response(status_code=304, headers=_headers(picture.id))
        if picture.gone:
            raise NotFound(f"The file {quoted(picture.path.name)} of this picture is gone; somebody took it away.")
        name = picture.path.name if wanted.download else None
        kind = TYPES.get(picture.path.suffix.lower(), UNKNOWN)
        return PictureFile(picture.path, headers=_headers(picture.id), media_type=kind, filename=name)

    async def thumbnail(self, request: Request, id: str, user: Who) -> Response:  # noqa: A002
        """A picture in small; never an error for one that there is, but a grey square."""
        wanted = asked(request, Whose)
        picture = await run_in_threadpool(self._pictures.get, user, id, everyone=wanted.everyone)
        if _is_known(request, picture.id):
            return Response(status_code=304, headers=_headers(picture.id))
        thumbnails = self._pictures.thumbnails
        small = await run_in_threadpool(thumbnails.kept, picture.id)
        if small is None:  # who waits for its turn holds no thread
            self._making = self._making or anyio.CapacityLimiter(MAKING)
            small = await anyio.to_thread.run_sync(thumbnails.of, picture.id, picture.path, limiter=self._making)
        if small is None:
            return Response(placeholder(), media_type="image/webp", headers={"Cache-Control": "no-store"})
        return Response(small, media_type="image/webp", headers=_headers(picture.id))

    def mark(self, what: str, given: Told, user: Who) -> JSONResponse:
        """Star, trash, restore or delete pictures."""
        acts = {
            "star": self._pictures.star, "unstar": self._pictures.unstar, "trash": self._pictures.trash,
            "restore": self._pictures.restore, "delete": self._pictures.delete,
        }  # fmt: skip
        if what not in acts:
            raise NotFound(f"Pictures can be: {', '.join(acts)}; {quoted(what)} is not among that.")
        ids = texts(given, "ids", most=MOST_AT_ONCE)
        acts[what](user, ids, everyone=flag(given, "everyone"))
        return JSONResponse({"ids": ids})

    def zip(self, request: Request, user: Who) -> Response:
        """Pictures as one file."""
        wanted = asked(request, Several)
        ids = [each for each in wanted.ids.split(",") if each]
        if not ids:
            raise UserError("Name the pictures of the zip file, as in ?ids=a,b.")
        pictures = self._pictures.several(user, ids, everyone=wanted.everyone)
        return zipped(pictures, f"{len(pictures)} pictures {time.strftime('%Y-%m-%d %H-%M')}.zip")

    def zip_of_job(self, request: Request, job: str, user: Who) -> Response:
        """A job's pictures as one file."""
        wanted = asked(request, Whose)
        return zipped(self._pictures.of_job(user, job, everyone=wanted.everyone), f"pictures {job[:16]}.zip")

    def _number(self, user: User, wanted: Search) -> int | None:
        """The number before which pictures are wanted."""
        if not wanted.before:
            return None
        if len(wanted.before) <= LONGEST_NUMBER and wanted.before.isascii() and wanted.before.isdigit():
            return int(wanted.before)
        return self._pictures.get(user, wanted.before, everyone=wanted.everyone).number


def described(picture: Picture) -> dict[str, Any]:
    """A picture as JSON. The seed is a text, for browsers cannot hold such numbers."""
    return {
        "id": picture.id, "number": picture.number, "user": picture.user, "job": picture.job, "place": picture.place,
        "name": picture.path.name, "bytes": picture.bytes, "width": picture.width, "height": picture.height,
        "seed": picture.seed, "prompt": picture.prompt, "parameters": picture.parameters, "interrupted": picture.interrupted,
        "starred": picture.starred, "trashed": picture.trashed, "created": picture.created, "gone": picture.gone,
        "inputs": dict(picture.inputs), "maps": dict(picture.maps), "task": picture.task,
    }  # fmt: skip


def zipped(pictures: Sequence[Picture], name: str) -> Response:
    """The answer that brings pictures as a zip file, piece by piece."""
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}", "Cache-Control": "no-store"}
    return StreamingResponse(archive(pictures), media_type="application/zip", headers=headers)


def _headers(tag: str) -> dict[str, str]:
    """Kept by a browser for ever, and for nobody but the one who asked: another session has another cookie."""
    return {"ETag": f'"{tag}"', "Cache-Control": FOR_EVER, "Vary": "Cookie"}


def _is_known(request: Request, tag: str) -> bool:
    """Whether the browser has it already."""
    return f'"{tag}"' in request.headers.get("if-none-match", "")
