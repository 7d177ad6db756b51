"""Extensions: found in folders, loaded, and asked through one snapshot. One that cannot be loaded costs itself only."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from webui.errors import UserError
from webui.extension import Home
from webui.service.extension_adding import Adding
from webui.service.extension_loading import Loaded, added_by, forget, hooks_of, imported
from webui.service.extension_manifest import MANIFEST, Manifest, read_manifest
from webui.service.extension_snapshot import Extensions

__all__ = ["BUNDLED", "MANIFEST", "Extensions", "Manifest", "bundled", "load", "read_manifest"]

BUNDLED = Path(__file__).resolve().parents[2] / "extensions"
LOG = logging.getLogger(__name__)


@cache
def bundled() -> Extensions:
    """Those that come with the program."""
    return load((BUNDLED,))


def load(folders: Sequence[Path]) -> Extensions:
    """Load every extension in `folders`, in their order; what cannot be loaded is left out, with the reason."""
    problems: dict[str, str] = {}
    adding = Adding()
    found: dict[str, Manifest] = {}
    for place in sorted(place.parent for folder in folders for place in folder.glob(f"*/{MANIFEST}")):
        try:
            manifest = read_manifest(place)
            if manifest.name in found:
                raise UserError(f"The extension {manifest.name} is there twice; remove one of the folders.")
            found[manifest.name] = manifest
        except UserError as error:
            problems[place.name] = str(error)
    for manifest in sorted(found.values(), key=lambda each: (each.order, each.name)):
        try:
            adding.add(loaded(manifest))
        except Exception as error:
            problems[manifest.name] = str(error) or type(error).__name__
            LOG.warning("The extension in %s is left out: %s", manifest.folder, problems[manifest.name], exc_info=True)
    return adding.snapshot(problems)


def loaded(manifest: Manifest) -> Loaded:
    """Load one extension; where that fails nothing of it is left."""
    module = imported(manifest)
    home = Home(name=manifest.name, version=manifest.version, folder=BUNDLED.parent / "data" / "extensions" / manifest.name)
    try:
        hooks = hooks_of(module, manifest.name)
        added = added_by(hooks, home, lambda _, call: call())
    except BaseException:
        forget(module.__name__)
        raise
    return Loaded(manifest=manifest, home=home, package=module.__name__, hooks=hooks, added=added)
