"""Small pictures are made once, by few threads at a time, and whatever the file is nothing raises."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from webui.service import thumbnails
from webui.service.thumbnails import MAKING, SIDE, Thumbnails, placeholder


def opened(content: bytes | None) -> Image.Image:
    assert content is not None
    picture = Image.open(io.BytesIO(content))
    picture.load()
    assert picture.format == "WEBP"
    return picture


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (640, 320), kind: str = "PNG") -> Path:
    Image.new(mode, size, 200 if mode in ("L", "I;16") else None).save(path, kind)
    return path


@pytest.mark.parametrize(
    ("size", "small"), [((640, 320), (320, 160)), ((100, 4000), (8, 320)), ((20, 10), (20, 10)), ((1, 1), (1, 1))]
)
def test_the_shape_stays_and_no_side_is_too_long(tmp_path: Path, size: tuple[int, int], small: tuple[int, int]) -> None:
    assert opened(thumbnails.small(save(tmp_path / "x.png", size=size))).size == small


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_every_mode_is_understood(tmp_path: Path, mode: str) -> None:
    assert max(opened(thumbnails.small(save(tmp_path / "x.png", mode))).size) == SIDE


def test_it_looks_like_the_picture(tmp_path: Path) -> None:
    pixels = np.zeros((400, 800, 3), np.uint8)
    pixels[:, :400], pixels[:, 400:] = (250, 10, 10), (10, 10, 250)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    small = np.asarray(opened(thumbnails.small(tmp_path / "x.png")).convert("RGB"), np.int16)
    assert np.abs(small[80, 40] - (250, 10, 10)).max() < 12 and np.abs(small[80, 280] - (10, 10, 250)).max() < 12


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    made = Thumbnails(tmp_path / "small")
    path = save(tmp_path / "x.png")
    assert made.kept("ab12") is None
    first = made.of("ab12", path)
    path.unlink()
    assert first is not None and made.of("ab12", path) == first == made.kept("ab12")
    assert Thumbnails(tmp_path / "small").kept("ab12") == first
    made.forget("ab12")
    assert made.kept("ab12") is None and made.of("ab12", path) is None


def test_it_is_made_once_for_all_who_ask_and_few_are_made_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, counts, now, most = threading.Lock(), dict[str, int](), [0], [0]
    everybody_there = threading.Barrier(24)

    def slow(path: Path) -> bytes:
        with lock:
            counts[path.name] = counts.get(path.name, 0) + 1
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.01)
        with lock:
            now[0] -= 1
        return path.name.encode()

    def ask(name: str) -> None:
        everybody_there.wait()
        assert made.of(name, tmp_path / name) == name.encode()

    monkeypatch.setattr(thumbnails, "small", slow)
    made = Thumbnails(tmp_path / "small")
    threads = [threading.Thread(target=ask, args=(f"picture{n // 4}",)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {f"picture{n}": 1 for n in range(6)} and most[0] <= MAKING


def bomb(path: Path, side: int = 60_000) -> Path:
    """A PNG of a few bytes that says it is huge."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))
    return path


def test_whatever_is_no_picture_has_no_small_one_and_costs_nothing(tmp_path: Path) -> None:
    made = Thumbnails(tmp_path / "small")
    whole = save(tmp_path / "whole.png", size=(300, 300)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("<svg onload=alert(1)>")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    bomb(tmp_path / "bomb.png")
    bomb(tmp_path / "large.png", 9_900)
    for name in ("cut", "text", "empty", "folder", "bomb", "large", "nothing"):
        assert made.of(name, tmp_path / f"{name}.png") is None, name
    assert not (tmp_path / "small").exists()


def test_where_nothing_can_be_kept_it_is_made_again(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png")
    (tmp_path / "file").write_text("not a folder")
    for folder in (None, tmp_path / "file", tmp_path / "file" / "below"):
        made = Thumbnails(folder)
        assert made.of("ab", path) == made.of("ab", path) is not None and made.kept("ab") is None
        made.forget("ab")


def test_the_placeholder_is_a_picture() -> None:
    assert opened(placeholder()).size == (SIDE // 2, SIDE // 2)
