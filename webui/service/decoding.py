"""From the bytes of a checked file to pixels: upright, in sRGB, and nothing else done to them. Imports no torch.

What may come in was looked at before (`metadata/heads.py`, `inputs.py`): a PNG, JPEG, WebP or AVIF of bounded size.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from webui.errors import UserError
from webui.request import InputFacts

ORIENTATION = 0x0112  # the tag of EXIF (JEITA CP-3451)
SHORT = 3  # its type
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What makes a picture of each orientation upright."""
SIDEWAYS = frozenset({5, 6, 7, 8})
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
LARGEST_PROFILE = 4 * 2**20  # bytes of a colour profile
FAILURES = (
    OSError, ValueError, SyntaxError, MemoryError, IndexError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on broken files."""
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a picture is once decoded: its size when upright, and whether something shows through."""

    width: int
    height: int
    transparent: bool


def facts_of(digest: str, content: bytes) -> InputFacts:
    """What a request takes from a picture's file; `UserError` where it is broken."""
    seen = examine(content)
    return InputFacts(digest=digest, width=seen.width, height=seen.height, transparent=seen.transparent)


def examine(content: bytes, formats: tuple[str, ...] = FORMATS) -> Seen:
    """Decode a picture once to see what it is; `UserError` where that cannot be done, or where it is several."""
    with _opened(content, formats) as picture:
        # A phone's JPEG may hold a second picture, such as one with less light; the first is the one meant.
        if picture.format not in ("JPEG", "MPO") and getattr(picture, "is_animated", False):
            raise UserError("The picture is animated; save the frame you want as a picture of its own.")
        picture.load()
        width, height = picture.size
        if orientation(picture.info.get("exif", b"")) in SIDEWAYS:
            width, height = height, width
        return Seen(width=width, height=height, transparent=_shows_through(picture))


def colours(content: bytes) -> Bytes:
    """A picture as RGBA, uint8 [H, W, 4], 255 is opaque."""
    with _opened(content, FORMATS) as picture:
        upright = _upright(picture)
        if upright.mode in SIXTEEN_BITS:
            grey = (_sixteen(upright).astype(np.uint32) * 255 + 32767) // 65535
            alpha = np.where(_hidden(upright), 0, 255)
            return np.stack([grey, grey, grey, alpha], axis=2).astype(np.uint8)
        return np.asarray(_rgba(upright))


def mask(content: bytes) -> Floats:
    """A mask, float32 [H, W] from 0 to 1: the opacity of a file that something shows through, else its brightness."""
    with _opened(content, FORMATS) as picture:
        if _shows_through(picture):
            upright = _upright(picture)
            opacity = ~_hidden(upright) * 1.0 if upright.mode in SIXTEEN_BITS else np.asarray(_rgba(upright))[..., 3] / 255
            return opacity.astype(np.float32)
        return _brightness(_upright(picture))


def depth(content: bytes) -> Floats:
    """A depth map, float32 [H, W] from 0 to 1: 16 bits stay 16 bits, colours become their brightness."""
    with _opened(content, FORMATS) as picture:
        return _brightness(_upright(picture))


def orientation(exif: object) -> int:
    """How a camera was held, from 1 (upright) to 8, by the first directory of its notes; 1 where they say nothing."""
    if not isinstance(exif, bytes):
        return 1
    notes = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(notes[:2])
    if order is None or len(notes) < 10:
        return 1
    (start,) = struct.unpack(order + "I", notes[4:8])
    (count,) = struct.unpack(order + "H", notes[start : start + 2]) if len(notes) >= start + 2 else (0,)
    for at in range(start + 2, min(start + 2 + 12 * count, len(notes) - 11), 12):
        tag, kind, amount, value, _ = struct.unpack(order + "HHIHH", notes[at : at + 12])
        if tag == ORIENTATION and kind == SHORT and amount == 1:
            return value if value in TURNS else 1
    return 1


@contextmanager
def _opened(content: bytes, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """The picture in a file; what goes wrong with it is a `UserError`."""
    try:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            yield picture
    except FAILURES as error:
        raise UserError("The picture is broken: it cannot be read to its end; save it again with another program.") from error


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    turn = TURNS.get(orientation(picture.info.get("exif", b"")))
    return picture if turn is None else picture.transpose(turn)


def _shows_through(picture: Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    if picture.mode in SIXTEEN_BITS:
        return bool(_hidden(picture).any())
    if not picture.has_transparency_data:
        return False
    lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return float(lowest) < 255  # type: ignore[arg-type]  # of one channel they are numbers


def _rgba(picture: Image.Image) -> Image.Image:
    """Eight bits a channel in sRGB, with what shows through."""
    profile = picture.info.get("icc_profile")
    if picture.mode in ("RGB", "RGBA", "CMYK", "P", "PA") and isinstance(profile, bytes) and 0 < len(profile) <= LARGEST_PROFILE:
        return _in_srgb(picture, profile)
    return picture.convert("RGBA") if picture.mode != "CMYK" else picture.convert("RGB").convert("RGBA")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture with the colours that its profile means; one that nobody can read is passed over, as browsers do."""
    plain = picture if picture.mode == "CMYK" else picture.convert("RGBA")
    meant = picture.convert("RGB").convert("RGBA") if picture.mode == "CMYK" else plain
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).casefold():
            return meant
        before = plain if plain.mode == "CMYK" else plain.convert("RGB")
        found: Any = ImageCms.profileToProfile(before, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *FAILURES):
        return meant
    coloured: Image.Image = found.convert("RGBA")
    if plain.mode == "RGBA":
        coloured.putalpha(plain.getchannel("A"))
    return coloured


def _brightness(picture: Image.Image) -> Floats:
    if picture.mode in SIXTEEN_BITS:
        return (_sixteen(picture) / np.float32(65535)).astype(np.float32)
    plain = picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGBA")  # palettes may have see-through entries
    grey = plain if plain.mode == "L" else plain.convert("RGB").convert("L")
    return (np.asarray(grey) / np.float32(255)).astype(np.float32)


def _sixteen(picture: Image.Image) -> NDArray[np.uint16]:
    values: NDArray[np.uint16] = np.clip(np.asarray(picture), 0, 65535).astype(np.uint16)
    return values


def _hidden(picture: Image.Image) -> NDArray[np.bool_]:
    """Where a picture of 16 bits has the one value that its file declares to be see-through."""
    value = picture.info.get("transparency")
    values = _sixteen(picture)
    return values == value if isinstance(value, int) else np.zeros(values.shape, np.bool_)
