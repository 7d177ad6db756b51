"""A picture as a file with its parameters' text, where readers of each format look for it: a PNG's text chunk, else EXIF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from webui.infotext import PNG_KEY
from webui.metadata import exif
from webui.metadata.jpeg import MOST_EXIF

PNG, JPEG, WEBP, AVIF = "PNG", "JPEG", "WebP", "AVIF"
SUFFIXES: Mapping[str, str] = MappingProxyType({PNG: ".png", JPEG: ".jpg", WEBP: ".webp", AVIF: ".avif"})
TYPES: Mapping[str, str] = MappingProxyType({
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".avif": "image/avif",
})  # fmt: skip
"""What a browser is told of a file, by its suffix."""
LARGEST_SIDE: Mapping[str, int] = MappingProxyType({JPEG: 65_535, WEBP: 16_383, AVIF: 65_536})
COMPRESSION = 1  # zlib's level: a tenth of the time of the usual 6 for a few percent of size
BEST = 100  # the quality at which WebP keeps every pixel
FAST = 8  # AVIF's speed, of 10: a third of the time of the usual 6 for a few percent of size


def why_not(format: str, width: int, height: int, text: str) -> str:  # noqa: A002
    """Why a picture cannot be written so, to follow "for"; "" where it can."""
    side = LARGEST_SIDE.get(format)
    if side is not None and max(width, height) > side:
        return f"{format} has at most {side:,} pixels a side"
    if format == JPEG and len(exif.written(text)) > MOST_EXIF:
        return f"{format} has no room for {len(text):,} characters of parameters"
    return ""


def write(pixels: Any, format: str, text: str, quality: int = 90) -> bytes:  # noqa: A002
    """The file of uint8 [H, W, 3 or 4] with its text; `quality` is from 1 to 100, where WebP loses nothing; PNG never does.

    Whether it can be written so, `why_not` says.
    """
    picture = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if format == PNG:
        return png(picture, {PNG_KEY: text})
    said = exif.written(text)
    if format == JPEG:
        picture.convert("RGB").save(buffer, "JPEG", quality=quality, exif=said, subsampling=0 if quality >= 90 else 2)
    elif format == WEBP:
        picture.save(buffer, "WEBP", quality=quality, lossless=quality == BEST, method=4, exif=said)
    else:
        fine = {"subsampling": "4:4:4"} if quality >= 90 else {}
        picture.save(buffer, "AVIF", quality=quality, speed=FAST, exif=said, **fine)
    return buffer.getvalue()


def png(picture: Image.Image, texts: Mapping[str, str]) -> bytes:
    """A PNG with text chunks, in Latin-1 where that suffices and UTF-8 (iTXt) elsewhere: as the field does."""
    chunks = PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks, compress_level=COMPRESSION)
    return buffer.getvalue()
