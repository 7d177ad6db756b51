"""Pictures in small: made once, kept in a folder that may be emptied at any time, and never a reason for an error."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 320  # pixels, at most
QUALITY = 80
METHOD = 1  # WebP's effort, of 6: a quarter of the time for a few percent of size
MOST_PIXELS = 100_000_000  # of a picture that is made small
MAKING = 2  # at the same time
STRIPES = 64


class Thumbnails:
    """Small pictures by the ids of the pictures; `folder` None keeps none. Safe from any thread."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._making = threading.BoundedSemaphore(MAKING)
        self._turns = tuple(threading.Lock() for _ in range(STRIPES))  # one picture is made by one thread

    def kept(self, id: str) -> bytes | None:  # noqa: A002
        """The small picture, if it was made before."""
        try:
            return None if self._folder is None else self._file(self._folder, id).read_bytes() or None
        except OSError:
            return None

    def of(self, id: str, path: Path) -> bytes | None:  # noqa: A002
        """The small picture of the file at `path`; None where there is none that can be read."""
        known = self.kept(id)
        if known is not None:
            return known
        with self._turns[hash(id) % STRIPES], self._making:
            known = self.kept(id)
            if known is None:
                known = small(path)
                if known is not None:
                    self._keep(id, known)
            return known

    def forget(self, id: str) -> None:  # noqa: A002
        """Remove a small picture."""
        try:
            if self._folder is not None:
                self._file(self._folder, id).unlink(missing_ok=True)
        except OSError:
            return

    def _keep(self, id: str, content: bytes) -> None:  # noqa: A002
        """Write it whole or not at all; where that fails it is made again."""
        if self._folder is None:
            return
        target = self._file(self._folder, id)
        part = None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(part).replace(target)
        except OSError:
            if part is not None:
                Path(part).unlink(missing_ok=True)

    @staticmethod
    def _file(folder: Path, id: str) -> Path:  # noqa: A002
        return folder / id[:2] / f"{id}.webp"


def small(path: Path) -> bytes | None:
    """The picture in a file as WebP with sides of at most `SIDE`; None where there is none that can be read."""
    try:
        with Image.open(path, formats=("PNG", "JPEG", "WEBP", "AVIF")) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                return None
            transparent = picture.has_transparency_data
            whole = picture.convert("RGBA" if transparent else "RGB")
        whole.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
        buffer = io.BytesIO()
        whole.save(buffer, "WEBP", quality=QUALITY, method=METHOD)
        return buffer.getvalue()
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None


@cache
def placeholder() -> bytes:
    """What is shown where a picture's file is gone or broken: a grey square with a cross, as WebP."""
    side = SIDE // 2
    picture = Image.new("RGB", (side, side), "#8a8a92")
    draw = ImageDraw.Draw(picture)
    edge = side // 3
    draw.line((edge, edge, side - edge, side - edge), fill="#d8d8de", width=6)
    draw.line((edge, side - edge, side - edge, edge), fill="#d8d8de", width=6)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()
