"""Extensions while the program runs: loaded, unloaded and loaded again, without a restart and without touching a job that runs.

    shelf = open_shelf(root)
    shelf.now                          # the snapshot that new jobs and the page are made with
    with shelf.held(names, cancel):    # while a job runs
    shelf.unload("mine"); shelf.load("mine")

What is loaded at a moment is one immutable snapshot. Loading makes another one, with a namespace of its own for the code; whoever
has the old one goes on with it. What is taken out of use is let go when the last job that holds it has ended.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from webui.errors import WebUIError, unknown
from webui.service.extension_adding import collected
from webui.service.extension_audit import audit
from webui.service.extension_endings import Endings
from webui.service.extension_guard import Guard
from webui.service.extension_guarded import Ready, ready
from webui.service.extension_homes import Homes
from webui.service.extension_loading import Loaded, added_by, forget, hooks_of, imported, package_of, settings_of
from webui.service.extension_lock import contents, digest, disabled, locked
from webui.service.extension_manifest import MANIFEST
from webui.service.extension_mark import Mark
from webui.service.extension_records import DISABLED, ENDED, FAILED, LOADED, SAFE_MODE, Record
from webui.service.extension_snapshot import Extensions
from webui.service.extension_standing import BUNDLED, Standing, first_import, found_in, missing, note, order, record_of
from webui.service.extension_trial import Refused, Trials, problem_of
from webui.service.extension_watch import LIMITS, Entry, Limits, Watch
from webui.service.folders import CACHE, DATA, own_folder

LOG = logging.getLogger(__name__)
FOLDER = "extensions"  # below root: those that were installed
MARK = "extensions.at-work"  # in the data folder
Listener = Callable[[], None]
Cancel = Callable[[], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Hold:
    """A job and the extensions it runs with: the packages of their code, which each load has one of its own of."""

    packages: frozenset[str]
    cancel: Cancel


class Shelf:
    """The extensions of a folder. Safe from any thread; a job's `now` never changes under it.

    `safe_mode`: only those that come with the program are loaded. `marked`: note in a file who is at work; only one program at a
    time may do so in a folder. Not `kept`: nothing is written below `root` before an extension does. `folders` are those whose
    extensions are taken for the program's own, in place of the usual ones.
    """

    def __init__(
        self, root: Path, *, safe_mode: bool = False, marked: bool = False, kept: bool = True, limits: Limits = LIMITS,
        folders: Sequence[Path] = (), clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.watch = Watch(limits=limits, clock=clock)
        self._data, self.cache = (own_folder(root, name) if kept else root / name for name in (DATA, CACHE))
        self._folders = tuple(dict.fromkeys(folders or (BUNDLED, root / FOLDER)))
        self._all_trusted = bool(folders)
        self._safe_mode = safe_mode
        self._marked = marked
        self._homes = Homes(self._data, make=kept)
        self._trials = Trials(self.cache, seconds=limits.trial)
        self._endings = Endings(self._data)
        self._turn = threading.RLock()  # held while one is loaded or unloaded, which may take seconds
        self._freed = threading.Condition()  # guards the holds
        self._holds: set[Hold] = set()
        self._listeners: list[Listener] = []
        self._standings: dict[str, Standing] = {}
        self._refreshing: set[str] = set()
        self._now = Extensions()
        self.watch.listeners.append(self._note_held_up)

    @property
    def now(self) -> Extensions:
        """What is loaded now."""
        return self._now

    def changed(self, listener: Listener) -> Callable[[], None]:
        """Have a function called whenever `now` is another one; what is returned ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def open(self) -> None:
        """Load everything that is to be loaded."""
        if self._marked:
            self.watch.mark = Mark(self._data / MARK)
            self._endings.note(self.watch.mark.left, self._content_of)
            self.watch.start()
        with self._turn:
            off = disabled(self._data)
            for standing in self._found():
                self._standings[standing.name] = standing
                if standing.name in off:
                    standing.state = DISABLED
                elif not standing.problem:
                    self._begin(standing)
            self._publish()

    def close(self) -> None:
        """Tell every extension that the program ends, and look after them no more."""
        with self._turn:
            standings = [each for each in self._standings.values() if each.ready is not None]
        for standing in standings:
            self._tell_unloaded(standing.ready, standing.guard)
            if standing.watched is not None:
                audit().remove(standing.watched)
        self.watch.close()

    def check(self, folder: Path) -> None:
        """Import the extension in a folder in another process, unless just this was done before; `Refused` says what is wrong."""
        self._trials.check(folder)

    def load(self, name: str) -> None:
        """Load an extension, again if it is loaded: its files are read anew. `UserError` or `ExtensionError` where that fails."""
        with self._turn:
            standing = next((each for each in self._found() if each.name == name), None)
            if standing is None:
                raise unknown("extension", name, self._standings)
            self._endings.forget(name)
            old = self._standings.get(name)
            self._standings[name] = standing
            if not standing.problem:
                self._begin(standing, again=True)
            self._publish()
            problem, trace = standing.problem, standing.trace
        if old is not None and old.ready is not None:
            self._let_go(old, wait=False)
        if problem:
            raise Refused(problem, trace)

    def unload(self, name: str, *, cancel: bool = False, wait: bool = True) -> None:
        """Take an extension out of use; jobs that run with it are waited for, or with `cancel` cancelled first.

        Without `wait` it is let go when the last of them has ended. Nothing happens where it is not loaded.
        """
        with self._turn:
            old = self._standings.get(name)
            if old is None:
                return
            self._standings[name] = Standing(
                name=name, folder=old.folder, bundled=old.bundled, manifest=old.manifest, state=DISABLED
            )
            self._publish()
        with self._freed:
            holds = [each for each in self._holds if old.ready is not None and old.ready.loaded.package in each.packages]
        if cancel:
            for hold in holds:
                hold.cancel()
        if old.ready is not None:
            self._let_go(old, wait=wait)

    def refresh(self, name: str) -> None:
        """Ask an extension again what it adds; where that fails, what it added before stays, and the failure is noted."""
        present = self._standings.get(name)
        if present is None or present.ready is None or name in self._refreshing:  # it is being asked just now
            return
        with self.watch.unhurried(), self._turn:
            standing = self._standings.get(name)
            if standing is None or standing.ready is None or standing.guard is None or name in self._refreshing:
                return
            self._refreshing.add(name)
            try:
                loaded = self._asked(standing.ready.loaded, standing.guard)
                standing.ready = ready(loaded, standing.guard)
                self._publish()
            finally:
                self._refreshing.discard(name)

    def set_settings(self, name: str, values: dict[str, object]) -> None:
        """Set settings of an extension, which it is told at once; `UserError` where it has none or a value means nothing."""
        kind = self._now.settings.get(name)
        if kind is None:
            raise unknown("extension with settings", name, self._now.settings)
        self._homes.set(name, kind, values)
        self.refresh(name)

    @contextmanager
    def held(self, names: Sequence[str], cancel: Cancel) -> Iterator[None]:
        """While a job runs with these extensions: as they are now, whatever is loaded meanwhile."""
        release = self.hold(names, cancel)
        try:
            yield
        finally:
            release()

    def hold(self, names: Sequence[str], cancel: Cancel) -> Callable[[], None]:
        """Begin to hold extensions for a job; returns what ends it. `cancel` is called where somebody does not want to wait."""
        packages = self._now.packages
        hold = Hold(packages=frozenset(packages[name] for name in names if name in packages), cancel=cancel)
        with self._freed:
            self._holds.add(hold)

        def release() -> None:
            with self._freed:
                self._holds.discard(hold)
                self._freed.notify_all()

        return release

    def records(self) -> list[Record]:
        """Everything that is known of each extension, by name."""
        standings = [each for _, each in sorted(self._there().items())]
        return [self._record(each) for each in standings if (each.folder / MANIFEST).exists()]

    def record(self, name: str) -> Record:
        """What is known of one extension; `UnknownName` where there is none."""
        there = self._there()
        if name not in there:
            raise unknown("extension", name, there)
        return self._record(there[name])

    # What happens inside.

    def _found(self) -> list[Standing]:
        return found_in(self._folders, None if self._all_trusted else BUNDLED)

    def _there(self) -> dict[str, Standing]:
        """What is on the shelf, and the folders that came while the program ran, which wait for an owner to enable them."""
        new = [each for each in self._found() if each.name not in self._standings]
        return {each.name: each if each.problem else replace(each, state=DISABLED) for each in new} | self._standings.copy()

    def _content_of(self, name: str) -> str:
        """The hash of the code that was loaded last of an extension that somebody added; "" for others."""
        folder = next((each.folder for each in self._found() if each.name == name and not each.bundled), None)
        return "" if folder is None else self._trials.known(name) or digest(contents(folder))

    def _begin(self, standing: Standing, *, again: bool = False) -> None:
        """Load an extension; where that fails its standing says why."""
        assert standing.manifest is not None
        if not standing.bundled and self._safe_mode:
            standing.state = SAFE_MODE
            standing.problem = "The program was started in safe mode, without extensions that somebody added."
            return
        ended = self._endings.of(standing.name, standing.folder)
        if ended and not again:
            standing.state, standing.problem = ENDED, ended
            return
        try:
            self._take_in(standing, again)
        except Exception as error:
            standing.problem = problem_of(standing.name, error)
            standing.trace = error.trace if isinstance(error, Refused) else traceback.format_exc()
            where = (Refused, Refused(standing.problem, standing.trace), None)  # lines of the extension, not of this program
            LOG.warning("The extension in %s is left out: %s", standing.folder, standing.problem, exc_info=where)

    def _take_in(self, standing: Standing, again: bool) -> None:
        manifest = standing.manifest
        assert manifest is not None
        if not standing.bundled or again:
            self._trials.check(standing.folder)
        guard = Guard(owner=standing.name, watch=self.watch, trusted=standing.bundled, failed=lambda *told: note(standing, *told))
        home = self._homes.of(manifest, lambda: self.refresh(standing.name))
        watched = None if standing.bundled else audit().add(manifest, home.folder)
        began = time.perf_counter()
        try:
            first = standing.folder.parent == BUNDLED and not again
            bring_in = partial(first_import if first else imported, manifest)
            module = guard.asked("its own import", bring_in)
            hooks = hooks_of(module, standing.name)
            loaded = self._asked(Loaded(manifest=manifest, home=home, package=module.__name__, hooks=hooks), guard)
        except BaseException:
            if watched is not None:
                audit().remove(watched)
            raise
        loaded = replace(loaded, milliseconds=1000 * (time.perf_counter() - began))
        standing.ready, standing.guard, standing.watched = ready(loaded, guard), guard, watched
        standing.state, standing.problem = LOADED, ""

    def _asked(self, loaded: Loaded, guard: Guard) -> Loaded:
        """An extension with what its hooks add now, told its settings as they are now."""
        kind = settings_of(loaded.hooks, loaded.home, guard.asked)
        home = self._homes.furnished(loaded.home, kind)
        added = added_by(loaded.hooks, home, guard.asked) | ({} if kind is None else {"settings": kind})
        return replace(loaded, home=home, added=added)

    def _publish(self) -> None:
        """Make the snapshot of what is loaded now, and tell of it."""
        standings = sorted((each for each in self._standings.values() if each.ready is not None), key=order)
        there = {each.name for each in standings}
        lacking: dict[str, str] = {}
        while more := missing(standings, there):
            lacking |= more
            there -= set(more)
        problems = {each.name: each.problem for each in self._standings.values() if each.problem and each.ready is None}
        made, refused = collected([each.ready for each in standings if each.name in there and each.ready], problems | lacking)
        for each in standings:
            why = lacking.get(each.name) or str(refused.get(each.name, ""))
            each.state, each.problem = (FAILED, why) if why else (LOADED, "")
        self._now = replace(made, unhurried=self.watch.unhurried, during=self.watch.during)
        for listener in list(self._listeners):
            listener()

    def _let_go(self, standing: Standing, *, wait: bool) -> None:
        """Forget the code of an extension that is out of use, when no job holds it any more."""
        old, guard = standing.ready, standing.guard
        assert old is not None

        def finish() -> None:
            with self._freed:
                self._freed.wait_for(lambda: not any(old.loaded.package in hold.packages for hold in self._holds))
            self._tell_unloaded(old, guard)
            if standing.watched is not None:
                audit().remove(standing.watched)
                forget(old.loaded.package, old.loaded.manifest)

        if wait:
            finish()
        else:
            threading.Thread(target=finish, name=f"lets {standing.name} go", daemon=True).start()

    def _note_held_up(self, entry: Entry) -> None:
        standing = self._standings.get(entry.owner)
        if standing is not None:
            sentence = f"It was still busy in {entry.hook} after {entry.limit:g} seconds; the job it was busy with was ended."
            standing.failure = (sentence, "".join(traceback.format_stack(sys._current_frames().get(entry.thread))))

    def _tell_unloaded(self, old: Ready | None, guard: Guard | None) -> None:
        if old is not None and guard is not None and "unloaded" in old.loaded.hooks:
            try:
                guard.limited("unloaded", lambda: old.loaded.hooks["unloaded"](home=old.loaded.home))
            except WebUIError:
                LOG.warning("The extension %s failed when it was told that it is unloaded.", old.loaded.name, exc_info=True)

    def _record(self, standing: Standing) -> Record:
        entry = locked(self._data).get(standing.name)
        source = "with the program" if standing.bundled else str(entry.source) if entry is not None else "put there by hand"
        with self._freed:
            jobs = sum(any(package_of(each) == standing.name for each in hold.packages) for hold in self._holds)
        return record_of(standing, source, jobs)


def open_shelf(root: Path, *, safe_mode: bool = False, marked: bool = False, limits: Limits = LIMITS) -> Shelf:
    """The extensions of a folder and those that come with the program, loaded."""
    shelf = Shelf(root, safe_mode=safe_mode, marked=marked, limits=limits)
    shelf.open()
    return shelf
