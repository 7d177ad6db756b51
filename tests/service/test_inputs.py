"""Pictures that people bring: kept as they are, found by what is in them, and refused before they can do harm."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.service.shelf import ANNA, BOB, OWNER, Clock, shelf
from webui.errors import NotFound, StorageError, TooMany, UserError
from webui.service import decoding
from webui.service import inputs as module
from webui.service.database import Database
from webui.service.inputs import LARGEST, Inputs


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = shelf(tmp_path).database
    yield made
    made.close()


@pytest.fixture
def inputs(database: Database, tmp_path: Path) -> Inputs:
    return Inputs(database, tmp_path, Clock())


def picture(kind: str = "PNG", size: tuple[int, int] = (9, 5), colour: int = 0, **more: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 0)).save(buffer, kind, **more)  # type: ignore[arg-type]
    return buffer.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes], rows: bytes | None = None) -> bytes:
    """A PNG that says what it is told to."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(b"\0" * ((3 * width + 1) * height) if rows is None else rows)
    all_chunks = [(b"IHDR", head), *chunks, (b"IDAT", content), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in all_chunks
    )


def files(root: Path) -> list[Path]:
    return [path for path in (root / "data" / "inputs").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_back_byte_for_byte(inputs: Inputs, tmp_path: Path, kind: str) -> None:
    content = picture(kind)
    digest = inputs.add(ANNA, content)
    assert digest == hashlib.sha256(content).hexdigest() and inputs.open(ANNA, digest) == content
    found = inputs.get(ANNA, digest)
    assert (found.width, found.height, found.bytes, found.kind) == (9, 5, len(content), f"image/{kind.lower()}")
    assert [path.name for path in files(tmp_path)] == [digest]


def test_the_same_picture_is_kept_once_and_counts_for_each(inputs: Inputs, tmp_path: Path) -> None:
    content = picture()
    digest = inputs.add(ANNA, content)
    assert inputs.add(ANNA, content) == inputs.add(BOB, content) == digest
    assert inputs.used(ANNA) == inputs.used(BOB) == len(content) and len(files(tmp_path)) == 1
    inputs.remove(ANNA, digest)
    assert inputs.open(BOB, digest) == content and inputs.used(ANNA) == 0
    inputs.remove(BOB, digest)
    assert files(tmp_path) == []


def test_nobody_reads_what_somebody_else_brought(inputs: Inputs) -> None:
    digest = inputs.add(ANNA, picture())
    for user in (BOB, OWNER):
        with pytest.raises(NotFound):
            inputs.open(user, digest)
        with pytest.raises(NotFound):
            inputs.remove(user, digest)
    assert inputs.open(ANNA, digest)


@pytest.mark.parametrize("name", ["", "..", "../../data/webui.sqlite3", "a" * 64, "A" * 64, "%", "x\0", "/etc/passwd"])
def test_a_name_is_never_a_path(inputs: Inputs, name: str) -> None:
    inputs.add(ANNA, picture())
    with pytest.raises(NotFound):
        inputs.open(ANNA, name)


HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
ANIMATED = [Image.new("RGB", (9, 5), colour) for colour in ("red", "blue")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no picture that is taken"), (HTML, "no picture that is taken"), (SVG, "no picture that is taken"),
        (b"GIF89a" + HTML, "no picture that is taken"), (b"BM" + b"\0" * 100, "no picture that is taken"),
        (png(30_000, 30_000, rows=b"\0" * 100), "at most 16,777,216 in all"), (png(1, 20_000, rows=b""), "16,384 a side"),
        (png(2**31, 2**31, rows=b""), "at most"), (png(0, 5, rows=b""), "no pixels"), (png(9, 5, rows=b"\0"), "broken"),
        (picture()[:-30], "broken"), (picture("JPEG", (64, 64))[:200], "broken"), (picture("WEBP", (64, 64))[:40], "broken"),
        (png(9, 5, (b"zTXt", b"k\0\0" + zlib.compress(b"\0" * 70_000_000))), "broken"),
        (picture("WEBP", save_all=True, append_images=ANIMATED), "animated"),
        (picture("PNG", save_all=True, append_images=ANIMATED), "animated"), (b"\0" * (LARGEST + 1), "at most 64 are taken"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_good_picture_is_refused_with_a_sentence(
    inputs: Inputs, tmp_path: Path, content: bytes, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        inputs.add(ANNA, content)
    assert files(tmp_path) == [] and inputs.used(ANNA) == 0


def test_a_phones_jpeg_with_a_second_picture_inside_is_taken(inputs: Inputs) -> None:
    content = picture("MPO", save_all=True, append_images=ANIMATED[:1])
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.n_frames == 2
    assert inputs.open(ANNA, inputs.add(ANNA, content)) == content


def test_a_bomb_is_refused_before_anything_is_decoded(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the decoder was asked")

    monkeypatch.setattr(decoding.Image, "open", refuse)
    for content in (png(30_000, 30_000, rows=b""), webp_that_says(16_384, 16_384), jpeg_that_says(60_000, 60_000)):
        with pytest.raises(UserError, match="make it smaller"):
            inputs.add(ANNA, content)


def webp_that_says(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_that_says(width: int, height: int) -> bytes:
    return b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\1\x11\0\2\x11\0\3\x11\0"


def test_a_picture_that_is_a_page_too_stays_a_picture(inputs: Inputs) -> None:
    """Whatever stands behind the pixels is sent as image/png and never read as anything else."""
    digest = inputs.add(ANNA, picture() + HTML)
    assert inputs.get(ANNA, digest).kind == "image/png"


def test_the_quota_is_exact_even_when_many_come_at_once(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [png(9, 5, (b"tEXt", b"number\0%02d" % n)) for n in range(12)]
    size = len(contents[0])
    assert {len(each) for each in contents} == {size}
    monkeypatch.setattr(module, "MEGABYTE", size)
    results: list[str] = []

    def bring(content: bytes) -> None:
        try:
            results.append(inputs.add(ANNA, content, megabytes=5))
        except TooMany as error:
            results.append(str(error))

    threads = [threading.Thread(target=bring, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [each for each in results if len(each) != 64]
    assert len(results) == 12 and len(refused) == 7 and inputs.used(ANNA) == 5 * size
    assert refused[0] == "Your uploads take 5 MB and may take 5; remove some, or pictures made of them, or ask an owner for more."
    assert inputs.add(BOB, contents[0], megabytes=5)
    inputs.remove(ANNA, next(each for each in results if len(each) == 64))
    assert inputs.used(ANNA) == 4 * size


def test_what_the_disk_lost_or_changed_is_told_and_can_be_brought_again(inputs: Inputs, tmp_path: Path) -> None:
    content = picture()
    digest = inputs.add(ANNA, content)
    for damage in (lambda path: path.write_bytes(b"other"), lambda path: path.unlink()):
        damage(files(tmp_path)[0])
        with pytest.raises(StorageError, match="upload it again"):
            inputs.open(ANNA, digest)
        assert inputs.add(ANNA, content) == digest and inputs.open(ANNA, digest) == content


def test_files_of_nobody_are_removed_and_no_others(inputs: Inputs, database: Database, tmp_path: Path) -> None:
    hers, his = inputs.add(ANNA, png(1, 1)), inputs.add(BOB, png(2, 1))
    shared = inputs.add(ANNA, png(3, 1))
    assert inputs.add(BOB, png(3, 1)) == shared and inputs.sweep() == 0
    with database.write() as connection:
        connection.execute("DELETE FROM users WHERE id = ?", (ANNA.id,))
    (tmp_path / "data" / "inputs" / hers[:2] / ".half.part").write_bytes(b"left by a process that was killed")
    assert inputs.sweep() == 2 and sorted(path.name for path in files(tmp_path)) == sorted([his, shared])
    assert inputs.open(BOB, shared) == png(3, 1)


def test_a_disk_that_is_full_keeps_nothing(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        inputs.add(ANNA, picture())
    assert files(tmp_path) == [] and inputs.used(ANNA) == 0
