"""The route of the schedule's plot: the noise levels that what is set would visit."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from webui.api.asking import Who, asked
from webui.drawing import Txt2Img
from webui.service.requests import Resolver
from webui.service.schedule_plot import plot


class ScheduleRoutes:
    """What `/x/schedule` answers."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter()
        router.add_api_route("/x/schedule", self.look, methods=["GET"])
        return router

    def look(self, request: Request, user: Who) -> JSONResponse:
        """The noise levels of a sampler and a schedule; the query names parameters of a picture from text."""
        del user
        params = asked(request, self._resolver.tasks()["txt2img"])
        assert isinstance(params, Txt2Img)
        return JSONResponse(plot(params, self._resolver))
