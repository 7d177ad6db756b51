"""What goes on in groups without anybody asking: cells become jobs as there is room, their ends are noted, grids are drawn.

A few cells of a person are jobs at a time, so that what they ask for meanwhile waits for those few, and other people's jobs have
their turns as always. Two threads: one looks whenever a job changed, the other draws grids, which takes seconds.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from queue import SimpleQueue

from webui.errors import StorageError
from webui.service.broadcast import Broadcast
from webui.service.grids_kept import GridKeeper
from webui.service.groups_kept import Group, GroupRows
from webui.service.jobs import Job, Jobs
from webui.service.logs import fault

LOGGER = logging.getLogger(__name__)
AHEAD = 6  # cells of a person that are jobs at a time: what runs at once, and some that are ready when one ends
AGAIN_SECONDS = 0.5  # until what the disk had no room for is tried again
NOTHING_MADE = "None of its pictures could be made: {sentence}"
Clock = Callable[[], float]


class GroupRunner:
    """Moves groups on. `turn` is held while rows of groups change; the jobs' own lock is taken inside it, never around it."""

    def __init__(
        self, rows: GroupRows, jobs: Jobs, keeper: GridKeeper, broadcast: Broadcast, clock: Clock, *, fill: Callable[[], None],
        cancel: Callable[[Job], None],
    ) -> None:  # fmt: skip
        self.turn = threading.RLock()
        self._rows = rows
        self._jobs = jobs
        self._keeper = keeper
        self._broadcast = broadcast
        self._clock = clock
        self._fill = fill
        self._cancel = cancel
        self._idle = True  # no group is open: nothing to look at
        self._news = threading.Event()
        self._closing = threading.Event()
        self._to_draw: SimpleQueue[str | None] = SimpleQueue()
        self._looker = threading.Thread(target=self._loop, name="groups", daemon=True)
        self._drawer = threading.Thread(target=self._draw_all, name="grids", daemon=True)

    def recover(self) -> None:
        """Take in the grids that were written when the program was killed; before anybody else looks at such files."""
        self._keeper.recover()

    def start(self) -> None:
        """Go on with what was there when the program ended."""
        self._rows.forget_old(self._clock())
        for group in self._rows.cancelled_with_jobs():
            self.cancel_jobs(group)
        for each in self._rows.open():
            if each.state == "drawing":
                self._to_draw.put(each.id)
        self._jobs.listen(self._changed)
        self._looker.start()
        self._drawer.start()
        self.wake()

    def close(self) -> None:
        """End; a grid that is being drawn is drawn anew at the next start."""
        self._closing.set()
        self._news.set()
        self._to_draw.put(None)
        for thread in (self._looker, self._drawer):
            if thread.is_alive():
                thread.join()

    def wake(self) -> None:
        """There is something new to look at."""
        self._idle = False
        self._news.set()

    def cancel_jobs(self, group: str) -> None:
        """Discard the jobs of a group's cells. Not to be called while `turn` is held."""
        for name in self._rows.jobs_of(group):
            job = self._jobs.get(name)
            if job is not None and job.open:
                self._cancel(job)

    def tell(self, group: Group | None) -> None:
        """Tell a group's owner how far it is."""
        if group is not None:
            self._broadcast.tell(group.user, {
                "job": "", "number": 0, "kind": "group", "group": group.id, "state": group.state, "done": group.done,
                "of": group.of, "grid": group.grid, "sentence": group.sentence,
            })  # fmt: skip

    def look(self) -> None:
        """Note what has ended, queue what there is room for, and have drawn what is full."""
        with self.turn:
            changed = self._rows.settle()
            for group in self._rows.full():
                self._end(group)
                changed.add(group.id)
            there = self._rows.open()
            fed = self._feed(there)
            self._idle = not there and not self._rows.cancelled_with_jobs()
        for name in changed:
            self.tell(self._rows.get(name))
        if fed:
            self._fill()

    def _feed(self, there: Iterable[Group]) -> bool:
        """Make jobs of cells, the oldest group of a person first."""
        room: dict[int, int] = {}
        fed = False
        for group in there:
            left = room.setdefault(group.user, AHEAD - self._rows.queued(group.user))
            while left > 0 and group.state == "running" and (found := self._rows.following(group.id)) is not None:
                place, request, pictures = found
                also = partial(self._rows.submitted, group.id, place)
                self._jobs.add(group.user, group.kind, request, pictures, grouped=group.id, also=also)
                left -= 1
                fed = True
            room[group.user] = left
        return fed

    def _end(self, group: Group) -> None:
        """All cells of a group have ended."""
        made = self._rows.missing(group.id) < group.of
        if not made:
            sentence = next((cell.sentence for cell in self._rows.cells(group.id) if cell.sentence), "")
            said = NOTHING_MADE.format(sentence=sentence)
            self._rows.set(group.id, state="failed", sentence=said, ended=self._clock(), only="running")
        elif group.layout.grid:
            self._rows.set(group.id, state="drawing", only="running")
            self._to_draw.put(group.id)
        else:
            self._rows.set(group.id, state="done", ended=self._clock(), only="running")

    def _changed(self) -> None:
        if not self._idle:
            self._news.set()

    def _loop(self) -> None:
        while not self._closing.is_set():
            self._news.clear()
            try:
                self.look()
                self._news.wait()
            except Exception:
                LOGGER.exception("Groups could not be looked at; it is tried again.")
                self._closing.wait(AGAIN_SECONDS)

    def _draw_all(self) -> None:
        while (name := self._to_draw.get()) is not None and not self._closing.is_set():
            with contextlib.suppress(StorageError):  # then it is drawn at the next start, and the others now
                group = self._rows.get(name)
                if group is not None and group.state == "drawing":
                    self._draw(group)
                    self.tell(self._rows.get(name))

    def _draw(self, group: Group) -> None:
        try:
            self._keeper.keep(group, self._rows.cells(group.id), stop=self._closing.is_set)
        except Exception as error:  # noqa: BLE001  the edge of a grid
            told = fault(error, "The grid")
            with contextlib.suppress(StorageError):  # then it is drawn at the next start
                self._rows.set(group.id, state="failed", sentence=told.sentence, ended=self._clock(), only="drawing")
