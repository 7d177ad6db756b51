"""How a hypernetwork's file is shown, with what people keep beside it: `name.png` for a preview, `name.json` or `name.txt`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.extension import Card

PREVIEWS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".jpeg", ".preview.webp", ".webp")
LARGEST = 2**20  # bytes of a text beside a file
FACTS = {"description": "Description", "notes": "Notes"}  # by the keys that A1111's own editor writes


def card_of(name: str, path: str) -> Card:
    """The card of a file by the name that people have for it."""
    file = Path(path)
    said = said_beside(file)
    preview = next((each for suffix in PREVIEWS if (each := file.with_suffix(suffix)).is_file()), None)
    strength = said.get("preferred weight")
    usual = strength if isinstance(strength, (int, float)) and strength else 1
    return Card(
        kind="Hypernetwork", name=name, insert=f"<hypernet:{name}:{usual:g}>", preview="" if preview is None else str(preview),
        words=tuple(word for each in text(said, "activation text").split(",") if (word := each.strip())),
        base=text(said, "sd version"), facts={label: found for key, label in FACTS.items() if (found := text(said, key))},
    )  # fmt: skip


def said_beside(file: Path) -> Mapping[str, Any]:
    """What people wrote beside a file; {} where that is nothing, or not as expected."""
    for suffix in (".json", ".txt"):
        beside = file.with_suffix(suffix)
        try:
            if beside.stat().st_size > LARGEST:
                continue
            written = beside.read_text("utf-8", errors="replace")
            said = json.loads(written) if suffix == ".json" else {"description": written.strip()}
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(said, dict):
            return said
    return {}


def text(said: Mapping[str, Any], key: str) -> str:
    """A text among what was written, "" where there is none."""
    found = said.get(key)
    return found if isinstance(found, str) else ""
