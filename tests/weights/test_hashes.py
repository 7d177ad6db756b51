"""Hashes as the community writes them, and the cache that remembers them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from webui.errors import ModelFileError
from webui.weights import hashes
from webui.weights.files import save


def test_hash_is_found_once_and_again_after_a_change(tmp_path: Path) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache" / "hashes.json"
    path.write_bytes(b"one")
    first = hashes.sha256(path, cache)
    assert first == hashlib.sha256(b"one").hexdigest() and hashes.short(first) == first[:10]
    stamp = path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=(stamp, stamp))
    assert hashes.sha256(path, cache) == first  # same size and time: the cache answers
    os.utime(path, ns=(stamp, stamp + 1_000_000_000))
    assert hashes.sha256(path, cache) == hashlib.sha256(b"two").hexdigest()
    assert hashes.sha256(path) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_cache_is_replaced(tmp_path: Path, damage: str) -> None:
    path, cache = tmp_path / "a", tmp_path / "hashes.json"
    path.write_bytes(b"one")
    cache.write_text(damage)
    assert hashes.sha256(path, cache) == hashlib.sha256(b"one").hexdigest()
    assert str(path.resolve()) in cache.read_text()


def test_two_files_share_a_cache_and_an_unwritable_cache_is_no_error(tmp_path: Path) -> None:
    cache = tmp_path / "hashes.json"
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        hashes.sha256(tmp_path / name, cache)
    assert cache.read_text().count("sha256") == 2
    assert hashes.sha256(tmp_path / "a", tmp_path / "b" / "hashes.json") == hashlib.sha256(b"a").hexdigest()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_links_in_a_circle_and_what_is_no_file_are_named(tmp_path: Path) -> None:
    circle, device, cache = tmp_path / "circle", tmp_path / "device", tmp_path / "hashes.json"
    circle.symlink_to(circle)
    device.symlink_to(os.devnull)
    for path, why in ((circle, "symbolic links"), (device, "no ordinary file")):
        for find in (hashes.sha256, hashes.known):
            with pytest.raises(ModelFileError, match=f"{path.name} cannot be read: .*{why}"):
                find(path, cache)


def test_old_eight_digits_are_of_64_kib_at_one_mebibyte(tmp_path: Path) -> None:
    content = bytes(range(256)) * 8192
    (tmp_path / "a").write_bytes(content)
    assert hashes.legacy(tmp_path / "a") == hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8]


def test_hash_of_weights_survives_changed_metadata(tmp_path: Path) -> None:
    for name, note in (("a", "x"), ("b", "something else")):
        save(tmp_path / name, {"w": torch.arange(4.0)}, {"note": note})
    assert hashes.weights_sha256(tmp_path / "a") == hashes.weights_sha256(tmp_path / "b")
    assert hashes.sha256(tmp_path / "a") != hashes.sha256(tmp_path / "b")


@pytest.mark.parametrize("length", [2**62, 2**64 - 1, 2**40, 17])
def test_a_header_longer_than_its_file_is_a_sentence_without_folders(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}" * 8)
    with pytest.raises(ModelFileError, match=r"^a\.safetensors cannot be read: its header is broken\.$"):
        hashes.weights_sha256(tmp_path / "a.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="nothing cannot be read"):
        hashes.sha256(tmp_path / "nothing")


def test_a_folder_has_the_hash_of_its_noise_predictor(tmp_path: Path) -> None:
    folder, cache = tmp_path / "m", tmp_path / "hashes.json"
    for name in ("unet", "vae"):
        (folder / name).mkdir(parents=True)
        (folder / name / "diffusion_pytorch_model.safetensors").write_bytes(name.encode() * 9)
    (folder / "model_index.json").write_text("{}")
    told: list[tuple[int, int]] = []
    digest = hashes.sha256(folder, cache, lambda done, size: told.append((done, size)))
    assert digest == hashlib.sha256(b"unet" * 9).hexdigest() and told[-1] == (36, 36)
    assert hashes.known(folder, cache) == digest
    assert hashes.legacy(folder) == hashlib.sha256(b"").hexdigest()[:8]
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"another")  # the same model, but to be looked at again
    assert hashes.known(folder, cache) == ""
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    index = {"weight_map": {"a": "b.safetensors", "b": "a.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    for name in "ab":
        (folder / "unet" / f"{name}.safetensors").write_bytes(name.encode())
    assert hashes.sha256(folder, cache) == hashlib.sha256(b"ab").hexdigest()
