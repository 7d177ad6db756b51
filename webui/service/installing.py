"""Installing, updating and removing extensions: looked at first, moved in whole or not at all, and gone without a trace.

    installer = Installer(root)
    found = installer.examine("https://example.org/mine.git")    # brought here and read; nothing of it is run
    installer.install(found)                                     # or installer.discard(found)

What an extension is installed from is never run: no setup script, no hook of git, no package that is not a wheel. Its own code is
run for the first time in another process, when its owner has said that it shall be installed.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from filelock import FileLock, Timeout

from webui.errors import StorageError, UserError, WebUIError, quoted, unknown
from webui.service import extension_lock, requirements
from webui.service.extension_homes import SETTINGS, STORAGE
from webui.service.extension_index import Entry, Index, read_index
from webui.service.extension_lock import WITH_PROGRAM, Locked, Source
from webui.service.extension_manifest import MANIFEST, NAME, Manifest, read_manifest
from webui.service.extension_standing import BUNDLED
from webui.service.extension_trial import tried
from webui.service.folders import DATA, own_folder
from webui.service.installing_sources import brought, recognised
from webui.service.installing_states import Examined, State
from webui.weights import remembered

FOLDER, STAGED = "extensions", ".staged"  # below root; in it
READY, OLD, GONE = "ready", "old", "gone"  # in a staging folder: what comes, what it replaces, what was removed
UPLOAD = "upload"  # the kind of source of a file that somebody brought to the page
BUSY = "installing.lock"  # in the data folder, held by who installs
PATIENCE = 60.0  # seconds
FORGOTTEN = 86_400.0  # seconds after which what was looked at and neither installed nor discarded is
Act = Callable[[str], None]  # is told the name of an extension
Check = Callable[[Path], None]  # imports the extension in a folder in another process; raises a sentence where that fails


def nothing(_: str) -> None:
    """What is done where nobody has extensions loaded."""


class Installer:
    """Installs into `root`/extensions. Safe from any thread, and beside other processes that do the same.

    `check` imports an extension in another process. Where a server has extensions loaded, `unload` ends the use of one before its
    files change, and `load` takes it into use; if `load` raises, what was there before is put back. `pip_options` say where pip
    looks for packages, if not where it is set up to.
    """

    def __init__(
        self, root: Path, *, check: Check = tried, load: Act = nothing, unload: Act = nothing,
        pip_options: Sequence[str] = (), clock: Callable[[], float] = time.time, bundled: Path = BUNDLED,
    ) -> None:  # fmt: skip
        self.folder, self.data = root / FOLDER, own_folder(root, DATA)
        self._check, self._load, self._unload = check, load, unload
        self._pip_options, self._clock, self._bundled = tuple(pip_options), clock, bundled

    def states(self) -> list[State]:
        """Every extension that is there, by name."""
        entries, off = extension_lock.locked(self.data), extension_lock.disabled(self.data)
        found = (place.parent for folder in (self._bundled, self.folder) for place in folder.glob(f"*/{MANIFEST}"))
        places = {place.name: place for place in found}
        return [self._state(name, places[name], entries.get(name), name not in off) for name in sorted(places)]

    def state(self, name: str) -> State:
        """One extension; `UnknownName` where there is none of that name."""
        states = self.states()
        for state in states:
            if state.name == name:
                return state
        raise unknown("extension", name, [state.name for state in states])

    def enable(self, name: str) -> None:
        """Let an extension be loaded, now and at every start."""
        extension_lock.set_disabled(self.data, self.state(name).name, False)
        self._load(name)

    def disable(self, name: str) -> None:
        """Let an extension be loaded no more; its files stay."""
        extension_lock.set_disabled(self.data, self.state(name).name, True)
        self._unload(name)

    def index(self, address: str = "") -> Index:
        """A list of extensions, which is remembered; without an address the one that was."""
        known = address or extension_lock.index_address(self.data)
        if not known:
            raise UserError("No list of extensions is known; give the address of one, or a file.")
        found = read_index(known)
        if address:
            extension_lock.set_index_address(self.data, found.address)
        return found

    def examine(self, source: str, *, commit: str = "", ref: str = "", called: str = "") -> Examined:
        """Bring an extension here and say what would be installed. Nothing of it is run; `UserError` says why it is refused.

        `source` is anything `recognised` knows, or a name in the list that was last looked at. `called` is what a file that
        somebody brought to the page was called there.
        """
        given, entry = recognised(source, commit, ref), None
        if given is None:
            entry = self._listed(source)
            given = recognised(entry.url, commit or entry.commit, ref)
            if given is None:
                raise UserError(f"The list says that {entry.name} is at {quoted(entry.url)}, where nothing is.")
        return self._examine(given, called=called, entry=entry)

    def examine_update(self, name: str, *, commit: str = "") -> Examined:
        """Look at what there is now where an extension was installed from; `same` says that it is what is installed."""
        entry = self.state(name).entry
        if entry is None:
            raise UserError(f"The extension {name} was not installed from anywhere, where another version could be.")
        if entry.source.kind == UPLOAD:
            raise UserError(f"{name} was brought as the file {quoted(entry.source.address)}; install the newer file instead.")
        source = recognised(entry.source.address, commit, "" if commit else entry.source.ref)
        assert source is not None  # it was recognised before
        found = self._examine(source)
        if found.name != name:
            self.discard(found)
            raise UserError(f"What is at {source} now calls itself {quoted(found.name)}; {name} stays as it is.")
        return found

    def install(self, found: Examined) -> State:
        """Install what was looked at, or put it in place of what is there; where that fails, everything is as it was before."""
        with self._alone(), self._staging(found.staged):
            place = found.manifest.folder
            if not place.is_dir() or extension_lock.contents(place) != found.files:
                raise UserError(f"The files of {found.name} are not those that were looked at any more; look at it again.")
            self._place_for(found.name)
            requirements.fetch(found.name, found.plan, place / extension_lock.PACKAGES, options=self._pip_options)
            self._check(place)
            files = extension_lock.contents(place)
            entry = Locked(
                version=found.manifest.version, source=found.source, content=extension_lock.digest(files), files=files,
                packages=found.plan.packages, installed=self._clock(),
            )  # fmt: skip
            self._move_in(found.name, place, found.staged / OLD, entry)
        return self.state(found.name)

    def discard(self, found: Examined) -> None:
        """Forget what was looked at."""
        self._forget(found.staged)

    def remove(self, name: str, *, storage: bool = False, by_hand: bool = False) -> None:
        """Remove an extension with all that it brought; with `storage` also what it kept.

        One that was not installed but put there by hand is removed only where `by_hand` says so: there may be no other copy.
        """
        with self._alone():
            state = self.state(name)
            if state.bundled:
                raise UserError(f"The extension {name} comes with the program and cannot be removed; disable it instead.")
            if state.entry is None and not by_hand:
                raise UserError(f"The extension {name} was put there by hand; say that you mean it, for it may be the only copy.")
            needed = [each.name for each in self.states() if each.manifest and name in each.manifest.extensions]
            if needed:
                raise UserError(f"The extension {name} is required by {', '.join(needed)}; remove that first.")
            with self._staging(self._stage()) as staged:
                self._unload(name)
                self._move(state.folder, staged / GONE / name)
                extension_lock.lock(self.data, name, None)
                extension_lock.set_disabled(self.data, name, False)
            if storage:
                shutil.rmtree(self.data / STORAGE / name, ignore_errors=True)
                self._forget_settings(name)

    def _forget_settings(self, name: str) -> None:
        path = self.data / SETTINGS
        kept = remembered.read(path)
        if kept.pop(name, None) is not None:
            with contextlib.suppress(OSError):  # what is left is a few numbers under a name that nothing has
                remembered.replace(path, kept)

    def recover(self) -> None:
        """Put back what a program that was killed while it installed had taken away, and delete what it left."""
        with self._alone():
            for staged in self._staged():
                for old in staged.glob(f"{OLD}/*"):
                    if not (self.folder / old.name).exists():
                        self._move(old, self.folder / old.name)
                with contextlib.suppress(OSError):
                    if self._clock() - staged.stat().st_mtime > FORGOTTEN or (staged / OLD).exists() or (staged / GONE).exists():
                        shutil.rmtree(staged, ignore_errors=True)

    def _examine(self, source: Source, called: str = "", entry: Entry | None = None) -> Examined:
        staged = self._stage()
        try:
            place, source = brought(source, staged, entry.sha256 if entry else "")
            if called:
                source = replace(source, kind=UPLOAD, address=PurePath(called.replace("\\", "/")).name)
            name = _own_name(place, str(source))
            if entry is not None and name != entry.name:
                raise UserError(f"The list calls it {entry.name}, but it calls itself {quoted(name)}; it is not installed.")
            self._place_for(name)
            ready = staged / READY / name
            ready.parent.mkdir()
            place.rename(ready)
            return self._found(read_manifest(ready), source, staged)
        except OSError as error:
            self._forget(staged)
            raise StorageError(f"The extension could not be brought to {self.folder} ({error.strerror}).") from error
        except BaseException:
            self._forget(staged)
            raise

    def _found(self, manifest: Manifest, source: Source, staged: Path) -> Examined:
        """What is to be said of an extension whose files are here."""
        if not (manifest.folder / "__init__.py").is_file():
            raise UserError(f"The extension {manifest.name} has no file __init__.py; it is not installed.")
        entries = extension_lock.locked(self.data)
        known = {state.name for state in self.states()}
        missing = sorted(set(manifest.extensions) - known - {manifest.name})
        if missing:
            raise UserError(f"The extension {manifest.name} requires {', '.join(missing)}; install that first.")
        others = {name: entry.packages for name, entry in entries.items() if name != manifest.name}
        plan = requirements.resolve(manifest.name, manifest.packages, others, options=self._pip_options)
        files, before = extension_lock.contents(manifest.folder), entries.get(manifest.name)
        place = self.folder / manifest.name
        lost = tuple(extension_lock.changes(place, before)) if before and place.exists() else ()
        content = extension_lock.digest(files)
        return Examined(
            manifest=manifest, source=source, files=files, content=content, plan=plan, staged=staged, lost=lost,
            replaces=before.version if before else "",
            same=before is not None and (before.content, before.source.commit) == (content, source.commit) and not lost,
        )  # fmt: skip

    def _place_for(self, name: str) -> None:
        """Refuse to put an extension where something else is."""
        if name in WITH_PROGRAM or (self._bundled != self.folder and (self._bundled / name).exists()):
            raise UserError(f"An extension {name} comes with the program; another one must have another name.")
        if (self.folder / name).exists() and name not in extension_lock.locked(self.data):
            raise UserError(f"There is a folder {name} in {self.folder} that was put there by hand; move it away first.")

    def _listed(self, name: str) -> Entry:
        if not extension_lock.index_address(self.data):
            raise UserError(
                f"There is nothing called {quoted(name)} here, and no list of extensions to look it up in; give an address, a "
                "file or a folder."
            )
        return self.index().named(name)

    def _move_in(self, name: str, place: Path, aside: Path, entry: Locked) -> None:
        """Put new files in the place of the old ones; where anything fails, the old ones are back, and in use."""
        target, old, before = self.folder / name, aside / name, extension_lock.locked(self.data).get(name)
        self._unload(name)
        try:
            if target.exists():
                self._move(target, old)
            self._move(place, target)
            extension_lock.lock(self.data, name, entry)
            if name not in extension_lock.disabled(self.data):
                self._load(name)
        except BaseException:
            if old.exists():
                if target.exists():
                    self._move(target, place)
                self._move(old, target)
            elif before is None and target.exists() and not place.exists():
                self._move(target, place)
            extension_lock.lock(self.data, name, before)
            if before is not None and name not in extension_lock.disabled(self.data):
                with contextlib.suppress(WebUIError):
                    self._load(name)
            raise

    def _move(self, place: Path, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            place.rename(target)
        except OSError as error:
            raise StorageError(f"{place} could not be moved to {target} ({error.strerror}); close what uses it.") from error

    def _state(self, name: str, folder: Path, entry: Locked | None, enabled: bool) -> State:
        manifest, problem = None, ""
        try:
            manifest = read_manifest(folder)
        except UserError as error:
            problem = str(error)
        bundled = folder.parent == self._bundled and (name in WITH_PROGRAM or self._bundled != self.folder)
        differs = tuple(extension_lock.changes(folder, entry)) if entry is not None else ()
        return State(
            name=name, folder=folder, manifest=manifest, enabled=enabled, bundled=bundled, entry=entry, changes=differs,
            problem=problem,
        )  # fmt: skip

    def _stage(self) -> Path:
        """A new folder beside the extensions, on the same disk, for one piece of work."""
        try:
            for _ in range(3):  # another installation that ends may take the folder away just now
                (self.folder / STAGED).mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    return Path(tempfile.mkdtemp(dir=self.folder / STAGED))
        except OSError as error:
            raise StorageError(f"Nothing can be written in {self.folder} ({error.strerror}).") from error
        raise StorageError(f"Nothing can be written in {self.folder}: another program deletes it.")

    def _forget(self, staged: Path) -> None:
        shutil.rmtree(staged, ignore_errors=True)
        with contextlib.suppress(OSError):  # there is more in it
            (self.folder / STAGED).rmdir()

    def _staged(self) -> list[Path]:
        folder = self.folder / STAGED
        return [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []

    @contextlib.contextmanager
    def _staging(self, staged: Path) -> Iterator[Path]:
        """A staging folder that is deleted in the end, however it ends."""
        try:
            yield staged
        finally:
            self._forget(staged)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One installation at a time, whichever process it is in."""
        held = FileLock(self.data / BUSY)
        try:
            held.acquire(timeout=PATIENCE)
        except Timeout as error:
            raise UserError("Another extension is being installed or removed; try again when that is done.") from error
        try:
            yield
        finally:
            held.release()


def _own_name(place: Path, what: str) -> str:
    """What an extension calls itself, if that can be a folder's name; the rest of its manifest is read there."""
    try:
        name = tomllib.loads((place / MANIFEST).read_text(encoding="utf-8")).get("name")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The file {MANIFEST} in {quoted(what)} cannot be read: {error}.") from error
    if not isinstance(name, str) or not NAME.fullmatch(name):
        shown = quoted(name) if isinstance(name, str) else "nothing"
        raise UserError(f"What is in {quoted(what)} calls itself {shown}; a name has up to 40 of a-z, 0-9 and _, first a letter.")
    return name
