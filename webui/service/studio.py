"""The composition root of the page: everything behind it, opened and closed together. Imports no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from webui.service.broadcast import Broadcast
from webui.service.database import Database
from webui.service.engines import EngineHandle, ThreadEngine
from webui.service.extension_shelf import Shelf
from webui.service.folders import CACHE, DATA, OUTPUTS, own_folder
from webui.service.given import stored
from webui.service.grids_kept import GridKeeper
from webui.service.groups import Groups
from webui.service.groups_kept import GroupRows
from webui.service.groups_running import GroupRunner
from webui.service.inputs import Inputs
from webui.service.installing import Installer
from webui.service.jobs import Jobs
from webui.service.keeping import Keeper
from webui.service.limits import UserLimits
from webui.service.overrides import FILE, Overrides
from webui.service.pictures import Pictures
from webui.service.preferences import Preferences
from webui.service.queue import Queue
from webui.service.requests import Resolver
from webui.service.styles import Styles
from webui.service.turns import Slots
from webui.service.users import DAY, Users
from webui.service.worker import Worker
from webui.settings import Settings

DATABASE = "webui.sqlite3"
THUMBNAILS = "thumbnails"  # in the cache folder
SLOTS = Slots()
Clock = Callable[[], float]


@dataclass(kw_only=True, eq=False)
class Studio:
    """What the page, the API and the commands use."""

    root: Path
    outputs: Path
    database: Database
    users: Users
    queue: Queue
    groups: Groups
    resolver: Resolver
    worker: Worker
    engine: EngineHandle
    pictures: Pictures
    inputs: Inputs
    styles: Styles
    preferences: Preferences
    shelf: Shelf
    installer: Installer
    closing: ExitStack

    def close(self) -> None:
        """End in good order: jobs that run are queued again for the next start."""
        self.closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_studio(
    root: Path, *, output: Path | None = None, models_from: Sequence[Path] = (), engine: EngineHandle | None = None,
    clock: Clock = time.time, slots: Slots = SLOTS, shelf: Shelf | None = None,
) -> Studio:
    """The studio of the program's folder; torch is imported by the engine, when it is warmed or gets its first job.

    `shelf` has the extensions, if not the folder's own as they usually are; it is opened and closed here.
    """
    with ExitStack() as opened:
        shelf = shelf or Shelf(root)
        installer = Installer(root, check=shelf.check, load=shelf.load, unload=shelf.unload)
        installer.recover()
        opened.callback(shelf.close)
        shelf.open()
        database = Database(own_folder(root, DATA) / DATABASE)
        opened.callback(database.close)
        cache = own_folder(root, CACHE)
        outputs = root / OUTPUTS if output is None else output
        broadcast = Broadcast()
        jobs = Jobs(database, clock, broadcast)
        overrides = Overrides(own_folder(root, DATA) / FILE)
        resolver = Resolver(
            models_folder=root / "models", cache=cache, others=tuple(models_from), overrides=overrides, open_input=stored(root),
            extensions=shelf,
        )  # fmt: skip
        pictures = Pictures(database, outputs, clock, thumbnails=cache / THUMBNAILS)
        inputs, styles = Inputs(database, root, clock), Styles(database)
        preferences = Preferences(database, resolver.tasks)
        keeper = Keeper(
            database=database, jobs=jobs, pictures=pictures, inputs=inputs, settings=preferences.settings_of,
            extensions=lambda: resolver.extensions, clock=clock,
        )  # fmt: skip
        if isinstance(engine, ThreadEngine):
            engine.use(shelf)
        handle = engine or ThreadEngine(
            root, models_from=models_from, memory=lambda: preferences.for_everybody().memory_megabytes, shelf=shelf
        )
        worker = Worker(jobs, handle, broadcast, keeper, slots=slots, timer=time.monotonic, complete=resolver.complete)
        opened.callback(worker.close)
        users = Users(database, clock, longest=lambda: preferences.for_everybody().session_days * DAY)
        rows = GroupRows(database)
        grids = GridKeeper(database, rows, pictures, clock, preferences.settings_of)
        runner = GroupRunner(rows, jobs, grids, broadcast, clock, fill=worker.fill, cancel=worker.cancel)
        opened.callback(runner.close)
        limits = partial(_limits, preferences)
        groups = Groups(rows, runner, jobs, resolver, limits, inputs, styles, clock)
        queue = Queue(jobs, worker, resolver, broadcast, limits, inputs, groups)
        runner.recover()
        worker.start()
        runner.start()
        return Studio(
            root=root, outputs=outputs, database=database, users=users, queue=queue, groups=groups, resolver=resolver,
            worker=worker, engine=handle, pictures=pictures, inputs=inputs, styles=styles, preferences=preferences,
            shelf=shelf, installer=installer,
            closing=opened.pop_all(),
        )  # fmt: skip


def _limits(preferences: Preferences) -> UserLimits:
    return limits_of(preferences.for_everybody())


def limits_of(settings: Settings) -> UserLimits:
    """How much one person may ask for."""
    return UserLimits(
        queue=settings.most_jobs, pixels=settings.most_pixels, steps=settings.most_steps, count=settings.most_count,
        cells=settings.most_cells,
    )
