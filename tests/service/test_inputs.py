"""Pictures that people bring: kept as they are, found by what is in them, and refused before they can do harm."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.shelf import ANNA, BOB, OWNER, Clock, shelf
from webui.errors import NotFound, StorageError, TooMany, UserError
from webui.request import Request
from webui.service import decoding
from webui.service import inputs as module
from webui.service.database import Database
from webui.service.inputs import LARGEST, Inputs
from webui.service.keeping import encoded_map
from webui.service.pictures import Pictures
from webui.service.preferences import Preferences
from webui.service.schema import STEPS


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


NAMED = [
    (b"\0\0\0\x18ftypheic\0\0\0\0", "That is a HEIC picture, as phones make them, which is no picture that is taken here; "),
    (b"\0\0\0\x18ftypavif\0\0\0\0", "a broken AVIF picture"), (SVG, "an SVG drawing"), (b"<svg></svg>", "an SVG drawing"),
    (b"GIF89a\1\0\1\0\0\0\0", "a GIF"), (b"BM\x46\0\0\0", "a BMP picture"), (b"II*\0\x08\0\0\0", "a TIFF picture"),
    (b"MM\0*\0\0\0\x08", "a TIFF picture"), (b"8BPS\0\1", "a Photoshop file"), (b"hello, w\xc3\xb6rld", "That is text"),
    (b"\xff\x0a\0\0", "a JPEG XL picture"), (b"%PDF-1.7", "a PDF"), (b"", "The file is empty"), (b"\0" * 99, "The file is empty"),
    (b"\x93\x07\x80\x99", "That is no picture that is taken here; save it as PNG, JPEG, WebP or AVIF."), (HTML, "a web page"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), NAMED, ids=lambda value: value[:20] if isinstance(value, str) else "")
def test_a_file_of_another_kind_is_called_by_its_name(inputs: Inputs, content: bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        inputs.add(ANNA, content)


def test_an_upload_is_as_large_as_it_is_upright(inputs: Inputs, database: Database) -> None:
    notes = Image.Exif()
    notes[0x0112] = 6
    digest = inputs.add(ANNA, picture("JPEG", exif=notes))
    assert (inputs.get(ANNA, digest).width, inputs.get(ANNA, digest).height) == (5, 9)
    with database.write() as connection:  # as an earlier version kept it
        connection.execute("UPDATE inputs SET width = 9, height = 5")
    assert inputs.add(ANNA, picture("JPEG", exif=notes)) == digest
    assert inputs.get(ANNA, digest).facts.width == 5 and not inputs.get(ANNA, digest).transparent


def test_whether_something_shows_through_is_known(inputs: Inputs) -> None:
    buffers = io.BytesIO(), io.BytesIO()
    Image.new("RGBA", (3, 3), (1, 2, 3, 255)).save(buffers[0], "PNG")
    Image.new("RGBA", (3, 3), (1, 2, 3, 254)).save(buffers[1], "PNG")
    assert [inputs.get(ANNA, inputs.add(ANNA, each.getvalue())).transparent for each in buffers] == [False, True]


def request_with(digest: str) -> Request:
    return Request(
        task="img2img", model="m", prompt="", steps=1, sampler="s", schedule="s", scale=1, seed=1, width=8, height=8,
        inputs={"picture": digest},
    )  # fmt: skip


def job(database: Database, name: str, digest: str, state: str, ended: float | None) -> None:
    plain = json.dumps(request_with(digest).to_dict())
    with database.write() as connection:
        connection.execute(
            "INSERT INTO jobs (id, user, kind, request, state, place, pictures, created, ended) "
            "VALUES (?, ?, 'img2img', ?, ?, 1, 1, 0, ?)", (name, ANNA.id, plain, state, ended),
        )  # fmt: skip


def test_what_nothing_refers_to_any_more_is_swept_away(tmp_path: Path) -> None:
    full = shelf(tmp_path)
    inputs = Inputs(full.database, tmp_path, full.clock)
    names = ("free", "of a picture", "of a job", "of an old job", "fresh")
    digests = {name: inputs.add(ANNA, picture(colour=40 * number)) for number, name in enumerate(names[:-1])}
    maps = {name: inputs.keep_made(ANNA.id, picture("PNG", colour=240 + n)) for n, name in enumerate(("used map", "free map"))}
    assert inputs.used(ANNA) == sum(inputs.get(ANNA, digest).bytes for digest in digests.values()), "maps are not counted"
    now = full.clock.now
    wanted = request_with(digests["of a picture"])
    row = full.pictures.row_values(
        user=ANNA.id, job=None, place=0, path=tmp_path / "x.png", size=1, width=8, height=8, request=wanted, parameters="",
        maps={"depth": maps["used map"]},
    )  # fmt: skip
    with full.database.write() as connection:
        full.pictures.insert(connection, row)
    job(full.database, "open", digests["of a job"], "queued", None)
    job(full.database, "old", digests["of an old job"], "failed", now)
    full.clock.now += 2 * 86400
    assert inputs.sweep() == 1
    assert {each.digest for each in inputs.all(ANNA)} == {*digests.values(), maps["used map"]}
    full.clock.now += 60 * 86400
    digests["fresh"] = inputs.add(ANNA, picture(colour=200))
    assert inputs.sweep() == 2
    assert {each.digest for each in inputs.all(ANNA)} == {
        maps["used map"], *(digests[name] for name in ("of a picture", "of a job", "fresh"))
    }  # fmt: skip
    assert {path.name for path in files(tmp_path)} == {each.digest for each in inputs.all(ANNA)}
    full.database.close()


def test_old_uploads_that_nothing_refers_to_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shelf(tmp_path)
    inputs = Inputs(full.database, tmp_path, full.clock)
    contents = [png(9, 5, (b"tEXt", b"number\0%02d" % n)) for n in range(5)]
    monkeypatch.setattr(module, "MEGABYTE", len(contents[0]))
    digests = []
    for content in contents[:3]:
        digests.append(inputs.add(ANNA, content, megabytes=3))
        full.clock.now += 1
    kept, *others = digests
    job(full.database, "open", kept, "running", None)
    with pytest.raises(TooMany):
        inputs.add(ANNA, contents[3], megabytes=3)
    full.clock.now += 2 * 3600
    added = inputs.add(ANNA, contents[3], megabytes=3)
    assert {each.digest for each in inputs.all(ANNA)} == {kept, others[1], added}, "the oldest, but not what a job needs"
    assert not (tmp_path / "data" / "inputs" / others[0][:2] / others[0]).exists()
    full.database.close()


def test_what_is_chosen_in_a_tab_stays_for_as_long_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shelf(tmp_path)
    inputs = Inputs(full.database, tmp_path, full.clock)
    contents = [png(9, 5, (b"tEXt", b"number\0%02d" % n)) for n in range(4)]
    monkeypatch.setattr(module, "MEGABYTE", len(contents[0]))
    chosen, _ = (inputs.add(ANNA, content, megabytes=2) for content in contents[:2])
    preferences = Preferences(full.database)
    preferences.write(ANNA, "img2img inputs", {"picture": {"digest": chosen, "name": ""}, "mask": "x", "sketch": {"digest": 1}})
    full.clock.now += 7200
    added = inputs.add(ANNA, contents[2], megabytes=2)
    assert {each.digest for each in inputs.all(ANNA)} == {chosen, added}
    full.clock.now += 60 * 86400
    assert inputs.sweep() == 1
    assert [each.digest for each in inputs.all(ANNA)] == [chosen]
    preferences.write(ANNA, "img2img inputs", {})
    assert inputs.sweep() == 1 and not inputs.all(ANNA)
    full.database.close()


def test_what_something_is_made_of_is_not_taken_from_it(tmp_path: Path) -> None:
    full = shelf(tmp_path)
    inputs = Inputs(full.database, tmp_path, full.clock)
    of_picture, waiting, ended, depth = (inputs.add(ANNA, picture(colour=40 * number)) for number in range(4))
    row = full.pictures.row_values(
        user=ANNA.id, job=None, place=0, path=tmp_path / "x.png", size=1, width=8, height=8, request=request_with(of_picture),
        parameters="", maps={"depth": depth},
    )  # fmt: skip
    with full.database.write() as connection:
        full.pictures.insert(connection, row)
    job(full.database, "waits", waiting, "queued", None)
    job(full.database, "ended", ended, "failed", full.clock.now)
    for digest in (of_picture, waiting, depth):
        with pytest.raises(UserError, match="Something is made of that upload"):
            inputs.remove(ANNA, digest)
        assert inputs.open(ANNA, digest)
    inputs.remove(ANNA, ended)
    inputs.add(BOB, picture(colour=40))
    inputs.remove(BOB, waiting)  # what others make of it is nothing to him
    assert {each.digest for each in inputs.all(ANNA)} == {of_picture, waiting, depth}
    full.database.close()


def test_a_map_that_is_made_again_is_as_fresh_as_a_new_one(tmp_path: Path) -> None:
    full = shelf(tmp_path)
    inputs = Inputs(full.database, tmp_path, full.clock)
    digest = inputs.keep_made(ANNA.id, picture())
    full.clock.now += 86000
    assert inputs.keep_made(ANNA.id, picture()) == digest
    full.clock.now += 1000
    assert inputs.sweep() == 0 and inputs.open(ANNA, digest)
    full.clock.now += 86400
    assert inputs.sweep() == 1
    full.database.close()


def test_a_map_is_its_users_and_comes_back_bit_for_bit(inputs: Inputs) -> None:
    values = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7) * 1871
    digest = inputs.keep_made(ANNA.id, encoded_map(values))
    with Image.open(io.BytesIO(inputs.open(ANNA, digest))) as opened:
        assert np.array_equal(np.asarray(opened), values) and opened.mode == "I;16"
    assert inputs.keep_made(ANNA.id, encoded_map(values)) == digest
    with pytest.raises(NotFound):
        inputs.open(BOB, digest)
    assert np.array_equal(decoding.depth(inputs.open(ANNA, digest)), (values / 65535).astype(np.float32))


def test_uploads_of_the_first_version_are_still_there(tmp_path: Path) -> None:
    path = tmp_path / "data" / "webui.sqlite3"
    old = Database(path, STEPS[:1])
    with old.write() as connection:
        connection.execute("INSERT INTO inputs VALUES (?, 1, 5, 9, 5, 'image/png', 0)", ("0" * 64,))
        connection.execute(
            "INSERT INTO pictures (id, user, place, path, bytes, width, height, seed, prompt, parameters, request, created) "
            "VALUES ('a', 1, 0, 'x.png', 1, 8, 8, '1', '', '', '{}', 0)"
        )
    old.close()
    now = Database(path)
    found = Inputs(now, tmp_path, Clock()).get(OWNER, "0" * 64)
    assert (found.width, found.height, found.transparent) == (9, 5, False)
    (picture,) = Pictures(now, tmp_path / "outputs").search(OWNER)
    assert picture.maps == picture.inputs == {}
    now.close()
