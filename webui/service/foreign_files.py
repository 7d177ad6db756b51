"""What a file is that is no picture taken here, in words, by its first bytes: so that people know what to do about it."""

from __future__ import annotations

TAKEN = "save it as PNG, JPEG, WebP or AVIF"
LOOKED_AT = 1024  # bytes
BEGINNINGS = (
    (b"GIF8", "a GIF"), (b"BM", "a BMP picture"), (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"), (b"8BPS", "a Photoshop file"), (b"%PDF", "a PDF"), (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"), (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"), (b"PK\x03\x04", "a zip file"),
    (b"qoif", "a QOI picture"), (b"\0\0\1\0", "an icon"), (b"\x1aE\xdf\xa3", "a video"), (b"v/1\1", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"), (b"gimp xcf", "a GIMP file"), (b"DDS ", "a DDS texture"),
)  # fmt: skip
BRANDS = (
    ((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC picture, as phones make them"),
    ((b"avif", b"avis"), "a broken AVIF picture"),
)  # fmt: skip
"""Of files in boxes (ISO 14496-12), which begin with a length, "ftyp" and the brand."""


def refusal(content: bytes) -> str:
    """Why a file is not taken, and what to do, in a sentence."""
    if not content.strip(b"\0"):
        return f"The file is empty, so it is no picture that is taken here; {TAKEN}."
    what = _what(content)
    said = f"That is {what}, which is" if what else "That is"
    return f"{said} no picture that is taken here; {TAKEN}."


def _what(content: bytes) -> str:
    start = content[:LOOKED_AT]
    if start[4:8] == b"ftyp":
        return next((words for brands, words in BRANDS if start[8:12] in brands), "a video or another file in boxes")
    for beginning, words in BEGINNINGS:
        if start.startswith(beginning):
            return words
    return _text(start)


def _text(start: bytes) -> str:
    plain = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if plain.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and (b"<svg" in plain or b"svg" in plain[:300]):
        return "an SVG drawing"
    if plain.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # the last character may be cut in two
            return ""
        text = start[: error.start].decode("utf-8")
    return "text" if text and all(each.isprintable() or each in "\t\r\n\f" for each in text) else ""
