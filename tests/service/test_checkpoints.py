"""A name means one checkpoint, or a sentence says which there are."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

from webui.drawing import Txt2Img
from webui.errors import ModelFileError, UnknownName, UserError
from webui.service.checkpoints import choose, find
from webui.weights.hashes import legacy

FILES = [
    "builtin/model.safetensors",
    "checkpoints/Dream.safetensors",
    "checkpoints/Dream.ckpt",
    "checkpoints/sub/dreamlike-2.safetensors",
    "Stable-diffusion/v1-5.ckpt",
    "Stable-diffusion/v1-5.vae.safetensors",
    "Stable-diffusion/.hidden/x.safetensors",
    "VAE/other.safetensors",
    "checkpoints/readme.txt",
]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_checkpoint_is_found_under_a_name_of_its_own(models: Path) -> None:
    names = [each.name for each in find(models)]
    assert names == ["builtin", "Dream", "Dream.safetensors", "sub/dreamlike-2", "v1-5"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (None, "builtin"),
        ("builtin", "builtin"),
        (" builtin ", "builtin"),
        ("DREAM", "Dream"),
        ("dream.safetensors", "Dream.safetensors"),
        ("Dream.ckpt", "Dream"),
        ("dreamlike-2", "sub/dreamlike-2"),
        ("like", "sub/dreamlike-2"),
        (f"v1-5 [{hashlib.sha256(b'Stable-diffusion/v1-5.ckpt').hexdigest()[:10]}]", "v1-5"),
        (hashlib.sha256(b"Stable-diffusion/v1-5.ckpt").hexdigest()[:10].upper(), "v1-5"),
    ],
)
def test_a_name_is_taken_as_people_write_it(models: Path, name: str | None, found: str) -> None:
    assert choose(find(models), name, None, hash_of).name == found


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_file_of_whatever_name_goes_by_one_that_a_picture_can_carry(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    long = folder / "/".join(["deep" * 20] * 6)
    long.mkdir(parents=True)
    files = [os.fsdecode(b"not \xff unicode.ckpt"), "two\nlines.ckpt", "\x1b[2Jgone.ckpt", "plain.ckpt"]
    for path in (*(folder / name for name in files), long / "one.ckpt", long / "two.ckpt"):
        path.write_text(str(path.name.encode(errors="replace")))
    found = find(tmp_path)
    assert len({each.name for each in found}) == len(found) == 6
    for each in found:
        carried = Txt2Img(model=each.name)
        assert each.name.isprintable() and choose(found, carried.model, None, hash_of) == each


def test_a_hash_finds_a_model_that_goes_by_another_name_here(models: Path) -> None:
    digits = hash_of(models / "checkpoints/Dream.safetensors")[:10]
    assert choose(find(models), "its old name", digits, hash_of).name == "Dream.safetensors"
    assert choose(find(models), None, digits, hash_of).name == "Dream.safetensors"
    with pytest.raises(UserError, match="No checkpoint here has the hash '0000000000'"):
        choose(find(models), None, "0000000000", hash_of)


def test_of_both_the_hash_says_which_file(models: Path) -> None:
    there = find(models)
    digits = hash_of(models / "checkpoints/sub/dreamlike-2.safetensors")[:10]
    for name in ("dreamlike-2", "v1-5", "drea", "what it was called elsewhere", f"v1-5 [{digits}]"):
        assert choose(there, name, digits.upper(), hash_of).name == "sub/dreamlike-2"
    assert choose(there, f"v1-5 [{digits}]", None, hash_of).name == "sub/dreamlike-2"
    assert choose(there, "v1-5", " ", hash_of).name == "v1-5"


def test_a_name_that_fits_another_file_than_the_hash_is_refused_in_a_sentence(models: Path) -> None:
    own = hash_of(models / "Stable-diffusion/v1-5.ckpt")[:10]
    for name, given in (("v1-5", "0123456789"), ("v1-5 [0123456789]", None), ("V1-5.ckpt", "0123456789")):
        with pytest.raises(UserError, match=f"model v1-5 here has the hash {own}, not 0123456789, .*leave the model hash out"):
            choose(find(models), name, given, hash_of)
    with pytest.raises(UnknownName, match="Unknown model 'nothing like it'"):
        choose(find(models), "nothing like it", "0123456789", hash_of)


@pytest.mark.parametrize("digits", ["abc", "0123456", "012345678g", "0" * 65, "v1-5"])
def test_a_hash_that_is_none_is_refused(models: Path, digits: str) -> None:
    with pytest.raises(UserError, match=r"The model hash was '.*'; it must be the first 8 to 64 digits"):
        choose(find(models), "v1-5", digits, hash_of)


def test_the_eight_digits_of_old_pictures_are_understood(models: Path) -> None:
    path = models / "Stable-diffusion/v1-5.ckpt"
    path.write_bytes(bytes(range(256)) * 5000)
    old = legacy(path)
    assert not hash_of(path).startswith(old)
    assert choose(find(models), "v1-5", old, hash_of).name == choose(find(models), "another name", old, hash_of).name == "v1-5"


def test_the_named_file_is_hashed_first_and_one_that_cannot_be_read_does_not_matter(models: Path) -> None:
    asked: list[str] = []

    def noted(path: Path) -> str:
        asked.append(path.name)
        if path.name == "model.safetensors":
            raise ModelFileError("It cannot be read.")
        return hash_of(path)

    digits = hash_of(models / "Stable-diffusion/v1-5.ckpt")
    assert choose(find(models), "v1-5", digits, noted).name == "v1-5"
    assert asked == ["v1-5.ckpt"]
    assert choose(find(models), None, digits, noted).name == "v1-5"
    assert "model.safetensors" in asked


def test_what_is_not_there_or_several_is_said(models: Path) -> None:
    with pytest.raises(UnknownName, match=r"Unknown model 'dremlike-2'.*sub/dreamlike-2"):
        choose(find(models), "dremlike-2", None, hash_of)
    with pytest.raises(UserError, match=r"that of several: Dream, Dream\.safetensors, sub/dreamlike-2"):
        choose(find(models), "drea", None, hash_of)
    with pytest.raises(UnknownName):
        choose(find(models), "", None, hash_of)


def test_a_file_is_a_model_only_for_whom_paths_are_allowed(models: Path) -> None:
    path = models / "VAE" / "other.safetensors"
    assert choose(find(models), str(path), None, hash_of, paths=True).path == path
    with pytest.raises(UnknownName):
        choose(find(models), str(path), None, hash_of)
    with pytest.raises(UserError, match="The model other here has the hash"):
        choose(find(models), str(path), "0123456789", hash_of, paths=True)
    for impossible in ("x" * 290 + ".ckpt", "\0.ckpt"):
        with pytest.raises(UnknownName):
            choose(find(models), impossible, None, hash_of, paths=True)


def test_a_missing_builtin_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"built-in model.*is missing"):
        choose(find(tmp_path), None, None, hash_of)
