"""Texts hidden in pixels: the lowest bit of each alpha value, or of red, green and blue, column after column.

The form is that of the stealth PNG info extension, which NovelAI writes too: a signature that says where it is and whether
packed, the length in bits (32 of them, big-endian), the text. Whoever strips a file's chunks leaves it.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

from webui.metadata.bounds import LONGEST_TEXT, clean

SIGNATURES = {
    "alpha": {b"stealth_pnginfo": False, b"stealth_pngcomp": True},
    "colours": {b"stealth_rgbinfo": False, b"stealth_rgbcomp": True},
}
LENGTH = 15  # bytes of a signature
MOST_PIXELS = 2**24  # of a picture that is decoded to look
LOSSLESS = ("PNG", "WEBP")
GZIP = 16 + zlib.MAX_WBITS
FAILURES = (
    OSError, ValueError, SyntaxError, MemoryError, IndexError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


def hidden_text(content: bytes) -> str:
    """The text in a picture's pixels; "" where there is none."""
    try:
        with Image.open(io.BytesIO(content), formats=LOSSLESS) as picture:
            if picture.width * picture.height > MOST_PIXELS or getattr(picture, "is_animated", False):
                return ""
            if picture.mode not in ("RGB", "RGBA"):
                return ""
            pixels = np.asarray(picture)
    except FAILURES:
        return ""
    if pixels.ndim != 3:
        return ""
    alpha = _said(pixels[..., 3].T.ravel(), SIGNATURES["alpha"]) if pixels.shape[2] == 4 else ""
    return alpha or _said(pixels[..., :3].transpose(1, 0, 2).ravel(), SIGNATURES["colours"])


def _said(values: Any, signatures: dict[bytes, bool]) -> str:
    """The text in the lowest bits of uint8 [n]."""
    packed = signatures.get(_bytes(values, 0, LENGTH))
    if packed is None:
        return ""
    bits = int.from_bytes(_bytes(values, LENGTH, 4), "big")
    content = _bytes(values, LENGTH + 4, min(bits // 8, 4 * LONGEST_TEXT))
    if packed:
        try:
            content = zlib.decompressobj(GZIP).decompress(content, 4 * LONGEST_TEXT)
        except zlib.error:
            return ""
    return clean(content.decode("utf-8", errors="replace"))


def _bytes(values: Any, at: int, count: int) -> bytes:
    part = values[8 * at : 8 * (at + count)]
    return bytes(np.packbits(part[: len(part) // 8 * 8] & 1))
