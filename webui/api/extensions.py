"""The routes of the Extensions tab: what is there, installing, updating, removing, and the settings of each. For owners only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from webui.api.asking import Told, Who, body, flag, mapping, text
from webui.errors import NotAllowed, NotFound, StorageError, quoted
from webui.service.extension_desk import Desk
from webui.service.folders import own_folder
from webui.service.users import User

LARGEST_ZIP = 64 * 2**20  # bytes
LONGEST_NAME = 200  # characters of a file's name
UPLOADS = "extension uploads"  # in the cache folder
SHARED = (
    "Nothing can be installed while others can reach the page: an extension runs with the rights of whoever runs the program. "
    "Start it without --share and --listen, or with --allow-installing."
)
Plain = dict[str, Any]


class ExtensionRoutes:
    """What `/x/extensions` answers. `installing` says whether anything may be installed."""

    def __init__(self, desk: Desk, cache: Path, *, installing: bool) -> None:
        self._desk = desk
        self._cache = cache
        self._installing = installing

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/extensions", self.list, methods=["GET"])
        router.add_api_route("/x/extensions", self.act, methods=["POST"])
        router.add_api_route("/x/extensions/index", self.last_index, methods=["GET"])
        router.add_api_route("/x/extensions/zip", self.examine_zip, methods=["POST"])
        return router

    def list(self, user: Who) -> JSONResponse:
        """Every extension, and why nothing can be installed, "" where something can."""
        _owned(user)
        return JSONResponse(self._listed())

    def last_index(self, user: Who) -> JSONResponse:
        """The address of the list that was read last."""
        _owned(user)
        return JSONResponse({"address": self._desk.last_index()})

    def act(self, given: Told, user: Who) -> JSONResponse:
        """Do {"act": ...}: with an extension by its "name", or with what was looked at by its "token"."""
        _owned(user)
        what = text(given, "act")
        acts: dict[str, Callable[[Plain], Any]] = {
            "enable": lambda said: self._desk.enable(text(said, "name")),
            "disable": lambda said: self._desk.disable(text(said, "name")),
            "reload": lambda said: self._desk.reload(text(said, "name")),
            "settings": lambda said: self._desk.settings(text(said, "name"), mapping(said, "values")),
            "remove": lambda said: self._desk.remove(
                text(said, "name"), storage=flag(said, "storage"), by_hand=flag(said, "by_hand"), cancel=flag(said, "cancel")
            ),
            "discard": lambda said: self._desk.discard(text(said, "token")),
        }
        bringing: dict[str, Callable[[Plain], Plain]] = {
            "examine": lambda said: {
                "found": self._desk.examine(text(said, "source"), commit=text(said, "commit", ""), ref=text(said, "ref", ""))
            },
            "examine update": lambda said: {"found": self._desk.examine_update(text(said, "name"))},
            "install": lambda said: {"name": self._desk.install(text(said, "token")), **self._listed()},
            "index": lambda said: self._desk.index(text(said, "address", "")),
        }
        if what in bringing:
            self._check_installing()
            return JSONResponse(bringing[what](given))
        if what not in acts:
            raise NotFound(f"Extensions can be: {', '.join((*acts, *bringing))}; {quoted(what)} is not among that.")
        acts[what](given)
        return JSONResponse(self._listed())

    async def examine_zip(self, request: Request, user: Who, name: str = "extension.zip") -> JSONResponse:
        """Look at the zip file that is the body."""
        _owned(user)
        self._check_installing()
        content = await body(request, LARGEST_ZIP)
        return JSONResponse({"found": await run_in_threadpool(self._look, content, name[:LONGEST_NAME])})

    def _look(self, content: bytes, called: str) -> Plain:
        folder = own_folder(self._cache, UPLOADS)
        handle, path = tempfile.mkstemp(dir=folder, suffix=".zip")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            return self._desk.examine(path, called=called)
        except OSError as error:
            raise StorageError(f"The file could not be kept in {folder} ({error.strerror}); make room and try again.") from error
        finally:
            with contextlib.suppress(OSError):
                Path(path).unlink()

    def _listed(self) -> Plain:
        return {"extensions": self._desk.list(), "refusal": "" if self._installing else SHARED}

    def _check_installing(self) -> None:
        if not self._installing:
            raise NotAllowed(SHARED)


def _owned(user: User) -> None:
    if not user.owner:
        raise NotAllowed("Extensions run with the rights of whoever runs the program; only an owner may see and change them.")
