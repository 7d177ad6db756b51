"""Lists of extensions that people publish: a JSON file here or at an address, read and searched. Nothing is installed by reading.

    [{"name": "mine", "url": "https://example.org/mine.git", "description": "What it does.", "tags": ["prompt"], "commit": "..."}]

A list may also be an object with such a list under "extensions". `url` is anything that can be installed, `commit` the one that
is meant, `sha256` that of a zip file; other keys are left alone. Addresses may be relative to the list's own.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from webui.errors import UserError, quoted, unknown
from webui.service.extension_manifest import NAME
from webui.service.installing_files import MEBIBYTE
from webui.service.installing_git import COMMIT
from webui.service.installing_sources import BY_GIT, BY_SSH, FILE, WEB, at_home, download, on_this_machine

LARGEST_INDEX = 16 * MEBIBYTE
LONGEST_TEXT = 1000  # characters
MOST_TAGS = 20
HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An extension that a list names, and where it is."""

    name: str
    url: str
    description: str = ""
    tags: tuple[str, ...] = ()
    commit: str = ""
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A list that was read: its entries in their order, and how many made no sense."""

    address: str
    entries: tuple[Entry, ...]
    left_out: int = 0

    def named(self, name: str) -> Entry:
        """The entry of a name; `UnknownName` where there is none."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise unknown("extension", name, [entry.name for entry in self.entries])

    def search(self, words: str) -> list[Entry]:
        """The entries that hold all the words: those whose name does first, then by tags, then by description."""
        wanted = words.casefold().split()
        ranked = [(max((_rank(entry, word) for word in wanted), default=0), at) for at, entry in enumerate(self.entries)]
        return [self.entries[at] for rank, at in sorted(ranked) if rank < NOWHERE]


NOWHERE = 3  # after the ranks of name, tags and description


def read_index(address: str) -> Index:
    """The list at an address of the web or in a file; `UserError` where there is none."""
    given = address.strip()
    scheme = _scheme(given)
    if not given or not given.isprintable() or scheme not in ("", FILE, *WEB):
        raise UserError(f"The list of extensions was {quoted(address)}; it must be the address of a JSON file, or a file.")
    if scheme in WEB:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "index.json")
            download(given, path, LARGEST_INDEX)
            return _index(given, path)
    path = on_this_machine(given) if scheme else at_home(Path(given))
    return _index(os.path.abspath(path), path)


def _index(address: str, path: Path) -> Index:
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{quoted(address)} cannot be read as a list of extensions: {error}.") from error
    listed = said.get("extensions") if isinstance(said, dict) else said
    if not isinstance(listed, list):
        raise UserError(f"{quoted(address)} is no list of extensions; it must be JSON: a list of objects with a name and a url.")
    found: dict[str, Entry] = {}
    for each in listed:
        entry = _entry(each, address)
        if entry is not None:
            found.setdefault(entry.name, entry)
    return Index(address=address, entries=tuple(found.values()), left_out=len(listed) - len(found))


def _entry(said: Any, address: str) -> Entry | None:
    """One extension, None where what is said of it makes no sense."""
    if not isinstance(said, dict) or not isinstance(said.get("name"), str) or not isinstance(said.get("url"), str):
        return None
    name, url, commit, sha256 = (
        said["name"],
        _absolute(said["url"].strip(), address),
        _text(said, "commit"),
        _text(said, "sha256"),
    )
    bad_pin = (commit and not COMMIT.fullmatch(commit)) or (sha256 and not HASH.fullmatch(sha256))
    if not NAME.fullmatch(name) or url is None or bad_pin:
        return None
    tags = said.get("tags")
    texts = tuple(tag[:LONGEST_TEXT] for tag in tags if isinstance(tag, str))[:MOST_TAGS] if isinstance(tags, Sequence) else ()
    return Entry(name=name, url=url, description=_text(said, "description"), tags=texts, commit=commit, sha256=sha256)


def _absolute(url: str, address: str) -> str | None:
    """A list's url as one that can be fetched; None for one of the web that names a file of this machine."""
    if not url or not url.isprintable() or url.startswith("-"):
        return None
    of_web = _scheme(address) in WEB
    if "://" in url:
        return url if _scheme(url) in ((*WEB, *BY_GIT) if of_web else (*WEB, *BY_GIT, FILE)) else None
    if BY_SSH.fullmatch(url):
        return url
    if not of_web:
        return str(Path(address).parent / url)
    try:
        joined = urljoin(address, url)
    except ValueError:
        return None
    return joined if _scheme(joined) in WEB else None


def _scheme(address: str) -> str | None:
    """How an address begins, "" where it is a path, None where it is no address."""
    try:
        return urlsplit(address).scheme if "://" in address else ""
    except ValueError:
        return None


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _rank(entry: Entry, word: str) -> int:
    places = (entry.name, " ".join(entry.tags), entry.description)
    return next((rank for rank, text in enumerate(places) if word in text.casefold()), NOWHERE)
