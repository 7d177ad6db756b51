"""Files with embeddings: what is known of one without torch, and whether a text names it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .pictures import PICTURES, kept_in_picture

FOLDERS = ("embeddings",)
WEIGHTS = (".safetensors", ".pt", ".bin", ".ckpt", ".pth")
FAMILIES: Mapping[tuple[int, ...], str] = {  # by the widths of the vectors, one for each text tower
    (768,): "SD 1", (1024,): "SD 2", (768, 1280): "SDXL", (1280,): "SDXL refiner", (192,): "the built-in model",
}  # fmt: skip
TOWERS = ("clip_l", "clip_g")
PLAIN = "string_to_param"
LONGEST_HEADER = 2**20  # bytes


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a file without reading its vectors: how many there are and how wide; () and 0 where that is not known."""

    count: int = 0
    widths: tuple[int, ...] = ()
    problem: str = ""

    @property
    def base(self) -> str:
        """For which models it is."""
        return FAMILIES.get(self.widths, "")


def facts_of(path: str) -> Facts:
    """What is known of a file, kept until it changes."""
    try:
        stat = Path(path).stat()
    except OSError:
        return Facts(problem="It cannot be read.")
    return _facts(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _facts(path: str, _size: int, _changed: int) -> Facts:
    place = Path(path)
    try:
        if place.suffix.lower() in PICTURES:
            found = kept_in_picture(place)
            return Facts(problem=NO_VECTORS) if found is None else judged(shapes_in(found))
        with place.open("rb") as file:
            start = file.read(9)
            if start[8:] != b"{":
                return Facts()  # a pickle: what is in it is known when it is used
            length = int.from_bytes(start[:8], "little")
            header = json.loads(b"{" + file.read(length - 1)) if 0 < length <= LONGEST_HEADER else {}
            return judged({name: shape for name, entry in header.items() if (shape := _told_shape(entry)) is not None})
    except (OSError, ValueError, RecursionError):
        return Facts(problem="It is broken, or cut short; download it again.")


def _told_shape(entry: Any) -> tuple[int, ...] | None:
    """The shape that an entry of a header says; None where it says none."""
    shape = entry.get("shape") if isinstance(entry, dict) else None
    return tuple(shape) if isinstance(shape, list) and all(type(size) is int for size in shape) else None


def judged(shapes: Mapping[str, Sequence[int]]) -> Facts:
    """What the shapes of a file's tensors say."""
    shapes = {name.rpartition(".")[2]: shape for name, shape in shapes.items() if 1 <= len(shape) <= 2}
    own = [shapes[name] for name in TOWERS if name in shapes] or list(shapes.values())[:1]
    if not own or not all(all(own_shape) for own_shape in own):
        return Facts(problem=NO_VECTORS)
    widths = tuple(shape[-1] for shape in own)
    count = own[0][0] if len(own[0]) == 2 else 1
    known = ", ".join(f"{' and '.join(map(str, wide))} ({name})" for wide, name in FAMILIES.items())
    said = " and ".join(map(str, widths))
    problem = "" if widths in FAMILIES else f"Skipped: its vectors have {said} numbers; models known here read {known}."
    return Facts(count=count, widths=widths, problem=problem)


NO_VECTORS = "Skipped: there are no vectors in it."


def shapes_in(told: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of the lists of numbers in an embedding that was kept as text."""
    own = told.get(PLAIN)
    lists = own if isinstance(own, dict) else {name: told[name] for name in TOWERS if name in told}
    return {str(name): shape for name, rows in lists.items() if (shape := _shape(rows))}


def _shape(rows: Any) -> tuple[int, ...]:
    if isinstance(rows, list) and rows and isinstance(rows[0], list):
        return len(rows), len(rows[0])
    return (len(rows),) if isinstance(rows, list) and rows else ()


def named_in(texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """The names that stand in any of the texts, as words of their own; case and the amount of space do not matter."""
    plain = [_plain(text) for text in texts]
    return [name for name in names if any(_stands(_plain(name), text) for text in plain)]


def places(name: str, text: str) -> list[tuple[int, int]]:
    """Where a name stands in a text as it is written."""
    return [match.span() for match in _pattern(_plain(name)).finditer(text)] if _plain(name) else []


def _plain(text: str) -> str:
    return " ".join(text.replace("\\", "").casefold().split())


def _stands(name: str, text: str) -> bool:
    return bool(name) and name in text and _pattern(name).search(text) is not None


@lru_cache(maxsize=4096)
def _pattern(name: str) -> re.Pattern[str]:
    """Tokens are made of letters, of single digits, or of signs: a name that begins with a letter does so as a word."""
    inner = r"\s+".join(re.escape(part) for part in name.split())
    before, after = (r"(?<![^\W\d_])" if name[0].isalpha() else ""), (r"(?![^\W\d_])" if name[-1].isalpha() else "")
    return re.compile(before + inner + after, re.IGNORECASE)
