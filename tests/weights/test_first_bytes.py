"""What people save in place of a model is told what it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webui.errors import ModelFileError
from webui.weights.files import save
from webui.weights.first_bytes import header_at


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 2132625894\n", "a pointer of Git LFS"),
        (b"\n <!DOCTYPE html>\n<html><head>", "a web page"),
        (b"<HTML>" + b"x" * 10_000, "a web page"),
        (b"Invalid username or password.", "a text that begins with 'Invalid username or password.'."),
        (b'{"error": "Repository not found"}', "a text that begins with '{\"error\": \"Repository not found\"}'."),
        ("Größe ".encode() * 1000, "a text that begins with 'Größe Größe"),
        (b"GGUF" + bytes(100), "a GGUF file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a picture"),
        (b"Rar!\x1a\x07" + bytes(100), "an archive: unpack it"),
    ],
)
def test_what_is_no_weight_file_is_told_what_it_looks_like(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as refused:
        header_at(path)
    assert str(refused.value).startswith("a.safetensors is ") and f" It looks like {said}" in str(refused.value)


def test_archives_are_told_from_those_of_torch(tmp_path: Path) -> None:
    other, own, cut = tmp_path / "other.ckpt", tmp_path / "own.ckpt", tmp_path / "cut.ckpt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("model.safetensors", b"x" * 100)
    torch.save({"a": torch.zeros(100)}, own)
    cut.write_bytes(own.read_bytes()[:-50])
    assert "a" in header_at(own).tensors
    with pytest.raises(ModelFileError, match="an archive of other files: unpack it"):
        header_at(other)
    with pytest.raises(ModelFileError) as refused:
        header_at(cut)
    assert "looks like" not in str(refused.value)


def test_weight_files_and_what_is_not_there_are_as_ever(tmp_path: Path) -> None:
    save(tmp_path / "a", {"b": torch.zeros(1)})
    assert list(header_at(tmp_path / "a").tensors) == ["b"]
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelFileError) as refused:
            header_at(path)
        assert "looks like" not in str(refused.value)


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=600))
def test_any_bytes_are_a_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    try:
        header_at(path)
    except ModelFileError as error:
        assert str(error).endswith(".") and str(error).isprintable()
