"""The routes of groups of jobs, such as plots: what `/x/groups` and `/x/scripts` take and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from webui.api.asking import Told, Who, mapping, text, texts
from webui.errors import NotFound, quoted
from webui.params import Params
from webui.service.groups import Groups
from webui.service.styles import LONGEST_NAME, MOST_APPLIED

Asked = tuple[str, Mapping[str, object], str, Params, Mapping[str, str], Sequence[str]]


class GroupRoutes:
    """Submit, look, cancel, go on."""

    def __init__(self, groups: Groups) -> None:
        self._groups = groups

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/scripts", self.scripts, methods=["GET"])
        router.add_api_route("/x/groups", self.view, methods=["GET"])
        router.add_api_route("/x/groups", self.submit, methods=["POST"])
        router.add_api_route("/x/groups/count", self.count, methods=["POST"])
        router.add_api_route("/x/groups/{group}", self.get, methods=["GET"])
        router.add_api_route("/x/groups/{group}/{what}", self.act, methods=["POST"])
        return router

    def scripts(self, user: Who, kind: str = "txt2img") -> JSONResponse:
        """The scripts with their fields, and what can be an axis for jobs of a kind."""
        return JSONResponse(self._groups.scripts(user, self._groups.parameters(kind)))

    def view(self, user: Who) -> JSONResponse:
        """The user's groups, the newest first."""
        return JSONResponse({"groups": self._groups.view(user)})

    def submit(self, given: Told, user: Who) -> JSONResponse:
        """Queue a group: {"script", "values", "kind", "params", "inputs": {name: digest}, "styles"}."""
        group, cells = self._groups.submit(user, *self._asked(given))
        return JSONResponse({"group": group, "cells": cells})

    def count(self, given: Told, user: Who) -> JSONResponse:
        """How much the same would make, or what is wrong with it; nothing is queued."""
        return JSONResponse(self._groups.count(user, *self._asked(given)))

    def _asked(self, given: dict[str, Any]) -> Asked:
        """What a group is to be made of: the script and its values, the kind of job and its parameters, pictures, styles."""
        kind = text(given, "kind")
        styles = texts(given, "styles", longest=LONGEST_NAME, most=MOST_APPLIED)
        digests = mapping(given, "inputs")
        inputs = {name: text(digests, name) for name, digest in digests.items() if digest is not None}
        params = self._groups.parameters(kind).read(mapping(given, "params"))
        return text(given, "script"), mapping(given, "values"), kind, params, inputs, styles

    def get(self, group: str, user: Who) -> JSONResponse:
        """A group with its cells: what each is, its job, its picture, and why it has none."""
        return JSONResponse(self._groups.get(user, group))

    def act(self, group: str, what: str, user: Who) -> JSONResponse:
        """Do something with a group."""
        if what == "cancel":
            self._groups.cancel(user, group)
            return JSONResponse({"group": group})
        if what == "resume":
            return JSONResponse({"group": group, "cells": self._groups.resume(user, group)})
        raise NotFound(f"Groups can be cancelled and resumed; {quoted(what)} is nothing of that.")
