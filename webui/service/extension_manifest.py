"""What an extension says of itself in its `extension.toml`: read and checked before any of its code is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from webui.errors import ModelFileError, UserError, quoted
from webui.extension import API

MANIFEST = "extension.toml"
WANTED = ("name", "version", "api", "description")
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")  # it is a folder, a part of addresses and of fields
PERMISSIONS = ("network", "files", "routes", "javascript")
ORDER = 100  # of an extension that does not care which come before it
LISTS = ("authors", "permissions", "excludes", "javascript", "css")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an extension's folder says of it.

    `packages` are requirements as pip reads them, `extensions` the names of others that it needs, `excludes` of those it cannot
    be used with in one job. `javascript` and `css` are files of the folder that the page loads. Hooks are called by `order`, then
    by name.
    """

    name: str
    version: str
    description: str
    folder: Path
    api: str = API
    authors: tuple[str, ...] = ()
    licence: str = ""
    order: int = ORDER
    packages: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    excludes: frozenset[str] = frozenset()
    javascript: tuple[str, ...] = ()
    css: tuple[str, ...] = ()


def read_manifest(place: Path) -> Manifest:
    """What an extension's folder says of it; `UserError` where that is not enough, or is meant for another program."""
    try:
        said = tomllib.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFileError(f"The file {MANIFEST} of the extension in {place.name} cannot be read: {error}.") from error
    missing = [name for name in WANTED if not isinstance(said.get(name), str) or not said[name]]
    if missing:
        raise UserError(f"The file {MANIFEST} of the extension in {place.name} must say its {', '.join(missing)}, as text.")
    if said["api"] != API:
        made_for = f"is made for api {quoted(said['api'])}, and this program has {quoted(API)}"
        raise UserError(f"The extension {said['name']} {made_for}; update one of them.")
    if said["name"] != place.name:
        raise UserError(f"The extension in the folder {place.name} calls itself {quoted(said['name'])}; rename one of them.")
    if not NAME.fullmatch(said["name"]):
        raise UserError(f"The name {quoted(said['name'])} is none for an extension; take up to 40 of a-z, 0-9, _.")
    return _checked(said, place)


def _checked(said: Mapping[str, Any], place: Path) -> Manifest:
    """The manifest with everything that may be left out."""
    lists = {key: _texts(said, key, place) for key in LISTS}
    needs = said.get("requires", {})
    if not isinstance(needs, dict):
        raise _wrong(place, "requires", needs, "a table with packages and extensions")
    unknown = sorted(set(lists["permissions"]) - set(PERMISSIONS))
    if unknown:
        raise UserError(
            f"The extension {place.name} asks for the permission {quoted(unknown[0])}; there are {', '.join(PERMISSIONS)}."
        )
    for path in (*lists["javascript"], *lists["css"]):
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or parts[0].startswith("/") or "\\" in path or ":" in path:
            raise UserError(f"The extension {place.name} names the file {quoted(path)}, which is not one in its folder.")
    order, licence = said.get("order", ORDER), said.get("licence", "")
    if not isinstance(order, int):
        raise _wrong(place, "order", order, "a whole number")
    if not isinstance(licence, str):
        raise _wrong(place, "licence", licence, "text")
    return Manifest(
        name=said["name"], version=said["version"], description=said["description"], folder=place, api=said["api"],
        authors=lists["authors"], licence=licence, order=order,
        packages=_texts(needs, "packages", place), extensions=_texts(needs, "extensions", place),
        permissions=frozenset(lists["permissions"]), excludes=frozenset(lists["excludes"]),
        javascript=lists["javascript"], css=lists["css"],
    )  # fmt: skip


def _texts(said: Mapping[str, Any], key: str, place: Path) -> tuple[str, ...]:
    found = said.get(key, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _wrong(place, key, found, "a list of texts")
    return tuple(found)


def _wrong(place: Path, key: str, given: Any, wanted: str) -> UserError:
    return UserError(f"The {MANIFEST} of the extension in {place.name} says {key} = {quoted(repr(given))}; it must be {wanted}.")
