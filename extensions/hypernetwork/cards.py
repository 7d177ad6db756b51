"""How a hypernetwork's file is shown: with what it says of itself, and what people keep beside it, such as `name.png`.

A pickled file is not opened for that, which would take its whole size: its instructions are looked through for texts and numbers.
"""

from __future__ import annotations

import json
import pickletools
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webui.extension import Card

PREVIEWS = (".preview.png", ".png", ".preview.jpg", ".jpg", ".jpeg", ".preview.webp", ".webp")
LARGEST = 2**20  # bytes of what is looked through, beside a file or in it
BESIDE = {"description": "Description", "notes": "Notes"}  # by the keys that A1111's own editor writes
INSIDE = {
    "layer_structure": "Layers", "activation_func": "Activation", "step": "Steps trained", "sd_checkpoint_name": "Trained on",
    "optional_info": "Information",
}  # fmt: skip
UNSAID = {"PROTO", "FRAME", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "PUT", "GET"}  # a pickle's own affairs


def card_of(name: str, path: str) -> Card:
    """The card of a file by the name that people have for it."""
    file = Path(path)
    said = said_beside(file)
    preview = next((each for suffix in PREVIEWS if (each := file.with_suffix(suffix)).is_file()), None)
    strength = said.get("preferred weight")
    usual = strength if isinstance(strength, (int, float)) and strength else 1
    facts = {label: found for key, label in BESIDE.items() if (found := text(said, key))}
    return Card(
        kind="Hypernetwork", name=name, insert=f"<hypernet:{name}:{usual:g}>", preview="" if preview is None else str(preview),
        words=tuple(word for each in text(said, "activation text").split(",") if (word := each.strip())),
        base=text(said, "sd version"), facts=facts | said_inside(file),
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


def said_inside(file: Path) -> dict[str, str]:
    """What a file says of itself, by the labels people see; {} where it is of another kind."""
    try:
        with zipfile.ZipFile(file) as archive:
            (entry,) = (each for each in archive.infolist() if each.filename.rpartition("/")[2] == "data.pkl")
            values = list(plain_values(archive.read(entry))) if entry.file_size <= LARGEST else []
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return {}
    found = {}
    for at, key in enumerate(values):
        if isinstance(key, str) and key in INSIDE and at + 1 < len(values):
            value = values[at + 1]
            said = ", ".join(map(str, value)) if isinstance(value, list) else value
            if said is not None and str(said).strip():
                found[INSIDE[key]] = str(said).strip()
    return found


def plain_values(content: bytes) -> Iterator[Any]:
    """The texts, numbers, lists of numbers and Nones that a pickle's instructions name, in order; nothing is carried out."""
    listed: list[Any] | None = None
    for instruction, value, _ in pickletools.genops(content):
        if instruction.name == "EMPTY_LIST":
            listed = []
        elif instruction.name in ("APPENDS", "APPEND") and listed is not None:
            yield listed
            listed = None
        elif instruction.name == "NONE" or (isinstance(value, (str, int, float)) and instruction.name not in UNSAID):
            if listed is None:
                yield value
            else:
                listed.append(value)


def text(said: Mapping[str, Any], key: str) -> str:
    """A text among what was written, "" where there is none."""
    found = said.get(key)
    return found if isinstance(found, str) else ""
