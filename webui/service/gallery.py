"""Finished pictures as files: written whole or not at all, never over another, and not lost when the folder fails.

A picture is `NNNNN-seed.png`, or is called and kept as somebody has set. Its number is claimed by creating `.NNNNN.part`
exclusively; the file is written there, and renamed when it is complete. Whoever holds the part alone may publish the number, so
processes that write at once need no lock.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from webui.errors import StorageError, UserError, quoted
from webui.metadata.reading import read
from webui.metadata.writing import BEST, PNG, SUFFIXES, WEBP, why_not, write

NUMBERED = re.compile(r"\.?(\d{5,})(?:-.*\.(?:png|jpg|webp|avif)|\.part)|(\d{5,7})\.(?:png|jpg|webp|avif)")
LARGEST_FILE = 256 * 2**20  # bytes of a picture that is read
NOT_WRITTEN = (OSError, ValueError, KeyError, RuntimeError, SystemError, MemoryError)  # an encoder may be missing altogether
MOST_TRIES = 1000  # to claim a number while others do
FALLBACK = "webui-pictures"  # in the user's home, else among temporary files
Foretell = Callable[[Path, int], None]  # told the path and bytes of a picture before it is written


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Where a picture is; in one sentence why it is not where it was meant to be, and why not what ("" if it is)."""

    path: Path
    notice: str = ""
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a picture is kept as: the format, its quality, and the name behind the number (`filenames.py`), None: the seed."""

    format: str = PNG
    quality: int = 90
    name: str | None = None


USUAL = Form()


def loses(form: Form) -> bool:
    """Whether some of a picture's pixels are lost in it."""
    return form.format != PNG and (form.format, form.quality) != (WEBP, BEST)


def check_folder(folder: Path) -> None:
    """Make `folder` and write into it for a try; `UserError` where that fails, so that it does before the work, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except (OSError, ValueError) as error:
        raise UserError(f"The folder {quoted(str(folder))} cannot be written to ({_why(error)}); name another one.") from error


def save(
    folder: Path, pixels: Any, seed: int, text: str, fallbacks: Iterable[Path] | None = None, foretell: Foretell | None = None, *,
    form: Form = USUAL,
) -> Saved:
    """Write a picture (uint8 [H, W, 3]) with its text; where `folder` fails, into the first of `fallbacks` that does not.

    Raises `StorageError` when all of them fail. The fallbacks are folders of the user alone unless others are given; none is
    looked for or made before it is needed. What a format has no room for, or no encoder here, is kept as PNG.
    """
    why = why_not(form.format, pixels.shape[1], pixels.shape[0], text)
    kind = PNG if why else form.format
    try:
        content = write(pixels, kind, text, form.quality)
    except NOT_WRITTEN as error:
        if kind == PNG:
            raise
        why, kind = f"{kind} failed here ({_why(error)})", PNG
        content = write(pixels, kind, text)
    name = str(seed) if form.name is None else form.name
    failures = []
    for place in chain([folder], default_fallbacks() if fallbacks is None else fallbacks):
        try:
            path = publish(place, name, content, foretell, SUFFIXES[kind])
        except (OSError, ValueError) as error:
            failures.append(f"{place} ({_why(error)})")
            continue
        notice = f"The picture could not be written to {failures[0]}; it is in {path} instead." if failures else ""
        return Saved(path=path, notice=notice, remark=f"The picture was kept as PNG, for {why}." if why else "")
    raise StorageError(f"The picture could not be written to {', nor to '.join(failures)}; make room and try again.")


def default_fallbacks() -> Iterator[Path]:
    """Where a picture goes when its folder fails: the user's home, then the temporary files; what cannot be had is left out."""
    for find in (Path.home, lambda: Path(tempfile.gettempdir())):
        try:
            found = private_folder(find())
        except (OSError, RuntimeError, ValueError):  # no home, nothing that can be written, a path that is none
            continue
        yield found


def private_folder(parent: Path) -> Path:
    """A folder in `parent` that only this user can write to; raises OSError.

    Where others write too, somebody may have put a folder or link of their own under its name; then it gets another name.
    """
    folder = parent / FALLBACK
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    return folder if is_private(folder) else Path(tempfile.mkdtemp(prefix=f"{FALLBACK}-", dir=parent))


def is_private(folder: Path) -> bool:
    """Whether it is a folder, not a link to one, that belongs to this user, and nobody else may write to it."""
    found = folder.lstat()
    own = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return stat.S_ISDIR(found.st_mode) and own


def read_text(path: Path) -> str:
    """The parameters' text of a picture file; "" where it has none, `UserError` where it is no picture."""
    try:
        with path.open("rb") as file:
            found = read(file.read(LARGEST_FILE), pixels=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{quoted(str(path))} is not a picture that can be read ({_why(error)}).") from error
    if found.format in ("", "text"):
        raise UserError(f"{quoted(str(path))} is not a picture that can be read (it is no PNG, JPEG, WebP, AVIF or GIF).")
    return found.text


def publish(folder: Path, name: str, content: bytes, foretell: Foretell | None = None, suffix: str = ".png") -> Path:
    """Write `content` into `folder` under the next free number, whole or not at all; returns its path, raises OSError.

    `name` comes behind the number, and may begin with folders in `folder`, with `/` behind each.
    """
    *inner, name = name.split("/")
    folder = folder.joinpath(*inner)
    folder.mkdir(parents=True, exist_ok=True)
    number, part, handle = _claim(folder)
    final = folder / (f"{number:05}-{name}{suffix}" if name else f"{number:05}{suffix}")
    try:
        with os.fdopen(handle, "wb") as file:
            if foretell is not None:
                foretell(final, len(content))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _settle(folder)
    return final


def part_of(path: Path) -> Path:
    """Where a picture is written before it gets its name."""
    return path.with_name(f".{re.split('[-.]', path.name)[0]}.part")


def _claim(folder: Path) -> tuple[int, Path, int]:
    """A number that is ours alone, its part file, and that file's handle."""
    number = _highest(folder) + 1
    for _ in range(MOST_TRIES):
        part = folder / f".{number:05}.part"
        try:
            handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            number += 1
            continue
        published = _highest(folder, but=part.name)
        if published < number:
            return number, part, handle
        os.close(handle)  # someone published this number between our look and our claim
        part.unlink(missing_ok=True)
        number = published + 1
    raise FileExistsError(f"no free number after {MOST_TRIES} tries")


def _highest(folder: Path, but: str = "") -> int:
    """The highest number in the folder, of pictures and of parts other than `but`."""
    with os.scandir(folder) as entries:
        found = [(NUMBERED.fullmatch(entry.name), entry) for entry in entries if entry.name != but]
        matches = [match for match, entry in found if match and not entry.is_dir()]  # a folder may have any number's name
    return max((int(match[1] or match[2]) for match in matches), default=-1)


def _settle(folder: Path) -> None:
    """Have the rename itself on the disk, where the system lets folders be flushed (not on Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
