"""What people mean by the source of an extension: a git repository, a zip file or a folder, which is brought here."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from webui.errors import UserError, quoted
from webui.service.extension_lock import Source, sha256_of
from webui.service.extension_manifest import NAME
from webui.service.installing_files import MEBIBYTE, copy, extension_in, unpack
from webui.service.installing_git import fetched, is_repository

GIT, ZIP, FOLDER = "git", "zip", "folder"
WEB, BY_GIT, FILE = ("https", "http"), ("ssh", "git"), "file"
BY_SSH = re.compile(r"[\w.-]+@[\w.-]+:.+")  # git@example.org:somebody/something.git
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/?/?.*")
DOWNLOAD = "download.zip"
LARGEST_DOWNLOAD = 256 * MEBIBYTE
SECONDS = 30.0  # without a byte from the server
BLOCK = 2**18
EXPECTED = "it must be the address of a git repository, a zip file or its address, or a folder with an extension"


def recognised(text: str, commit: str = "", ref: str = "") -> Source | None:
    """What a text means; None where it is neither an address nor anything on this machine, and may be a name in an index."""
    address = text.strip().removeprefix("git+")
    if not address or address.startswith("-") or not address.isprintable():
        raise UserError(f"The source was {quoted(text)}; {EXPECTED}.")
    try:
        scheme = urlsplit(address).scheme if "://" in address else ""
    except ValueError as error:
        raise UserError(f"The source was {quoted(text)}, which is no address ({error}); {EXPECTED}.") from error
    if scheme in WEB:
        kind = ZIP if urlsplit(address).path.lower().endswith(".zip") else GIT
        return _with(Source(kind=kind, address=address), commit, ref)
    if scheme in BY_GIT or (not scheme and BY_SSH.fullmatch(address)):
        return _with(Source(kind=GIT, address=address), commit, ref)
    if scheme not in ("", FILE):
        raise UserError(f"The source was {quoted(text)}, and {scheme}:// is no way to fetch extensions; {EXPECTED}.")
    path = on_this_machine(address) if scheme == FILE else at_home(Path(address))
    if not _is_there(path):
        if not NAME.fullmatch(address):
            raise UserError(f"The source was {quoted(text)}, where nothing is; {EXPECTED}.")
        return None
    path = path.resolve()
    kind = ZIP if path.is_file() else GIT if is_repository(path) else FOLDER
    return _with(Source(kind=kind, address=str(path)), commit, ref)


def on_this_machine(address: str) -> Path:
    """The path that a file:// address means."""
    return Path(urllib.request.url2pathname(urlsplit(address).path))


def at_home(path: Path) -> Path:
    """A path with ~ and ~somebody as the folders they mean, where there are such."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def brought(source: Source, folder: Path, sha256: str = "") -> tuple[Path, Source]:
    """The extension's own files below `folder`, unpacked, and where exactly they came from; nothing of them is run.

    `sha256` is that of the zip file, where somebody said it.
    """
    target = folder / "files"
    what = quoted(str(source))
    if source.kind == GIT:
        archive, commit = fetched(source.address, source.commit, source.ref, folder)
        source = replace(source, commit=commit)
        unpack(archive, target)
        archive.unlink()
    elif source.kind == ZIP:
        archive = Path(source.address)
        if urlsplit(source.address).scheme in WEB:
            archive = folder / DOWNLOAD
            download(source.address, archive)
        if sha256 and sha256_of(archive) != sha256:
            raise UserError(f"{what} is not the file that its list means: its SHA-256 is another. It is not installed.")
        unpack(archive, target)
        (folder / DOWNLOAD).unlink(missing_ok=True)
    else:
        place = Path(source.address)
        copy(extension_in(place, what), target)
    return extension_in(target, what), source


def download(address: str, target: Path, largest: int = LARGEST_DOWNLOAD) -> None:
    """Fetch a file from the web; `UserError` where that fails or it is too large."""
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer, target.open("wb") as file:
            if urlsplit(answer.url).scheme not in WEB:
                raise UserError(f"{quoted(address)} leads elsewhere than to the web; it is not fetched.")
            left = largest
            while part := answer.read(BLOCK):
                left -= len(part)
                if left < 0:
                    raise UserError(f"{quoted(address)} is larger than {largest // MEBIBYTE} MiB; it is not fetched.")
                file.write(part)
    except urllib.error.HTTPError as error:
        raise UserError(f"{quoted(address)} cannot be fetched: the server answered {error.code}. Check the address.") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", None) or error
        raise UserError(f"{quoted(address)} cannot be fetched: {why}. Check the address and the connection.") from error


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or no name
        return False


def _with(source: Source, commit: str, ref: str) -> Source:
    if source.kind == GIT:
        return replace(source, commit=commit, ref=ref)
    if commit or ref:
        given = "A commit, branch or tag was given"
        raise UserError(f"{given}, but {quoted(source.address)} is a {source.kind}, not a git repository.")
    return source
