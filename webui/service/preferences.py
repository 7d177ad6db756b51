"""What the program remembers for each person: their settings, and what they last did with the controls of a tab."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from webui.errors import NotAllowed, TooMany, UserError, quoted
from webui.params import Params, Value, parameters
from webui.service.database import Database
from webui.service.users import OWNER_ID, User
from webui.settings import Settings, places
from webui.tasks import TASKS

SETTINGS = "settings"
FOR_EVERYBODY = "settings of everybody"  # an area of the first owner
DEFAULTS = " defaults"  # after a task's name: what a person saved as their defaults
Tasks = Callable[[], Mapping[str, type[Params]]]
"""The parameters of each task, as they are now."""
AREA = re.compile(r"[a-z0-9][a-z0-9 _-]{0,59}")
LARGEST = 256 * 2**10  # bytes of an area
MOST_AREAS = 100  # of one person


class Preferences:
    """Values by area and person. Safe from any thread."""

    def __init__(self, database: Database, tasks: Tasks = lambda: TASKS) -> None:
        self._database = database
        self._tasks = tasks
        self._turn = threading.Lock()  # held while settings are read and written again, so that no change is lost to another

    def read(self, user: User, area: str) -> dict[str, Any]:
        """What is kept in an area; of parameters only those there still are, with values that are still allowed."""
        return self._read(user.id, checked_area(area))

    def write(self, user: User, area: str, values: Mapping[str, Any]) -> None:
        """Keep values in an area, in place of all that was there; `UserError` where that is too much."""
        if checked_area(area) in (SETTINGS, FOR_EVERYBODY):
            raise UserError("Settings are not kept as other values are; change them as settings.")
        self._write(user.id, area, values)

    def forget(self, user: User, area: str) -> None:
        """Keep nothing in an area."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM preferences WHERE user = ? AND area = ?", (user.id, checked_area(area)))

    def settings(self, user: User) -> Settings:
        """The settings that hold for a person."""
        return self.settings_of(user.id)

    def settings_of(self, user: int) -> Settings:
        """The settings that hold for the person of that number."""
        return self._settings(self._stored(user, SETTINGS))

    def for_everybody(self) -> Settings:
        """The settings that an owner made for everybody; the others are as they come."""
        return self._settings({})

    def change(self, user: User, values: Mapping[str, Any]) -> Settings:
        """Change settings; None as a value takes one back. `UserError` where one is not allowed, and then none is changed."""
        where = places()
        Settings.read({name: value for name, value in values.items() if value is not None})
        everybody = {name for name in values if name in where and where[name].owner}
        if everybody and not user.owner:
            label = parameters(Settings)[min(everybody)].label
            raise NotAllowed(f"{label} holds for everybody; only an owner may change it.")
        for name in values:
            if name not in where:
                Settings.read({name: ""})  # says which there are
        parts = ((user.id, SETTINGS, set(values) - everybody), (OWNER_ID, FOR_EVERYBODY, everybody))
        with self._turn:
            for whose, area, names in parts:
                if names:
                    kept = self._stored(whose, area) | {name: values[name] for name in names}
                    self._write(whose, area, {name: value for name, value in kept.items() if value is not None and name in where})
        return self.settings(user)

    def _settings(self, own: Mapping[str, Any]) -> Settings:
        owners = {name for name, place in places().items() if place.owner}
        given = self._stored(OWNER_ID, FOR_EVERYBODY)
        kept = {name: value for name, value in own.items() if name not in owners}
        return Settings.read(allowed(Settings, kept | {name: value for name, value in given.items() if name in owners}))

    def _read(self, user: int, area: str) -> dict[str, Any]:
        stored = self._stored(user, area)
        kind = self._tasks().get(area.removesuffix(DEFAULTS))  # other areas hold whatever the page keeps there
        return stored if kind is None else allowed(kind, stored)

    def _stored(self, user: int, area: str) -> dict[str, Any]:
        row = self._database.one("SELECT value FROM preferences WHERE user = ? AND area = ?", (user, area))
        try:
            kept = {} if row is None else json.loads(row["value"])
        except (ValueError, RecursionError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _write(self, user: int, area: str, values: Mapping[str, Any]) -> None:
        text = plain_json(values)
        if len(text.encode()) > LARGEST:
            raise UserError(f"That is too much to remember: {len(text):,} characters, and at most {LARGEST:,} bytes are kept.")
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO preferences (user, area, value) VALUES (?, ?, ?) "
                "ON CONFLICT (user, area) DO UPDATE SET value = excluded.value", (user, area, text),
            )  # fmt: skip
            count = connection.execute("SELECT COUNT(*) FROM preferences WHERE user = ?", (user,)).fetchone()[0]
            if count > MOST_AREAS:
                raise TooMany(f"There are {MOST_AREAS} kinds of things to remember, which is the most.")


def checked_area(area: str) -> str:
    """The area's name; `UserError` where it can be none."""
    if not AREA.fullmatch(area):
        raise UserError(f"What is to be remembered was called {quoted(area)}; use 1 to 60 of a-z, 0-9, space, _ and -.")
    return area


def allowed(kind: type[Params], given: Mapping[str, Any]) -> dict[str, Value]:
    """Of stored values those whose parameters there are, and that are allowed, each by itself."""
    known = {name: given[name] for name in parameters(kind) if name in given}
    try:
        whole = kind.read(known)
    except UserError:
        return _one_by_one(kind, known)
    return {name: getattr(whole, name) for name in known}


def _one_by_one(kind: type[Params], given: Mapping[str, Any]) -> dict[str, Value]:
    kept: dict[str, Value] = {}
    for name, value in given.items():
        with contextlib.suppress(UserError):
            kept[name] = getattr(kind.read({name: value}), name)
    return kept


def plain_json(values: Mapping[str, Any]) -> str:
    """The values as JSON; `UserError` where they are nothing that JSON can hold."""
    try:
        text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError("What is to be remembered must be texts, finite numbers, and lists and objects of such.") from error
    return text
