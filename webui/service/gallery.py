"""Finished pictures as files: written whole or not at all, never over another, and not lost when the folder fails.

A picture is `NNNNN-seed.png`. Its number is claimed by creating `.NNNNN.part` exclusively; the file is written there, and renamed
when it is complete. Whoever holds the part alone may publish the number, so processes that write at once need no lock.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui import infotext
from webui.errors import StorageError, UserError, quoted
from webui.infotext import PNG_KEY
from webui.request import SHORT_HASH, Request, parameters_of
from webui.service.overrides import in_words

NUMBERED = re.compile(r"\.?(\d{5,})(?:-.*\.png|\.part)")
COMPRESSION = 1  # zlib's level: a tenth of the time of the usual 6 for a few percent of size
MOST_TRIES = 1000  # to claim a number while others do
SET_KEY, REFINER_SET_KEY = "Model set to", "Refiner set to"  # what an owner had set for the file against what it says itself
INPUT_KEYS = {"picture": "Init image hash", "sketch": "Sketch hash", "mask": "Mask hash"}
NETWORK_KEYS = {
    "estimator_hash": "Depth estimator hash", "upscaler_hash": "Postprocess upscaler hash",
    "upscaler_2_hash": "Postprocess upscaler 2 hash",
}  # fmt: skip
COMPUTED_KEY = "Computed on"  # among a picture's values: what beside the request decides on its last bits
LONGEST_SOURCE = 100_000  # characters of another picture's text
LONGEST_SEED = 20  # digits
NO_MAPS: Mapping[str, str] = MappingProxyType({})
FALLBACK = "webui-pictures"  # in the user's home, else among temporary files
Foretell = Callable[[Path, int], None]  # told the path and bytes of a picture before it is written


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Where a picture is, and in one sentence why it is not where it was meant to be ("" if it is)."""

    path: Path
    notice: str = ""


def check_folder(folder: Path) -> None:
    """Make `folder` and write into it for a try; `UserError` where that fails, so that it does before the work, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except (OSError, ValueError) as error:
        raise UserError(f"The folder {quoted(str(folder))} cannot be written to ({_why(error)}); name another one.") from error


def text_of(
    request: Request, *, batched: bool, interrupted: bool, computed: str = "", maps: Mapping[str, str] = NO_MAPS, source: str = ""
) -> str:
    """The parameters' text for the one picture of `request`, as every picture's file has it.

    `maps` are the digests of what it was made to; `source` is the text of the picture that it is an enlargement of. `computed`
    says on what it was, such as "cpu float32". Like the other remarks it has a key of its own behind the community's, which
    programs that do not know it pass over.
    """
    remarks = {"Shared calls": batched, "Interrupted": interrupted}
    said = _files_said(request, maps, enlarged=bool(source)) | ({COMPUTED_KEY: computed} if computed else {})
    said |= {SET_KEY: in_words(request.override)} if request.override else {}
    said |= {REFINER_SET_KEY: in_words(request.refiner_override)} if request.refiner_override else {}
    before = infotext.parse(source) if source else None
    return infotext.write(parameters_of(request), {key: "True" for key, true in remarks.items() if true} | said, before=before)


def source_text(content: bytes) -> str:
    """The parameters' text in the file of a picture that another one was made of; "" where it has none that can be read."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            text = picture.info.get(PNG_KEY, "")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    return text.replace("\0", " ") if isinstance(text, str) and len(text) <= LONGEST_SOURCE else ""


def seed_said(request: Request, text: str) -> int:
    """The seed that a picture's file is named after: its own, or that of the picture it was made of."""
    said = infotext.parse(text).values.get("Seed", "")
    own = request.task != "extras" or not (said.isascii() and said.isdecimal() and len(said) <= LONGEST_SEED)
    return request.seed if own else int(said)


def _files_said(request: Request, maps: Mapping[str, str], *, enlarged: bool) -> dict[str, str]:
    """The short hashes of the files that a picture was made of and by, as the community names them.

    Those that an `enlarged` picture was made of are said in its own text.
    """
    named = {} if enlarged else {key: request.inputs.get(name, "") for name, key in INPUT_KEYS.items()}
    named |= {"Depth map": maps.get("depth", request.inputs.get("depth", ""))} if request.task == "depth" else {}
    named |= {key: getattr(request, name) for name, key in NETWORK_KEYS.items()}
    return {key: digest[:SHORT_HASH] for key, digest in named.items() if digest}


def save(
    folder: Path, pixels: Any, seed: int, text: str, fallbacks: Iterable[Path] | None = None, foretell: Foretell | None = None
) -> Saved:
    """Write a picture (uint8 [H, W, 3]) with its text; where `folder` fails, into the first of `fallbacks` that does not.

    Raises `StorageError` when all of them fail. The fallbacks are folders of the user alone unless others are given; none is
    looked for or made before it is needed.
    """
    content = encode(pixels, {PNG_KEY: text})
    failures = []
    for place in chain([folder], default_fallbacks() if fallbacks is None else fallbacks):
        try:
            path = publish(place, seed, content, foretell)
        except (OSError, ValueError) as error:
            failures.append(f"{place} ({_why(error)})")
            continue
        notice = f"The picture could not be written to {failures[0]}; it is in {path} instead." if failures else ""
        return Saved(path=path, notice=notice)
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


def encode(pixels: Any, texts: Mapping[str, str]) -> bytes:
    """A PNG of uint8 [H, W, 3] with text chunks, in Latin-1 where that suffices and UTF-8 (iTXt) elsewhere: as the field does."""
    chunks = PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=chunks, compress_level=COMPRESSION)
    return buffer.getvalue()


def read_text(path: Path) -> str:
    """The parameters' text of a picture file; "" where it has none, `UserError` where it is no picture."""
    try:
        with Image.open(path) as picture:
            return str(picture.info.get(PNG_KEY, ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{quoted(str(path))} is not a picture that can be read ({_why(error)}).") from error


def publish(folder: Path, seed: int, content: bytes, foretell: Foretell | None = None) -> Path:
    """Write `content` into `folder` under the next free number, whole or not at all; returns its path, raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    number, part, handle = _claim(folder)
    final = folder / f"{number:05}-{seed}.png"
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
    return path.with_name(f".{path.name.partition('-')[0]}.part")


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
        matches = [NUMBERED.fullmatch(entry.name) for entry in entries if entry.name != but]
    return max((int(match[1]) for match in matches if match), default=-1)


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
