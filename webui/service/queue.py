"""What people do with jobs: submit, watch, interrupt, cancel, reorder, retry; everyone theirs, and the owner all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from webui.errors import NotFound, UserError, quoted
from webui.params import Params
from webui.request import Request
from webui.service.broadcast import Broadcast
from webui.service.composed import pictures_of
from webui.service.groups import Groups
from webui.service.inputs import Inputs
from webui.service.jobs import Job, Jobs
from webui.service.limits import UserLimits
from webui.service.plots import brought
from webui.service.requests import Resolver, at_most
from webui.service.task_inputs import shape_of
from webui.service.users import User
from webui.service.worker import Worker
from webui.tasks import INPUTS, MAP, TASKS, Depth

LONGEST_PROMPT = 200  # characters of a prompt in the view
KINDS: Mapping[str, type[Params]] = {**TASKS, MAP: Depth}
"""The kinds of jobs, and whose parameters each has."""
NO_DIGESTS: Mapping[str, str] = MappingProxyType({})


class Queue:
    """The jobs as the page and the API see them. Every method takes the user first, and is safe from any thread."""

    def __init__(
        self, jobs: Jobs, worker: Worker, resolver: Resolver, broadcast: Broadcast, limits: Callable[[], UserLimits],
        inputs: Inputs | None = None, groups: Groups | None = None,
    ) -> None:  # fmt: skip
        self.broadcast = broadcast
        self._jobs = jobs
        self._worker = worker
        self._resolver = resolver
        self._limits = limits
        self._inputs = inputs
        self._groups = groups
        self._adding = threading.Lock()  # so that nobody slips past a limit by asking twice at once

    def parameters(self, kind: str) -> type[Params]:
        """The parameters of jobs of a kind, those of extensions too; `UserError` where there is no such kind."""
        if kind not in KINDS:
            raise UserError(f"There are no jobs of the kind {quoted(kind)}; there are: {', '.join(KINDS)}.")
        return self._resolver.tasks()["depth" if kind == MAP else kind]

    def submit(self, user: User, kind: str, params: Params, inputs: Mapping[str, str] = NO_DIGESTS) -> str:
        """Queue a job and return its id; `UserError` where it cannot be carried out, or is more than the user may ask for.

        `inputs` are digests of the user's own uploads; `NotFound` where one is not theirs.
        """
        if kind not in KINDS or not isinstance(params, KINDS[kind]):
            raise UserError(f"There are no jobs of the kind {quoted(kind)}; there are: {', '.join(KINDS)}.")
        facts = brought(self._inputs, user, inputs, pictures_of(params))
        return self._add(user.id, kind, self._resolver.outline(params, facts, kind), shape_of(facts))

    def retry(self, user: User, job: str) -> str:
        """Queue a job that ended once more, for whoever had it, and return the new job's id.

        One that did not make all its pictures makes those that are missing, from the first to the last of them.
        """
        old = self._own(user, job)
        if old.open:
            raise UserError("The job has not ended yet, so there is nothing to try again.")
        request = Request.from_dict(old.request)
        pictures = self._jobs.settled(job).items()
        complete = {number for number, event in pictures if event["kind"] == "picture" and not event["interrupted"]}
        missing = sorted(set(range(request.count)) - complete) or [0, request.count - 1]
        request = replace(request.picture(missing[0]), count=missing[-1] - missing[0] + 1)
        own = {name: digest for name, digest in request.inputs.items() if name in INPUTS}
        further = {name: digest for name, digest in request.inputs.items() if name not in INPUTS}
        shape = shape_of(brought(self._inputs, User(id=old.user, name="", owner=False), own, further))
        return self._add(old.user, old.kind, request, shape)

    def interrupt(self, user: User, job: str) -> None:
        """End a job with its pictures as they are now; one that waits and has none is cancelled."""
        self._worker.interrupt(self._own(user, job))

    def skip(self, user: User, job: str, picture: int | None = None) -> None:
        """Drop one picture of a job (a number from 0), or those being made now, and go on with the rest."""
        found = self._own(user, job)
        if picture is not None and not 0 <= picture < found.pictures:
            raise NotFound(f"The job has {found.pictures} pictures, numbered from 0; there is no number {picture}.")
        self._worker.skip(found, picture)

    def cancel(self, user: User, job: str) -> None:
        """Discard a job; its finished pictures stay."""
        self._worker.cancel(self._own(user, job))

    def move(self, user: User, job: str, before: str | None) -> None:
        """Put a waiting job before another one of the same user, or behind all of them."""
        self._jobs.move(self._own(user, job), None if before is None else self._own(user, before))

    def view(self, user: User) -> list[dict[str, Any]]:
        """A user's jobs that have not ended, in the order in which they run."""
        own = [(position, job) for position, job in enumerate(self._jobs.in_order()) if job.user == user.id]
        counts = self._jobs.counts([job.id for _, job in own]) if own else {}
        left = self._worker.seconds_left() if own else {}
        return [self._shown(job, position, counts.get(job.id, (0, 0)), left.get(job.id)) for position, job in own]

    def is_idle(self, user: User) -> bool:
        """Whether nothing of a user's has still to come: no job, and no grid."""
        if any(job.user == user.id for job in self._jobs.in_order()):
            return False
        return self._groups is None or not self._groups.is_open(user)

    def events(self, user: User, job: str, after: int = 0) -> list[dict[str, Any]]:
        """What happened to a job, later than event number `after`; for progress and previews listen to `broadcast`."""
        return self._jobs.events(self._own(user, job).id, after)

    def request(self, user: User, job: str) -> dict[str, Any]:
        """What a job of the user's own asks for, as plain data; `NotFound` for others', whoever asks."""
        found = self._own(user, job)
        if found.user != user.id:
            raise NotFound(f"There is no job {quoted(job)} of yours.")
        return dict(found.request)

    def preview(self, user: User, job: str, picture: int) -> tuple[bytes, int] | None:
        """What a picture looks like so far, as a JPEG, and its number in the sequence of such."""
        return self._worker.preview(self._own(user, job).id, picture)

    def _add(self, user: int, kind: str, request: Request, shape: tuple[int, int] | None) -> str:
        limits = self._limits()
        with self._adding:
            # A group counts as one job, however many of its cells are jobs now.
            waiting = {job.grouped or job.id for job in self._jobs.in_order() if job.user == user}
            limits.check(at_most(request), len(waiting), shape)
            job = self._jobs.add(user, kind, request.to_dict(), request.count)
        self._worker.fill()
        return job.id

    def _own(self, user: User, job: str) -> Job:
        found = self._jobs.get(job)
        if found is None or not (user.owner or found.user == user.id):
            raise NotFound(f"There is no job {quoted(job)}.")
        return found

    def _shown(self, job: Job, position: int, counts: tuple[int, int], left: float | None) -> dict[str, Any]:
        picture, step, steps = self._worker.last(job.id)
        return {
            "job": job.id, "kind": job.kind, "state": job.state, "pictures": job.pictures, "done": counts[0],
            "position": 0 if job.state == "running" else max(position, 1), "seconds_left": left,
            "picture": picture, "step": step, "steps": steps, "prompt": str(job.request.get("prompt", ""))[:LONGEST_PROMPT],
            "created": job.created, "again": job.again, "last": counts[1], "reading": self._worker.reading(job.id),
            "inputs": dict(job.request.get("inputs", {})), "group": job.grouped,
        }  # fmt: skip
