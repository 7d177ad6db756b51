"""The routes of what is kept for somebody besides pictures: settings, styles, uploads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from webui.api.asking import Told, Who, body, mapping, read_object, text
from webui.api.events import Streams
from webui.errors import NotFound, quoted
from webui.params import parameters
from webui.service.inputs import LARGEST as LARGEST_INPUT
from webui.service.inputs import MEGABYTE, Inputs
from webui.service.pictures import Pictures
from webui.service.preferences import Preferences
from webui.service.styles import LARGEST_FILE, Style, Styles
from webui.service.users import User
from webui.settings import CHOICES, Settings, places

LARGEST_IMPORT = 2 * LARGEST_FILE  # bytes of JSON around a file


class SettingRoutes:
    """What `/x/settings` answers."""

    def __init__(self, preferences: Preferences, streams: Streams) -> None:
        self._preferences = preferences
        self._streams = streams

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/settings", self.look, methods=["GET"])
        router.add_api_route("/x/settings", self.change, methods=["POST"])
        return router

    def look(self, user: Who) -> JSONResponse:
        """The settings that hold, and what may be set."""
        return JSONResponse({"values": asdict(self._preferences.settings(user)), "settings": explained(user)})

    def change(self, given: Told, user: Who) -> JSONResponse:
        """Change settings: {"values": {name: value}}; null takes one back."""
        settings = self._preferences.change(user, mapping(given, "values"))
        self._streams.look_again(user)
        return JSONResponse({"values": asdict(settings)})


class StyleRoutes:
    """What `/x/styles` answers."""

    def __init__(self, styles: Styles) -> None:
        self._styles = styles

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/styles", self.list, methods=["GET"])
        router.add_api_route("/x/styles", self.put, methods=["POST"])
        router.add_api_route("/x/styles/export", self.export, methods=["GET"])
        router.add_api_route("/x/styles/import", self.import_csv, methods=["POST"])
        router.add_api_route("/x/styles/{name:path}", self.remove, methods=["DELETE"])
        return router

    def list(self, user: Who) -> JSONResponse:
        """The user's styles."""
        return JSONResponse({"styles": [asdict(style) for style in self._styles.list(user)]})

    def put(self, given: Told, user: Who) -> JSONResponse:
        """Keep a style, in place of the one with its name or of the one called "instead_of"."""
        style = Style(name=text(given, "name"), prompt=text(given, "prompt", ""), negative=text(given, "negative", ""))
        instead_of = None if given.get("instead_of") is None else text(given, "instead_of")
        self._styles.put(user, style, instead_of)
        return JSONResponse({"name": style.name.strip()})

    def remove(self, name: str, user: Who) -> JSONResponse:
        """Forget a style."""
        self._styles.remove(user, name)
        return JSONResponse({})

    def export(self, user: Who) -> Response:
        """The user's styles as other programs read them."""
        headers = {"Content-Disposition": 'attachment; filename="styles.csv"', "Cache-Control": "no-store"}
        return Response(self._styles.export_csv(user), media_type="text/csv; charset=utf-8", headers=headers)

    async def import_csv(self, request: Request, user: Who) -> JSONResponse:
        """Take in a styles.csv: as the body, or as {"text": ...}."""
        content = await body(request, LARGEST_IMPORT)
        if "json" in request.headers.get("content-type", ""):
            content = text(read_object(content), "text").encode("utf-8", errors="replace")
        done = await run_in_threadpool(self._styles.import_csv, user, content)
        return JSONResponse({"imported": len(done.added) + len(done.replaced), **asdict(done)})


class InputRoutes:
    """What `/x/inputs` answers."""

    def __init__(self, inputs: Inputs, preferences: Preferences, pictures: Pictures) -> None:
        self._inputs = inputs
        self._preferences = preferences
        self._pictures = pictures

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/inputs", self.list, methods=["GET"])
        router.add_api_route("/x/inputs", self.add, methods=["POST"])
        router.add_api_route("/x/inputs/from-picture", self.add_picture, methods=["POST"])
        router.add_api_route("/x/inputs/{digest}", self.open, methods=["GET"])
        router.add_api_route("/x/inputs/{digest}", self.remove, methods=["DELETE"])
        return router

    def list(self, user: Who) -> JSONResponse:
        """What the user has brought, how many bytes that is, and how many it may be: so that they know what to remove."""
        most = self._preferences.settings(user).upload_megabytes * MEGABYTE
        kept = [asdict(each) for each in self._inputs.all(user)]
        return JSONResponse({"inputs": kept, "used": self._inputs.used(user), "most": most})

    async def add(self, request: Request, user: Who) -> JSONResponse:
        """Keep the picture that is the body."""
        content = await body(request, LARGEST_INPUT)
        return JSONResponse(await run_in_threadpool(self._add, user, content))

    def add_picture(self, given: Told, user: Who) -> JSONResponse:
        """Keep the file of a picture of the gallery: {"id": picture}."""
        picture = self._pictures.get(user, text(given, "id"))
        try:
            content = picture.path.read_bytes()
        except OSError as error:
            name = quoted(picture.path.name)
            raise NotFound(f"The file {name} of this picture is gone; somebody took it away.") from error
        return JSONResponse(self._add(user, content))

    def open(self, digest: str, user: Who) -> Response:
        """The bytes as they were brought."""
        content = self._inputs.open(user, digest)
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Cookie"}
        return Response(content, media_type=self._inputs.get(user, digest).kind, headers=headers)

    def remove(self, digest: str, user: Who) -> JSONResponse:
        """Let go of a picture."""
        self._inputs.remove(user, digest)
        return JSONResponse({})

    def _add(self, user: User, content: bytes) -> dict[str, Any]:
        megabytes = self._preferences.settings(user).upload_megabytes
        return asdict(self._inputs.get(user, self._inputs.add(user, content, megabytes=megabytes)))


def explained(user: User) -> list[dict[str, Any]]:
    """Each setting as whoever draws a page needs it; `yours` says whether the user may change it."""
    where = places()
    return [
        {
            "name": name, "label": each.label, "help": each.help, "group": where[name].group, "owner": where[name].owner,
            "yours": user.owner or not where[name].owner, "kind": each.kind.__name__, "default": each.default, "min": each.min,
            "max": each.max, "step": each.step, "expected": each.expected,
            "choices": [{"label": label, "value": value} for label, value in CHOICES.get(each.choices or "", ())],
        }
        for name, each in parameters(Settings).items()
    ]  # fmt: skip
