"""How much may come in, and what: sizes of bodies, uploads by number, bytes, kind and pixels, and the disk they take."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from webui.api.gradio_routes import UPLOAD, Readable
from webui.api.refusals import Refused
from webui.api.streams import PATIENCE
from webui.params import MOST_PIXELS

KB, MB = 2**10, 2**20
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
TEXTS = frozenset({".csv", ".txt", ".json"})
LEFT_SECONDS = 600.0  # after which a half-written file is one that nobody writes any more
HEAD = 4096  # bytes of a text that are looked at


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """What one account may send."""

    body: int = 8 * MB  # one request that is no upload
    form: int = 16 * KB  # one form of somebody who has not signed in
    upload: int = 64 * MB  # one upload
    uploads: int = 60  # within `window`
    bytes: int = 1024 * MB  # of uploads within `window`
    window: float = 60.0  # seconds
    quota: int = 1024 * MB  # of uploads kept by Gradio; the oldest are removed
    open: int = 100  # requests under way at the same time
    uploading: int = 6  # of them uploads: as many as a browser has connections to one server
    patience: float = PATIENCE  # seconds that a request may keep us waiting for its body


def is_upload(method: str, path: str) -> bool:
    """Whether a request brings a file."""
    return method == "POST" and path.rstrip("/") in (UPLOAD, "/x/inputs", "/x/info", "/x/extensions/zip")


class Uploads:
    """Who has uploaded how much. Safe from any thread."""

    def __init__(self, limits: BodyLimits, readable: Readable, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._readable = readable
        self._clock = clock
        self._turn = threading.Lock()
        self._begun: defaultdict[int, deque[float]] = defaultdict(deque)
        self._received: defaultdict[int, deque[tuple[float, int]]] = defaultdict(deque)
        self._kept: defaultdict[int, OrderedDict[str, int]] = defaultdict(OrderedDict)
        self._swept = 0.0

    def begin(self, user: int) -> None:
        """Count an upload; `Refused` where there were too many."""
        with self._turn:
            begun, now = self._begun[user], self._clock()
            while begun and begun[0] <= now - self._limits.window:
                begun.popleft()
            if len(begun) >= self._limits.uploads:
                raise self._too_much(f"more than {self._limits.uploads} files were sent within a minute")
            begun.append(now)

    def receive(self, user: int, size: int) -> None:
        """Count bytes of an upload as they come in; `Refused` where there were too many."""
        with self._turn:
            received, now = self._received[user], self._clock()
            while received and received[0][0] <= now - self._limits.window:
                received.popleft()
            if received and now - received[-1][0] < 1:
                received[-1] = (received[-1][0], received[-1][1] + size)
            else:
                received.append((now, size))
            if sum(size for _, size in received) > self._limits.bytes:
                raise self._too_much(f"more than {self._limits.bytes // MB:,} MB were sent within a minute")

    def accept(self, user: int, paths: Sequence[str]) -> None:
        """Check what Gradio has stored, and let the user read it; what may not be there is removed, and `Refused` raised."""
        try:
            sizes = {path: check_file(Path(path)) for path in paths}
        except Refused:
            for path in paths:
                if self._readable.revoke(user, path):
                    Path(path).unlink(missing_ok=True)
            raise
        self._readable.grant(user, paths)
        with self._turn:
            kept = self._kept[user]
            for path, size in sizes.items():
                kept[path] = size
                kept.move_to_end(path)
            oldest = []
            while sum(kept.values()) > self._limits.quota and len(kept) > len(sizes):
                oldest.append(kept.popitem(last=False)[0])
        for path in oldest:
            if self._readable.revoke(user, path):
                Path(path).unlink(missing_ok=True)

    def sweep(self, folder: Path) -> None:
        """Remove what uploads that broke off have left in Gradio's folder."""
        with self._turn:
            if self._clock() < self._swept + LEFT_SECONDS / 10:
                return
            self._swept = self._clock()
        with contextlib.suppress(OSError):
            for path in folder.glob("tmp*"):
                with contextlib.suppress(OSError):
                    if path.is_file() and path.stat().st_mtime < time.time() - LEFT_SECONDS:
                        path.unlink()

    def _too_much(self, what: str) -> Refused:
        seconds = str(round(self._limits.window))
        return Refused(429, f"Too much at once: {what}; wait a minute.", headers={"Retry-After": seconds})


def check_file(path: Path) -> int:
    """The file's size; `Refused` where it is neither a picture nor a text, is called something else, or has too many pixels."""
    suffix = path.suffix.lower()
    if suffix in TEXTS:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if b"\0" in head or head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise Refused(415, "That file is not the text that its name says.")
    elif suffix in PICTURES:
        try:
            with Image.open(path, formats=FORMATS) as picture:
                width, height = picture.size
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            width = height = MOST_PIXELS
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            raise Refused(415, "That file is no picture that can be read: PNG, JPEG, WebP, GIF and BMP are.") from error
        if width * height > MOST_PIXELS:
            raise Refused(413, f"That picture has more than {MOST_PIXELS:,} pixels; make it smaller first.")
    else:
        raise Refused(415, f"Files {f'of the kind {suffix[:20]}' if suffix else 'without an ending'} are not taken here.")
    return path.stat().st_size
