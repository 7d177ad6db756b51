"""What people do with jobs: submit, watch, interrupt, cancel, reorder, retry; everyone theirs, and the owner all."""

from __future__ import annotations

from typing import Any

from webui.errors import NotFound, UserError, quoted
from webui.params import Params, Txt2Img
from webui.request import Request
from webui.service.broadcast import Broadcast
from webui.service.jobs import Job, Jobs
from webui.service.limits import UserLimits
from webui.service.requests import Resolver
from webui.service.users import User
from webui.service.worker import Worker

LONGEST_PROMPT = 200  # characters of a prompt in the view


class Queue:
    """The jobs as the page and the API see them. Every method takes the user first, and is safe from any thread."""

    def __init__(self, jobs: Jobs, worker: Worker, resolver: Resolver, broadcast: Broadcast, limits: UserLimits) -> None:
        self.broadcast = broadcast
        self._jobs = jobs
        self._worker = worker
        self._resolver = resolver
        self._limits = limits

    def submit(self, user: User, kind: str, params: Params) -> str:
        """Queue a job and return its id; `UserError` where it cannot be carried out, or is more than the user may ask for."""
        if kind != "txt2img" or not isinstance(params, Txt2Img):
            raise UserError(f"There are no jobs of the kind {quoted(kind)}; there is: txt2img.")
        return self._add(user.id, kind, self._resolver.request(params))

    def retry(self, user: User, job: str) -> str:
        """Queue the same request once more, as a job of the one whose it was; returns the new job's id."""
        old = self._own(user, job)
        return self._add(old.user, old.kind, Request.from_dict(old.request))

    def interrupt(self, user: User, job: str) -> None:
        """End a job with its pictures as they are now; one that waits is cancelled."""
        self._worker.interrupt(self._own(user, job).id)

    def skip(self, user: User, job: str, picture: int | None = None) -> None:
        """Drop one picture of a job that runs, or those being made now, and go on with the rest."""
        self._worker.skip(self._own(user, job).id, picture)

    def cancel(self, user: User, job: str) -> None:
        """Discard a job; its finished pictures stay."""
        self._worker.cancel(self._own(user, job).id)

    def move(self, user: User, job: str, before: str | None) -> None:
        """Put a waiting job before another one of the same user, or behind all of them."""
        self._jobs.move(self._own(user, job), None if before is None else self._own(user, before))

    def view(self, user: User) -> list[dict[str, Any]]:
        """A user's jobs that have not ended, in the order in which they run."""
        return [self._shown(job, position) for position, job in enumerate(self._jobs.in_order()) if job.user == user.id]

    def events(self, user: User, job: str, after: int = 0) -> list[dict[str, Any]]:
        """What happened to a job, later than event number `after`; for progress and previews listen to `broadcast`."""
        return self._jobs.events(self._own(user, job).id, after)

    def preview(self, user: User, job: str, picture: int) -> tuple[bytes, int] | None:
        """What a picture looks like so far, as a JPEG, and its number in the sequence of such."""
        return self._worker.preview(self._own(user, job).id, picture)

    def _add(self, user: int, kind: str, request: Request) -> str:
        self._limits.check(request, self._jobs.waiting(user))
        job = self._jobs.add(user, kind, request.to_dict(), request.count)
        self._worker.fill()
        return job.id

    def _own(self, user: User, job: str) -> Job:
        found = self._jobs.get(job)
        if found is None or not (user.owner or found.user == user.id):
            raise NotFound(f"There is no job {quoted(job)}.")
        return found

    def _shown(self, job: Job, position: int) -> dict[str, Any]:
        running = job.state == "running"
        return {
            "job": job.id, "kind": job.kind, "state": job.state, "pictures": job.pictures, "done": len(self._jobs.saved(job.id)),
            "position": 0 if running else position, "seconds_left": None,
            **self._worker.progress(job.id), "prompt": str(job.request.get("prompt", ""))[:LONGEST_PROMPT],
            "created": job.created, "again": bool(job.sentence), "last": self._jobs.last_event(job.id),
        }  # fmt: skip
