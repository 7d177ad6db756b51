"""Files that extensions read are found by the names people have for them, read once, and never as somebody else wrote to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from webui.errors import ModelFileError, UnknownName
from webui.service.network_files import NetworkFiles
from webui.weights import hashes
from webui.weights.files import save

FOLDERS = ("Lora", "loras")


def write(path: Path, value: float = 1.0, size: int = 4) -> str:
    save(path, {"a.weight": torch.full((size,), value)}, {"ss_tag": "x"})
    return hashes.sha256(path)


def files(root: Path, **more: Any) -> NetworkFiles:
    return NetworkFiles(root / "models", hash_of=hashes.sha256, known=lambda _: "", **more)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return tmp_path / "models" / "Lora"


def test_files_go_by_their_stems_and_by_more_where_that_is_unclear(tmp_path: Path, lora: Path) -> None:
    for name in ("plain", "one/Twin", "two/twin", "deep/er/alone.v1.2"):
        write(lora / f"{name}.safetensors")
    found = files(tmp_path)
    names = found.names(FOLDERS)
    assert set(names) == {"plain", "one/Twin", "two/twin", "alone.v1.2"}
    for said in ("PLAIN", "plain.safetensors", "alone.v1.2", "deep/er/alone.v1.2", "deep\\er\\ALONE.v1.2.safetensors"):
        assert Path(found.find(FOLDERS, said)).is_file()
    assert found.find(FOLDERS, "two/twin") == str(lora / "two" / "twin.safetensors")
    with pytest.raises(UnknownName, match=r"'twin'.*one/Twin") as unclear:
        found.find(FOLDERS, "twin")
    assert unclear.value.near
    with pytest.raises(UnknownName, match="plain"):
        found.find(FOLDERS, "plian")


def test_a_file_is_found_by_its_hash_whatever_it_is_called_now(tmp_path: Path, lora: Path) -> None:
    first, second = write(lora / "a.safetensors", 1.0), write(lora / "b.safetensors", 2.0)
    found = files(tmp_path)
    assert found.found(FOLDERS, "a", first) == str(lora / "a.safetensors")
    (lora / "a.safetensors").rename(lora / "c.safetensors")
    (lora / "b.safetensors").rename(lora / "a.safetensors")
    assert found.found(FOLDERS, "a", first) == str(lora / "c.safetensors")
    assert found.found(FOLDERS, "b", second) == str(lora / "a.safetensors")
    (lora / "c.safetensors").unlink()
    with pytest.raises(ModelFileError, match=f"'a' with the hash {first[:10]} is not here"):
        found.found(FOLDERS, "a", first)


def test_headers_are_read_without_weights(tmp_path: Path, lora: Path) -> None:
    write(lora / "a.safetensors")
    torch.save({"a": torch.zeros(2)}, lora / "b.pt")
    found = files(tmp_path)
    assert found.header(found.find(FOLDERS, "a")) == {"tensors": {"a.weight": (4,)}, "metadata": {"ss_tag": "x"}}
    with pytest.raises(ModelFileError, match="pickle"):
        found.header(found.find(FOLDERS, "b"))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_file_is_read_once_until_it_is_another_one(tmp_path: Path, lora: Path, name: str) -> None:
    path = lora / name

    def put(value: float) -> None:
        made = {"a.weight": torch.full((4,), value)}
        save(path, made) if name.endswith("s") else torch.save(made, path)

    lora.mkdir(parents=True)
    put(1.0)
    found = files(tmp_path)
    first = found.tensors(str(path))
    assert found.tensors(str(path)) is first and first["a.weight"].tolist() == [1.0] * 4
    path.unlink()
    put(2.0)
    assert found.tensors(str(path))["a.weight"].tolist() == [2.0] * 4


def test_what_somebody_wrote_to_is_read_again(tmp_path: Path, lora: Path) -> None:
    write(lora / "a.safetensors")
    found = files(tmp_path)
    found.tensors(str(lora / "a.safetensors"))["a.weight"].zero_()
    assert found.tensors(str(lora / "a.safetensors"))["a.weight"].tolist() == [1.0] * 4


def test_what_was_longest_unused_goes_first(tmp_path: Path, lora: Path) -> None:
    for name in "abc":
        write(lora / f"{name}.safetensors", size=25)  # 100 bytes
    found = files(tmp_path, room=250)
    read: Callable[[str], Any] = lambda name: found.tensors(str(lora / f"{name}.safetensors"))  # noqa: E731
    a, b = read("a"), read("b")
    assert read("a") is a
    read("c")
    assert read("a") is a and read("b") is not b
    small = files(tmp_path, room=50)
    assert small.tensors(str(lora / "a.safetensors")) is not small.tensors(str(lora / "a.safetensors"))


def test_pickles_go_through_the_safe_door(tmp_path: Path, lora: Path) -> None:
    lora.mkdir(parents=True)
    torch.save({"a": Path("x")}, lora / "evil.pt")
    with pytest.raises(ModelFileError, match="could run code"):
        files(tmp_path).tensors(str(lora / "evil.pt"))


def test_pictures_are_embeddings_but_previews_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "embeddings"
    write(folder / "known.safetensors")
    for name in ("known.png", "known.preview.png", "card.png"):
        (folder / name).write_bytes(b"\x89PNG")
    assert set(files(tmp_path).names(("embeddings",))) == {"known", "card"}
    shutil.move(folder, folder.with_name("Lora"))
    assert set(files(tmp_path).names(("Lora",))) == {"known"}


def test_reading_is_time_that_nobody_counts(tmp_path: Path, lora: Path) -> None:
    digest = write(lora / "a.safetensors")
    entered = []

    @contextmanager
    def unhurried() -> Any:
        entered.append(True)
        yield

    found = files(tmp_path, unhurried=unhurried)
    found.tensors(str(lora / "a.safetensors"))
    found.sha256(str(lora / "a.safetensors"))
    found.found(FOLDERS, "a", digest)
    assert len(entered) == 3
