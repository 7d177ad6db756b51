"""Embeddings that are kept in pictures, as A1111 writes them: as text in a PNG file, or in the pixels beside the picture.

In the pixels, bytes stand in the lower four bits of two blocks of columns, left of the picture and right of it, each parted from
it by a black column: the left one has the lower halves, the right one the upper ones. Both are mixed with a fixed sequence, and
what they make together is compressed JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PICTURES = (".png", ".webp")
TEXT = "sd-ti-embedding"
TENSOR = "TORCHTENSOR"
LARGEST = 64 * 2**20  # pixels of a picture, and bytes of what is in it
LOW = bytes(value & 15 for value in range(256))


def kept_in_picture(path: Path) -> dict[str, Any] | None:
    """What a picture says of an embedding, its tensors as lists of numbers; None where it says nothing."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST:
                return None
            image.load()
            text = image.info.get(TEXT)
            plain = base64.b64decode(text) if isinstance(text, str | bytes) else in_pixels(image)
        found = None if plain is None else without_marks(json.loads(plain))
    except (OSError, ValueError, RecursionError, SyntaxError, binascii.Error, zlib.error, Image.DecompressionBombError):
        return None
    return found if isinstance(found, dict) else None


def in_pixels(image: Any) -> bytes | None:
    """The text that is kept in the pixels of a picture; None where there is none."""
    from PIL import ImageChops

    whole = image.convert("RGB")
    red, green, blue = whole.split()
    box = ImageChops.darker(ImageChops.darker(red, green), blue).getbbox()  # a border, whose pixels lack a colour, is not meant
    if box is None:
        return None
    inner = whole.crop(box)
    width, height = inner.size
    low = inner.tobytes().translate(LOW)
    black = [x for x in range(width) if not any(any(low[3 * x + channel :: 3 * width]) for channel in range(3))]
    if len(black) < 2:
        return None
    lower = mixed(inner.crop((0, 0, black[0], height)).tobytes().translate(LOW))
    upper = mixed(inner.crop((black[-1] + 1, 0, width, height)).tobytes().translate(LOW))
    if not lower or len(lower) != len(upper):
        return None
    joined = bytes(high << 4 | each for high, each in zip(upper, lower, strict=True))
    return zlib.decompressobj().decompress(joined, LARGEST)


def mixed(block: bytes) -> bytes:
    """Half bytes and a fixed sequence, the one turned by the other; to do it twice is to do nothing."""
    return bytes(value ^ other for value, other in zip(block, sequence(), strict=False))


def sequence() -> Iterator[int]:
    """The fixed sequence of numbers below 16."""
    state = 0
    while True:
        state = (1664525 * state + 1013904223) % 2**32
        yield state % 255 & 15


def without_marks(told: Any) -> Any:
    """The same with lists where they are marked to be tensors."""
    if isinstance(told, dict):
        if TENSOR in told:
            return told[TENSOR]
        return {key: without_marks(value) for key, value in told.items()}
    return told
