"""Files become pixels: upright, in sRGB, with what shows through; and no bytes whatsoever make anything but a sentence of it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from webui.errors import UserError
from webui.service import decoding
from webui.service.inputs import check_pixels, checked_head

WIDTH, HEIGHT = 7, 5
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **more: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


def png(depth: int, colour: int, rows: list[bytes], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of a bit depth and colour type, `WIDTH` wide."""
    head = struct.pack(">IIBBBBB", WIDTH, len(rows), depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in ((b"IHDR", head), *chunks, (b"IDAT", data), (b"IEND", b""))
    )


def plain(content: bytes) -> NDArray[np.uint8]:
    """What Pillow makes of it."""
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGBA"))


def exif(orientation: int) -> Image.Exif:
    notes = Image.Exif()
    notes[decoding.ORIENTATION] = orientation
    return notes


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("held", range(10))
def test_a_picture_is_turned_as_the_camera_was_held(kind: str, held: int) -> None:
    content = encoded(Image.fromarray(RGB), kind, exif=exif(held), **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(content)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGBA"))
    assert np.array_equal(decoding.colours(content), upright)
    assert (upright.shape[:2] == (WIDTH, HEIGHT)) == (held in (5, 6, 7, 8)), "the test turns it"
    seen = decoding.examine(content)
    assert (seen.height, seen.width) == upright.shape[:2]
    assert decoding.mask(content).shape == decoding.depth(content).shape == upright.shape[:2]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA"])
def test_every_kind_of_png_becomes_the_colours_it_shows(mode: str) -> None:
    base = Image.fromarray(RGB)
    if mode.endswith("A"):
        base.putalpha(Image.fromarray(RGB[..., 0]))
    content = encoded(base.convert("RGBA").convert(mode) if mode != "PA" else base.quantize(8), "PNG")
    assert np.array_equal(decoding.colours(content), plain(content))
    assert decoding.examine(content).transparent == bool((plain(content)[..., 3] < 255).any())


def test_the_colour_that_a_file_declares_to_be_see_through_is_so() -> None:
    grey = encoded(Image.fromarray(RGB[..., 0]), "PNG", transparency=int(RGB[1, 2, 0]))
    assert decoding.colours(grey)[1, 2, 3] == 0 and decoding.examine(grey).transparent
    deep = [struct.pack(f">{WIDTH}H", *(1000 * row + each for each in range(WIDTH))) for row in range(3)]
    sixteen = png(16, 0, deep, (b"tRNS", struct.pack(">H", 2003)))
    alpha = decoding.colours(sixteen)[..., 3]
    assert alpha[2, 3] == 0 and (alpha == 0).sum() == 1 and decoding.examine(sixteen).transparent
    assert decoding.mask(sixteen)[2, 3] == 0 and decoding.mask(sixteen).sum() == 3 * WIDTH - 1


def test_sixteen_bits_stay_so_for_a_map_and_become_eight_for_colours() -> None:
    values = np.linspace(0, 65535, 3 * WIDTH).round().astype(np.uint16).reshape(3, WIDTH)
    content = png(16, 0, [row.astype(">u2").tobytes() for row in values])
    assert np.array_equal(decoding.depth(content), (values / 65535).astype(np.float32))
    assert len(np.unique(decoding.depth(content))) == values.size
    shown = decoding.colours(content)
    assert np.array_equal(shown[..., 0], (values / 257).round()) and (shown[..., 3] == 255).all()
    for colour, channels in ((2, 3), (4, 2), (6, 4)):  # of which Pillow keeps the upper eight bits
        rows = [b"".join(struct.pack(f">{channels}H", *[256 * each] * channels) for each in range(WIDTH))]
        assert decoding.colours(png(16, colour, rows))[0, :, 0].tolist() == list(range(WIDTH))


def test_a_cmyk_jpeg_has_the_colours_that_programs_show() -> None:
    for picture in (Image.new("CMYK", (8, 8), (255, 0, 0, 0)), Image.new("CMYK", (8, 8), (0, 255, 255, 0))):
        content = encoded(picture, "JPEG", quality=100)
        assert np.abs(decoding.colours(content).astype(int) - plain(content)).max() <= 2
    assert decoding.colours(content)[0, 0, 0] > 200 > 60 > decoding.colours(content)[0, 0, 1], "red"


def profile(*, swapped: bool) -> bytes:
    """A profile of sRGB; or one of another name that takes red for blue."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if not swapped:
        return content
    return (
        content.replace(b"rXYZ", b"xxxx").replace(b"bXYZ", b"rXYZ").replace(b"xxxx", b"bXYZ")
        .replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    )  # fmt: skip


def test_colours_of_a_profile_become_srgb_and_those_of_srgb_stay_as_they_are() -> None:
    picture = Image.fromarray(RGB)
    assert np.array_equal(decoding.colours(encoded(picture, icc_profile=profile(swapped=False)))[..., :3], RGB)
    turned = decoding.colours(encoded(picture, icc_profile=profile(swapped=True)))
    assert np.abs(turned[..., 2::-1].astype(int) - RGB).max() <= 2 and (turned[..., 3] == 255).all()
    picture.putalpha(Image.fromarray(RGB[..., 1]))
    assert np.array_equal(decoding.colours(encoded(picture, icc_profile=profile(swapped=True)))[..., 3], RGB[..., 1])
    assert np.array_equal(decoding.colours(encoded(Image.fromarray(RGB), icc_profile=b"nonsense"))[..., :3], RGB)


def test_a_mask_is_the_brightness_of_an_opaque_file_or_what_is_drawn_in_a_transparent_one() -> None:
    grey = RGB[..., 0]
    assert np.array_equal(decoding.mask(encoded(Image.fromarray(grey))), (grey / 255).astype(np.float32))
    drawn = Image.fromarray(np.dstack([np.zeros_like(RGB), grey]))
    assert np.array_equal(decoding.mask(encoded(drawn)), (grey / 255).astype(np.float32))
    opaque = Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    assert np.array_equal(decoding.mask(encoded(opaque)), (grey / 255).astype(np.float32))


@pytest.mark.parametrize("chunk", [(b"iCCP", b"x\0"), (b"gAMA", b""), (b"tRNS", b"\0"), (b"cHRM", b"\0")])
def test_a_broken_note_behind_the_pixels_is_a_sentence(chunk: tuple[bytes, bytes]) -> None:
    name, content = chunk
    whole = png(8, 2, [bytes(3 * WIDTH)] * 2)
    late = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    damaged = whole[:-12] + late + whole[-12:]
    with pytest.raises(UserError, match="The picture is broken"):
        check_pixels(damaged, checked_head(damaged))


SEEDS = [
    encoded(Image.fromarray(RGB), "PNG"), encoded(Image.fromarray(RGB), "JPEG", exif=exif(6)),
    encoded(Image.fromarray(RGB), "JPEG", progressive=True), encoded(Image.fromarray(RGB), "WEBP", exif=exif(8)),
    encoded(Image.fromarray(RGB).quantize(5), "PNG", transparency=b"\0\x80"), encoded(Image.new("CMYK", (8, 8)), "JPEG"),
    encoded(Image.fromarray(RGB), "WEBP", lossless=True), encoded(Image.fromarray(RGB).convert("RGBA"), "WEBP"),
    encoded(Image.fromarray(RGB), "PNG", icc_profile=profile(swapped=True), exif=exif(3)),
    png(16, 0, [b"\1\2" * WIDTH] * 3), encoded(Image.fromarray(RGB), "PNG", save_all=True, append_images=[Image.fromarray(RGB)]),
]  # fmt: skip


def repaired(content: bytes) -> bytes:
    """A PNG whose checksums hold, so that what was changed in it is looked at."""
    parts, at = [content[:8]], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        body = content[at + 4 : at + 8 + length]
        parts.append(content[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return b"".join(parts)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's words about broken notes, which nobody needs
@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    st.none() | st.integers(0, 10**6), st.booleans(),
)
def test_a_changed_file_is_pixels_or_a_sentence(
    seed: bytes, changes: list[tuple[int, int]], cut: int | None, mended: bool
) -> None:
    content = bytearray(seed)
    for at, value in changes:
        content[at % len(content)] = value
    damaged = bytes(content if cut is None else content[: cut % len(content)])
    damaged = repaired(damaged) if mended and damaged.startswith(b"\x89PNG\r\n\x1a\n") else damaged
    try:
        seen = check_pixels(damaged, checked_head(damaged))
    except UserError as error:
        assert str(error).endswith(".") and "Traceback" not in str(error)
        return
    assert decoding.colours(damaged).shape == (seen.height, seen.width, 4)
    for values in (decoding.mask(damaged), decoding.depth(damaged)):
        assert values.shape == (seen.height, seen.width) and values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 1


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([b"", b"Exif\0\0II*\0", b"Exif\0\0MM\0*", b"II*\0\x08\0\0\0\1\0"]), st.binary(max_size=60))
def test_a_cameras_notes_may_hold_anything(start: bytes, rest: bytes) -> None:
    assert decoding.orientation(start + rest) in range(1, 9)
