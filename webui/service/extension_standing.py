"""Where each extension stands: its folder, what is loaded of it, and why nothing is."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from webui.errors import ExtensionError, UserError
from webui.service.extension_audit import Watched
from webui.service.extension_guard import Guard
from webui.service.extension_guarded import Ready
from webui.service.extension_loading import imported
from webui.service.extension_lock import WITH_PROGRAM
from webui.service.extension_manifest import MANIFEST, Manifest, read_manifest
from webui.service.extension_records import FAILED, Record

BUNDLED = Path(__file__).resolve().parents[2] / "extensions"


@dataclass(kw_only=True, eq=False)
class Standing:
    """An extension on the shelf: where it is, and what is loaded of it, if anything is."""

    name: str
    folder: Path
    bundled: bool
    manifest: Manifest | None = None
    state: str = FAILED
    problem: str = ""
    trace: str = ""
    ready: Ready | None = None
    guard: Guard | None = None
    watched: Watched | None = None
    failure: tuple[str, str] = ("", "")  # the last that went wrong while it was loaded


def found_in(folders: Sequence[Path], bundled: Path | None) -> list[Standing]:
    """Every extension there is a folder of, in their order; `bundled` has those of the program, which all are if it is None."""
    found: dict[str, Standing] = {}
    for place in [place.parent for folder in folders for place in sorted(folder.glob(f"*/{MANIFEST}"))]:
        own = bundled is None or (place.parent == bundled and (place.name in WITH_PROGRAM or bundled != folders[-1]))
        standing = Standing(name=place.name, folder=place, bundled=own)
        if place.name in found:
            found[place.name].problem = f"The extension {place.name} is there twice; remove one of the folders."
            continue
        found[place.name] = standing
        try:
            standing.manifest = read_manifest(place)
        except UserError as error:
            standing.problem = str(error)
    return sorted(found.values(), key=order)


def first_import(manifest: Manifest) -> ModuleType:
    """The package of an extension that comes with the program, which all shelves of one process begin with."""
    return _first_import(manifest.folder)


@cache
def _first_import(folder: Path) -> ModuleType:
    return imported(read_manifest(folder))


def missing(standings: Sequence[Standing], there: set[str]) -> dict[str, str]:
    """Those that require others which are not there, and why."""
    found: dict[str, str] = {}
    for each in standings:
        lacks = sorted(set(each.manifest.extensions) - there) if each.manifest is not None and each.name in there else []
        if lacks:
            found[each.name] = f"The extension {each.name} requires {', '.join(lacks)}, which is not loaded."
    return found


def order(standing: Standing) -> tuple[int, str]:
    """By what extensions follow each other: what their manifests say, then their names."""
    return (standing.manifest.order if standing.manifest is not None else 0, standing.name)


def note(standing: Standing, _owner: str, hook: str, error: BaseException) -> None:
    """Keep what went wrong last, for whoever looks at the extension."""
    trace = "".join(traceback.format_exception(error))
    sentence = str(error) if isinstance(error, ExtensionError) else f"It failed in {hook}: {type(error).__name__}: {error}"
    standing.failure = (sentence, trace)


def record_of(standing: Standing, source: str, jobs: int) -> Record:
    """What is known of an extension that came from `source` and that `jobs` run with."""
    loaded = None if standing.ready is None else standing.ready.loaded
    problem, trace = (standing.problem, standing.trace) if standing.problem else standing.failure
    return Record(
        name=standing.name, state=standing.state, folder=standing.folder, bundled=standing.bundled, manifest=standing.manifest,
        source=source, milliseconds=loaded.milliseconds if loaded else 0.0, hooks=tuple(sorted(loaded.hooks)) if loaded else (),
        problem=problem, trace=trace, findings=tuple(standing.watched.findings.values()) if standing.watched else (),
        settings=dict(loaded.home.settings) if loaded else {}, jobs=jobs,
    )  # fmt: skip
