"""Extensions that were at work when the program ended without a word: which are not loaded again until an owner wants it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from webui.service.extension_lock import contents, digest
from webui.weights import remembered

LOG = logging.getLogger(__name__)
FILE = "extensions.ended.json"  # in the data folder: the hook and the content's hash, by extension


class Endings:
    """Remembers them in a file of the data folder; one whose files were changed since has a chance again."""

    def __init__(self, data: Path) -> None:
        self._path = data / FILE

    def note(self, left: Iterable[tuple[str, str]], content_of: Callable[[str], str]) -> None:
        """Note who was `left` at work, with the hook; `content_of` gives the hash of the code, "" for who is loaded anyway."""
        for name, hook in left:
            LOG.error("The program ended while the extension %s was at work in %s.", name, hook)
            content = content_of(name)
            if content:
                remembered.add(self._path, {name: {"hook": hook, "content": content}})

    def of(self, name: str, folder: Path) -> str:
        """Why an extension is not loaded, "" where it may be."""
        entry = remembered.read(self._path).get(name)
        if not isinstance(entry, dict) or entry.get("content") != digest(contents(folder)):
            return ""
        return (
            f"The program ended without a word while the extension {name} was at work in {entry.get('hook')}. It is not loaded "
            "until it is enabled again."
        )

    def forget(self, name: str) -> None:
        """Let an extension be loaded again."""
        entries = remembered.read(self._path)
        if name in entries:
            with contextlib.suppress(OSError):  # then it is only loaded now
                remembered.replace(self._path, {other: entry for other, entry in entries.items() if other != name})
