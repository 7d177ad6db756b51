"""What is saved by name: a small file of JSON in the extension's own folder, written whole or not at all."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.extension import UserError, quoted

from .points import LONGEST, read

FILE = "schedules.json"
LONGEST_NAME = 60
MOST = 200
UNFIT = frozenset(",:\"[]()<>{}|")  # in a name: they mean something in texts and prompts
TURN = threading.Lock()  # people save at the same time


def saved(folder: Path) -> dict[str, dict[str, str]]:
    """The `points` and the `user` of each by its name; {} where there are none, or the file is not as it was written."""
    try:
        found = json.loads((folder / FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    items = found.items() if isinstance(found, dict) else ()
    return {name: {"points": each["points"], "user": each["user"]} for name, each in items if usable(each)}


def usable(each: Any) -> bool:
    """Whether something in the file is a schedule still."""
    if not isinstance(each, dict) or not all(isinstance(each.get(key), str) for key in ("points", "user")):
        return False
    try:
        read(each["points"])
    except UserError:
        return False
    return True


def stored(folder: Path, name: object, points: object, user: str, *, is_owner: bool) -> None:
    """Save points under a name; `UserError` where they mean nothing, or the name is another person's."""
    if not isinstance(points, str) or len(points) > LONGEST:
        raise UserError(f"The schedule must be a text of at most {LONGEST:,} characters.")
    name = name.strip() if isinstance(name, str) else ""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or set(name) & UNFIT:
        raise UserError(f"The schedule's name must have 1 to {LONGEST_NAME} letters, and no comma, colon, quote or bracket.")
    read(points)
    with TURN:
        found = saved(folder)
        name = next((other for other in found if other.casefold() == name.casefold()), name)  # names are found whatever the case
        check_own(found, name, user, is_owner=is_owner)
        if name not in found and len(found) >= MOST:
            raise UserError(f"{MOST} schedules are saved already; remove one first.")
        write(folder, {**found, name: {"points": points.strip(), "user": user}})


def removed(folder: Path, name: object, user: str, *, is_owner: bool) -> None:
    """Remove what is saved under a name; `UserError` where nothing is, or it is another person's."""
    with TURN:
        found = saved(folder)
        if not isinstance(name, str) or name not in found:
            raise UserError(f"No schedule is saved as {quoted(str(name))}.")
        check_own(found, name, user, is_owner=is_owner)
        write(folder, {other: each for other, each in found.items() if other != name})


def check_own(found: Mapping[str, Mapping[str, str]], name: str, user: str, *, is_owner: bool) -> None:
    """Refuse to touch what another person has saved."""
    if name in found and not is_owner and found[name]["user"] != user:
        raise UserError(f"Somebody else has saved a schedule as {quoted(name)}; choose another name.")


def write(folder: Path, found: Mapping[str, Mapping[str, str]]) -> None:
    """Write the file anew."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(dict(sorted(found.items())), ensure_ascii=False, indent=1), "utf-8")
    os.replace(part, folder / FILE)
