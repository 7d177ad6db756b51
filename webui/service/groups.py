"""What people do with groups of jobs, such as plots: submit one, see how far it is, cancel it, have it go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from webui.errors import NotFound, TooMany, UserError, quoted, unknown
from webui.params import Params
from webui.scripts import Script
from webui.service.composed import pictures_of
from webui.service.grids import Layout
from webui.service.groups_kept import MOST_KEPT, CellRow, Group, GroupRows
from webui.service.groups_running import GroupRunner
from webui.service.inputs import Inputs
from webui.service.jobs import Jobs
from webui.service.limits import UserLimits
from webui.service.plots import Form, brought, explained, plan_of, planned, turns
from webui.service.requests import Resolver
from webui.service.styles import Styles
from webui.service.users import User

Clock = Callable[[], float]


class Groups:
    """The groups as the page and the API see them. Every method takes the user first, and is safe from any thread."""

    def __init__(
        self, rows: GroupRows, runner: GroupRunner, jobs: Jobs, resolver: Resolver,
        limits: Callable[[], UserLimits], inputs: Inputs, styles: Styles, clock: Clock,
    ) -> None:  # fmt: skip
        self._rows = rows
        self._runner = runner
        self._jobs = jobs
        self._resolver = resolver
        self._limits = limits
        self._inputs = inputs
        self._styles = styles
        self._clock = clock
        self._adding = threading.Lock()  # so that nobody slips past a limit by asking twice at once

    def parameters(self, kind: str) -> type[Params]:
        """The parameters of jobs that make pictures, of a kind, those of extensions too; `UserError` where there is none."""
        tasks = self._resolver.tasks()
        if kind not in tasks:
            raise UserError(f"There are no pictures of the kind {quoted(kind)}; there are: {', '.join(tasks)}.")
        return tasks[kind]

    def scripts(self, user: User, kind: type[Params]) -> dict[str, Any]:
        """The scripts there are, with what the page needs to lay them out, and how many cells a group may have."""
        form = self._form(user, "", kind(), {}, ())
        found = [explained(script, kind, form.choices) for script in self._resolver.extensions.scripts.values()]
        return {"scripts": found, "most_cells": form.most_cells}

    def submit(
        self, user: User, script: str, values: Mapping[str, object], kind: str, params: Params, inputs: Mapping[str, str],
        styles: Sequence[str] = (),
    ) -> tuple[str, int]:  # fmt: skip
        """Plan and queue a group; returns its id and how many cells it has.

        `UserError` where a value means nothing or a cell could not be made, and then nothing is queued.
        """
        chosen = self._script(script)
        made = planned(chosen, values, self._form(user, kind, params, inputs, styles))
        layout = Layout.of(made.plan)
        labels = [cell.labels for cell in made.plan.cells]
        with self._adding:
            self._check_room(user, len(made.requests))
            with self._runner.turn:
                group = self._rows.add(
                    user.id, chosen.title, kind, layout, inputs, made.requests, labels, turns(made.requests), self._clock()
                )
        self._runner.tell(self._rows.get(group))
        self._runner.wake()
        return group, len(made.requests)

    def count(
        self, user: User, script: str, values: Mapping[str, object], kind: str, params: Params, inputs: Mapping[str, str],
        styles: Sequence[str] = (),
    ) -> dict[str, Any]:  # fmt: skip
        """What `submit` would make, without making it: how many cells and pictures, the sides of the grid, or a problem.

        Each value is tried alone, but not each cell: this is asked while somebody writes.
        """
        try:
            plan = plan_of(self._script(script), values, self._form(user, kind, params, inputs, styles))
        except UserError as error:  # said while somebody still fills it in: no fault of theirs
            return {"cells": 0, "pictures": 0, "sides": [], "problem": str(error)}
        each = getattr(params, "count", 1)
        pictures = sum(int(cell.changes.get("count") or each) for cell in plan.cells)
        sides = [len(axis.values) for axis in plan.axes]
        return {"cells": len(plan.cells), "pictures": pictures, "sides": sides, "problem": ""}

    def view(self, user: User) -> list[dict[str, Any]]:
        """A person's groups, the newest first."""
        return [_shown(group) for group in self._rows.of_user(user.id, MOST_KEPT)]

    def get(self, user: User, group: str) -> dict[str, Any]:
        """A group with its cells."""
        found = self._own(user, group)
        axes = [asdict(axis) for axis in found.layout.axes]
        return _shown(found) | {"axes": axes, "cells": [_cell(cell) for cell in self._rows.cells(group)]}

    def cancel(self, user: User, group: str) -> None:
        """End a group: what waits is not made, what is being made is discarded; finished pictures stay."""
        with self._runner.turn:
            found = self._own(user, group)
            if found.open:
                self._rows.cancel(group, self._clock())
        self._runner.cancel_jobs(group)
        self._runner.tell(self._rows.get(group))
        self._runner.wake()

    def resume(self, user: User, group: str) -> int:
        """Make the cells that have no picture, and the grid anew; returns how many cells those are."""
        with self._adding, self._runner.turn:
            found = self._own(user, group)
            if found.open:
                raise UserError("The group has not ended yet, so there is nothing to go on with.")
            missing = self._rows.missing(group)
            if not missing and (found.grid is not None or not found.layout.grid):
                raise UserError("All of its pictures are there, so there is nothing to go on with.")
            self._check_room(User(id=found.user, name="", owner=False), missing)
            count = self._rows.resume(group)
        self._runner.tell(self._rows.get(group))
        self._runner.wake()
        return count

    def is_open(self, user: User) -> bool:
        """Whether a person has groups that have not ended."""
        return self._rows.counts(user.id)[0] > 0

    def _script(self, name: str) -> Script:
        scripts = self._resolver.extensions.scripts
        if name not in scripts:
            raise unknown("script", name, scripts)
        return scripts[name]

    def _check_room(self, user: User, cells: int) -> None:
        """Raise `TooMany` where a person may not have so many cells more, or another group: it counts as one job."""
        limits, (groups, waiting) = self._limits(), self._rows.counts(user.id)
        if waiting + cells > limits.cells:
            has = f"You have {waiting:,} cells that have not ended, and this would be {cells:,} more; "
            raise TooMany(f"{has if waiting else f'This would be {cells:,} cells; '}you may have {limits.cells:,} at a time.")
        jobs = sum(job.user == user.id and not job.grouped for job in self._jobs.in_order()) + groups
        if jobs >= limits.queue:
            raise TooMany(f"You have {jobs} jobs that have not ended, and may have {limits.queue}; wait for one, or cancel some.")

    def _form(self, user: User, kind: str, params: Params, inputs: Mapping[str, str], styles: Sequence[str]) -> Form:
        return Form(
            task=kind, params=params, resolver=self._resolver, styles=styles,
            facts=brought(self._inputs, user, inputs, pictures_of(params)),
            style_names=[style.name for style in self._styles.list(user)], styled=partial(self._styles.apply, user),
            limits=self._limits(),
        )  # fmt: skip

    def _own(self, user: User, group: str) -> Group:
        found = self._rows.get(group)
        if found is None or not (user.owner or found.user == user.id):
            raise NotFound(f"There is no group {quoted(group)}.")
        return found


def _shown(group: Group) -> dict[str, Any]:
    names = ("script", "kind", "state", "sentence", "grid", "created", "ended", "done", "of")
    return {"group": group.id, **{name: getattr(group, name) for name in names}}


def _cell(cell: CellRow) -> dict[str, Any]:
    names = ("place", "labels", "job", "picture", "state", "sentence")
    return {name: getattr(cell, name) for name in names}
