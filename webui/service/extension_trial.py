"""The first import of new code: in another process, where it can hang, end the process or write to its output as it likes.

    python -m webui.service.extension_trial FOLDER REPORT

imports the extension in FOLDER, asks its hooks what they add, and writes what came of it to the file REPORT.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from webui.errors import ExtensionError, UserError
from webui.extension import Home
from webui.service.extension_loading import added_by, hooks_of, imported
from webui.service.extension_lock import contents, digest
from webui.service.extension_manifest import read_manifest
from webui.service.extension_watch import LIMITS
from webui.weights import remembered

KNOWN = "extensions_known.json"  # in the cache folder: hashes of contents by name
PROGRAM = Path(__file__).resolve().parents[2]


class Refused(ExtensionError):
    """New code that did not get through its first import; `trace` is where it failed, "" where that is not known."""

    def __init__(self, message: str, trace: str = "") -> None:
        super().__init__(message)
        self.trace = trace
        if trace:
            self.add_note(trace)


def tried(folder: Path, *, seconds: float = LIMITS.trial) -> None:
    """Import the extension in a folder in another process; raises `Refused` with a sentence where that fails."""
    name = folder.name
    with tempfile.TemporaryDirectory(prefix="webui-trial-") as place:
        report = Path(place, "report.json")
        child = subprocess.Popen(
            [sys.executable, "-m", "webui.service.extension_trial", str(folder.resolve()), str(report)], cwd=PROGRAM,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=sys.platform != "win32",
        )  # fmt: skip
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
        said = _said(report)
    if code is None:
        raise Refused(f"The extension {name} was not imported within {seconds:g} seconds; it is not loaded.")
    if said is None:
        raise Refused(f"The extension {name} ended the process that imported it (exit code {code}); it is not loaded.")
    if said["problem"]:
        raise Refused(said["problem"], said["trace"])


class Trials:
    """Imports in other processes, each content once: what got through is remembered by its hash in the cache folder."""

    def __init__(self, cache: Path, *, seconds: float) -> None:
        self._path = cache / KNOWN
        self._seconds = seconds

    def known(self, name: str) -> str:
        """The hash of what got through last under a name, "" for nothing."""
        return str(remembered.read(self._path).get(name, ""))

    def check(self, folder: Path) -> None:
        """Import the extension in a folder in another process, unless just this got through before; raises `Refused`."""
        content = digest(contents(folder))
        if self.known(folder.name) == content:
            return
        tried(folder, seconds=self._seconds)
        remembered.add(self._path, {folder.name: content})


def main(folder: Path, report: Path) -> None:
    """What the other process does."""
    problem = trace = ""
    try:
        _import(folder)
    except BaseException as error:  # noqa: BLE001  all that code can raise is what is asked here
        problem, trace = problem_of(folder.name, error), traceback.format_exc()
    report.write_text(json.dumps({"problem": problem, "trace": trace}), encoding="utf-8")
    os._exit(0)  # threads that the extension began keep nobody waiting


def problem_of(name: str, error: BaseException) -> str:
    """The sentence for an extension that cannot be loaded."""
    if isinstance(error, UserError | ExtensionError):
        return str(error)
    return f"The extension {name} cannot be loaded: {type(error).__name__}: {error}"


def _import(folder: Path) -> None:
    manifest = read_manifest(folder)
    module = imported(manifest)
    with tempfile.TemporaryDirectory(prefix="webui-trial-") as place:
        home = Home(name=manifest.name, version=manifest.version, folder=Path(place))
        added_by(hooks_of(module, manifest.name), home, lambda _, call: call())
    if "torch" in sys.modules:
        raise UserError(
            f"The extension {manifest.name} imports torch when it is loaded, for which everybody would have to wait; import it "
            "in the functions that use it."
        )


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the process, and those it began."""
    with contextlib.suppress(OSError):
        if sys.platform != "win32":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def _said(report: Path) -> dict[str, str] | None:
    try:
        found = json.loads(report.read_text("utf-8"))
        return {"problem": str(found["problem"]), "trace": str(found["trace"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
