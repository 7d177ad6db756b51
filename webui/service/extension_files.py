"""The files of extensions that the page loads: exactly those their manifests name, as they were when the extension was loaded."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from webui.service.extensions import Extensions

CODE, STYLES = (".js", ".mjs"), (".css",)
JAVASCRIPT = "javascript"  # the permission without which no code of an extension runs in the page
LARGEST = 8 * 2**20  # bytes of a file
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PageFiles:
    """An extension's files by their paths in its folder; `version` changes with any of them."""

    code: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    contents: Mapping[str, bytes] = field(default_factory=dict)
    version: str = ""

    def address(self, extension: str, path: str) -> str:
        """Where the page finds a file."""
        return f"/x/extensions/{extension}/files/{self.version}/{path}"


def page_files(extensions: Extensions) -> dict[str, PageFiles]:
    """The files of every extension that has some, in the order in which extensions follow each other."""
    found = {}
    for name, manifest in extensions.manifests.items():
        code = manifest.javascript if JAVASCRIPT in manifest.permissions else ()
        if code or manifest.css:
            found[name] = _read(manifest.folder, code, manifest.css, extensions.packages.get(name, manifest.version))
    return found


@lru_cache(maxsize=256)
def _read(folder: Path, code: tuple[str, ...], styles: tuple[str, ...], load: str) -> PageFiles:
    """The files as they are at the first call for each `load` of the extension."""
    del load
    contents = {}
    kinds = ((CODE, code), (STYLES, styles))
    for suffixes, paths in kinds:
        for path in paths:
            content = _content(folder, path) if path.endswith(suffixes) else None
            if content is None:
                LOG.warning(
                    "The file %s of the extension in %s is left out: it cannot be read, or is of another kind.", path, folder
                )
            else:
                contents[path] = content
    lines = "".join(f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in contents.items())
    return PageFiles(
        code=tuple(path for path in code if path in contents), styles=tuple(path for path in styles if path in contents),
        contents=contents, version=hashlib.sha256(lines.encode()).hexdigest()[:16],
    )  # fmt: skip


def _content(folder: Path, path: str) -> bytes | None:
    """A file of the folder; None where there is none, or the path leads out of the folder, by a link too."""
    try:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()) or file.stat().st_size > LARGEST:
            return None
        return file.read_bytes()
    except (OSError, ValueError):
        return None
