"""The files of an extension, unpacked from a zip or copied from a folder; what leaves the folder or is too much is refused."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from webui.errors import StorageError, UserError, quoted
from webui.service.extension_lock import NOT_CONTENT, PACKAGES
from webui.service.extension_manifest import MANIFEST

MEBIBYTE = 2**20
MOST_FILES = 20_000
MOST_BYTES = 512 * MEBIBYTE
LARGEST_RATIO = 200  # of what a zip unpacks to; text comes to 10, and 1000 is the most there is
SUSPICIOUS = 16 * MEBIBYTE  # below that no ratio matters
LONGEST_PATH = 200  # characters; Windows allows 260 with the folders above
BLOCK = 2**18
DAMAGED = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, zlib.error, lzma.LZMAError)
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))})


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into a new folder. `UserError` says what in it is refused; nothing was written outside `folder`."""
    try:
        with ZipFile(archive) as file:
            entries = [entry for entry in file.infolist() if not _is_made_here(entry.filename)]
            _check(entries, archive.stat().st_size)
            for entry in entries:
                target = folder.joinpath(*parts(entry.filename))
                if entry.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(entry) as content, target.open("xb") as out:  # no more is read than the list says
                    shutil.copyfileobj(content, out, BLOCK)
    except DAMAGED as error:  # RuntimeError: a password
        raise UserError(f"{archive.name} cannot be read as a zip file: {error}. Fetch it again.") from error
    except OSError as error:
        raise StorageError(f"The extension could not be unpacked ({error.strerror}); make room and try again.") from error


def copy(source: Path, folder: Path) -> None:
    """Copy a folder's files into a new folder; `UserError` where one is a link or no file."""
    count, room = 0, MOST_BYTES
    try:
        folder.mkdir(parents=True)
        for path in _walk(source):
            name = path.relative_to(source).as_posix()
            target = folder.joinpath(*parts(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            count, room = count + 1, room - path.stat().st_size
            if count > MOST_FILES or room < 0:
                raise too_much()
            shutil.copyfile(path, target)
    except OSError as error:
        raise StorageError(f"{error.filename or source} could not be copied ({error.strerror}).") from error


def extension_in(folder: Path, what: str) -> Path:
    """Where in a folder the extension is: the folder itself, or the only one in it; `UserError` where there is none."""
    inner = [each for each in folder.iterdir() if each.is_dir()]
    places: list[Path] = [folder, *(inner if len(inner) == 1 else ())]
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    raise UserError(f"{what} is no extension: there is no file {MANIFEST} in it.")


def parts(name: str) -> tuple[str, ...]:
    """The parts of a path in an archive; `UserError` where it leads outside, or to what not every system can have."""
    found = tuple(name.rstrip("/").split("/"))
    if not name or name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in found:
        raise UserError(f"The path {quoted(name)} in it leads out of the extension's folder; it is not installed.")
    for part in found:
        if part in ("", ".") or part[-1] in ". " or part.split(".")[0].casefold() in DEVICES or not part.isprintable():
            raise UserError(f"The path {quoted(name)} in it cannot be a file's on every system; it is not installed.")
    if found[0] == PACKAGES or len(name) > LONGEST_PATH:
        why = f"longer than {LONGEST_PATH} characters" if len(name) > LONGEST_PATH else "where this program puts packages"
        raise UserError(f"The path {quoted(name)} in it is {why}; it is not installed.")
    return found


def too_much() -> UserError:
    """What is said of an extension that is too large."""
    return UserError(
        f"The extension is too large: it may have {MOST_FILES:,} files of {MOST_BYTES // MEBIBYTE} MiB together. Weights belong "
        "into the folder models."
    )


def linked(name: str, target: str) -> UserError:
    """What is said of a symbolic link."""
    return UserError(f"The file {quoted(name)} in it is a link to {quoted(target)}; extensions hold files only. Not installed.")


def _check(entries: list[ZipInfo], size: int) -> None:
    """Refuse what is said in an archive's list already; sizes that are lies are found out by the checksums."""
    seen: set[str] = set()
    for entry in entries:
        parts(entry.filename)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind == stat.S_IFLNK:
            raise linked(entry.filename, "another place")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{quoted(entry.filename)} in it is neither a file nor a folder; it is not installed.")
        folded = entry.filename.rstrip("/").casefold()
        if folded in seen:
            raise UserError(f"{quoted(entry.filename)} is in it twice, or in two cases of letters; it is not installed.")
        seen.add(folded)
    total = sum(entry.file_size for entry in entries)
    if len(entries) > MOST_FILES or total > MOST_BYTES:
        raise too_much()
    if total > SUSPICIOUS and total > LARGEST_RATIO * size:
        raise UserError(f"The zip file of {size:,} bytes unpacks to {total:,}, as only zip bombs do; it is not installed.")


def _is_made_here(name: str) -> bool:
    return not NOT_CONTENT.isdisjoint(name.split("/"))


def _walk(source: Path) -> Iterator[Path]:
    """The files of a folder; links are never followed."""
    for place, folders, names in os.walk(source):
        skipped = {*NOT_CONTENT, PACKAGES} if Path(place) == source else NOT_CONTENT
        folders[:] = sorted(each for each in folders if each not in skipped)
        for name in (*folders, *sorted(names)):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                raise linked(path.relative_to(source).as_posix(), os.readlink(path))
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(f"{quoted(path.relative_to(source).as_posix())} in it is neither a file nor a folder.")
        yield from (Path(place, name) for name in sorted(names))
