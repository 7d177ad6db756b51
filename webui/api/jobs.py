"""The routes of the jobs: what `/x/jobs` takes and answers."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from webui.api.asking import Plain, Told, Who, mapping, text, texts, whole
from webui.errors import NotFound, quoted
from webui.params import parameters
from webui.service.queue import Queue
from webui.service.styles import LONGEST_NAME, MOST_APPLIED, PAIRS, Styles, styled
from webui.service.users import User

LAST_NUMBER = 2**31  # of an event; more is no number that the database has


class JobRoutes:
    """Submit, look, interrupt, skip, cancel, retry, move."""

    def __init__(self, queue: Queue, styles: Styles) -> None:
        self._queue = queue
        self._styles = styles

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter()
        router.add_api_route("/x/jobs", self.view, methods=["GET"])
        router.add_api_route("/x/jobs", self.submit, methods=["POST"])
        router.add_api_route("/x/jobs/{job}/events", self.events, methods=["GET"])
        router.add_api_route("/x/jobs/{job}/preview/{picture:int}", self.preview, methods=["GET"])
        router.add_api_route("/x/jobs/{job}/{what}", self.act, methods=["POST"])
        return router

    def view(self, user: Who) -> JSONResponse:
        """The user's jobs that have not ended."""
        return JSONResponse({"jobs": self._queue.view(user)})

    def submit(self, given: Told, user: Who) -> JSONResponse:
        """Queue a job: {"kind", "parameters", "inputs": {name: digest}, "styles"}.

        Styles are put around its prompts here, so that the job has what was meant.
        """
        kind = text(given, "kind")
        known = self._queue.parameters(kind)
        values = mapping(given, "parameters")
        names = texts(given, "styles", longest=LONGEST_NAME, most=MOST_APPLIED)
        if names and "prompt" in parameters(known):
            values = self._styled(user, names, values)
        digests = mapping(given, "inputs")
        inputs = {name: text(digests, name) for name, digest in digests.items() if digest is not None}
        return JSONResponse({"job": self._queue.submit(user, kind, known.read(values), inputs)})

    def events(self, job: str, user: Who, after: int = 0) -> JSONResponse:
        """What has happened to a job, later than event number `after`."""
        return JSONResponse({"events": self._queue.events(user, job, min(max(after, 0), LAST_NUMBER))})

    def preview(self, job: str, picture: int, user: Who) -> Response:
        """What a picture looks like so far."""
        found = self._queue.preview(user, job, picture)
        if found is None:  # it is finished meanwhile: nothing went wrong, and the browser has nothing to complain of
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        return Response(found[0], media_type="image/jpeg", headers={"Cache-Control": "no-store"})

    def act(self, job: str, what: str, given: Told, user: Who) -> JSONResponse:
        """Do something with a job; answers with its id, or with that of the job that begins."""
        if what == "retry":
            return JSONResponse({"job": self._queue.retry(user, job)})
        if what == "skip":
            self._queue.skip(user, job, whole(given, "picture"))
        elif what == "move":
            self._queue.move(user, job, None if given.get("before") is None else text(given, "before"))
        elif what == "interrupt":
            self._queue.interrupt(user, job)
        elif what == "cancel":
            self._queue.cancel(user, job)
        else:
            raise NotFound(f"Jobs can be interrupted, skipped, cancelled, retried and moved; {quoted(what)} is nothing of that.")
        return JSONResponse({"job": job})

    def _styled(self, user: User, names: list[str], values: Plain) -> Plain:
        prompts = {name: text(values, name, "") for pair in PAIRS for name in pair}
        return values | styled(prompts, partial(self._styles.apply, user, names))
