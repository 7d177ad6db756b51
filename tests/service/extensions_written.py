"""Extensions that tests write into a folder: a manifest, and code that does what the test is about."""

from __future__ import annotations

from pathlib import Path

from webui.service.extension_shelf import Shelf
from webui.service.extension_watch import Limits

HEAD = """from __future__ import annotations
from dataclasses import dataclass
from webui.extension import Params, Patches, Section, SamplerInfo, UserError, hook, param
"""
SWITCH = """
@dataclass(frozen=True, kw_only=True)
class Mine(Params):
    on: bool = param(False, "On", help="Whether it does something.")

@hook
def params():
    return [Section(title="Mine", params=Mine)]
"""


def write(root: Path, name: str, code: str, *, manifest: str = "", version: str = "1.0", api: str = "1", **files: str) -> Path:
    """Write an extension below `root`; `manifest` are more lines of its own. Returns its folder."""
    place = root / "extensions" / name
    place.mkdir(parents=True, exist_ok=True)
    said = {"name": name, "version": version, "api": api, "description": "For a test."}
    lines = "".join(f'{key} = "{value}"\n' for key, value in said.items())
    (place / "extension.toml").write_text(lines + manifest, encoding="utf-8")
    (place / "__init__.py").write_text(HEAD + code, encoding="utf-8")
    for file, text in files.items():
        (place / f"{file}.py").write_text(text, encoding="utf-8")
    return place


def known(shelf: Shelf, *places: Path) -> None:
    """Take the code in folders for tried, so that no other process is begun for it."""
    from webui.service.extension_lock import contents, digest
    from webui.service.extension_trial import KNOWN
    from webui.weights import remembered

    path = shelf.cache / KNOWN
    remembered.add(path, {place.name: digest(contents(place)) for place in places})


def shelf_of(root: Path, *places: Path, seconds: float = 5.0, marked: bool = False) -> Shelf:
    """A shelf of what is below `root`, opened; the code in `places` counts as tried. Limits are `seconds`."""
    shelf = Shelf(root, marked=marked, limits=Limits(page=seconds, job=seconds, trial=30.0))
    known(shelf, *places)
    shelf.open()
    return shelf
