"""The page's own code and styles: exactly the files there are when the program starts, kept by browsers until they change.

Modules import each other by plain names, so the version of all of them is part of the address, `/x/static/VERSION/NAME`, and each
import stays within it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from webui.errors import NotFound, quoted

FOLDER = Path(__file__).parents[1] / "ui" / "static"
TYPES = {
    ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png",
    ".webp": "image/webp", ".woff2": "font/woff2",
}  # fmt: skip
FOR_EVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    """A file's content, kind and hash."""

    content: bytes
    kind: str
    tag: str


class Static:
    """The files of a folder, read once; `version` changes with any of them."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files: dict[str, StaticFile] = {}
        for path in sorted(folder.glob("*")):
            if path.suffix in TYPES and path.is_file():
                content = path.read_bytes()
                tag = hashlib.sha256(content).hexdigest()[:16]
                self._files[path.name] = StaticFile(content=content, kind=TYPES[path.suffix], tag=tag)
        together = "".join(f"{name} {file.tag}\n" for name, file in self._files.items())
        self.version = hashlib.sha256(together.encode()).hexdigest()[:16]

    def names(self) -> list[str]:
        """The names of the files."""
        return list(self._files)

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/static/{name}", self.newest, methods=["GET"])
        router.add_api_route("/x/static/{version}/{name}", self.versioned, methods=["GET"])
        return router

    async def newest(self, request: Request, name: str) -> Response:
        """A file as it is now, kept for ever where its hash is asked for (`?v=`)."""
        file = self._named(name)
        return self._answer(request, file, for_ever=request.query_params.get("v") == file.tag)

    async def versioned(self, request: Request, version: str, name: str) -> Response:
        """A file of a version; of another version than this it is the one there is, and asked for again."""
        return self._answer(request, self._named(name), for_ever=version == self.version)

    def _named(self, name: str) -> StaticFile:
        if name not in self._files:
            raise NotFound(f"There is no file {quoted(name)}.")
        return self._files[name]

    def _answer(self, request: Request, file: StaticFile, *, for_ever: bool) -> Response:
        headers = {"ETag": f'"{file.tag}"', "Cache-Control": FOR_EVER if for_ever else ASK_AGAIN}
        if f'"{file.tag}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers=headers | {"Content-Type": file.kind})
