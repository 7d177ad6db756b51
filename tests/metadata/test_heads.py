"""The size of a picture is known before anything is decoded, and it is the one the decoder would find."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from webui.metadata.heads import Head, read_head

SIZES = [(1, 1), (7, 300), (300, 7), (257, 129), (1000, 2)]
WAYS = {
    "png": ("PNG", "RGB", {}), "png palette": ("PNG", "P", {}), "jpeg": ("JPEG", "RGB", {}),
    "jpeg progressive": ("JPEG", "RGB", {"progressive": True}), "jpeg grey": ("JPEG", "L", {}),
    "jpeg with a comment": ("JPEG", "RGB", {"comment": b"\xff\xc0\xff\xda" * 50}), "webp": ("WEBP", "RGB", {}),
    "webp lossless": ("WEBP", "RGB", {"lossless": True}), "webp extended": ("WEBP", "RGBA", {"exif": b"Exif\0\0MM\0*"}),
}  # fmt: skip


def encoded(kind: str, mode: str, size: tuple[int, int], **more: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_size_is_the_decoders(way: tuple[str, str, dict[str, object]], size: tuple[int, int]) -> None:
    kind, mode, more = way
    assert read_head(encoded(kind, mode, size, **more)) == Head(kind=kind, width=size[0], height=size[1])


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<!doctype html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a\1\0\1\0\0\0\0", b"BM" + b"\0" * 60,
        b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIDAT" + b"\0" * 30, b"\xff\xd8\xff", b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\0\0\0\0", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 20,
        b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 20, b"\xff\xd8\xff\xe0\0\0" + b"\xff\xe0\0\0" * 1000, b"%PDF-1.7", b"PK\3\4",
    ],
)  # fmt: skip
def test_anything_else_is_none(content: bytes) -> None:
    assert read_head(content) is None


@settings(max_examples=50)
@given(st.sampled_from(list(WAYS.values())), st.data())
def test_damage_never_raises(way: tuple[str, str, dict[str, object]], data: st.DataObject) -> None:
    content = bytearray(encoded(way[0], way[1], (9, 5), **way[2]))
    for at in data.draw(st.lists(st.integers(0, min(len(content), 60) - 1), max_size=6)):
        content[at] = data.draw(st.integers(0, 255))
    found = read_head(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert found is None or (found.width >= 0 and found.height >= 0)
