"""What a person set becomes a request by names and headers alone; the models that there are, wherever they lie."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.pretend import place_model
from webui.drawing import Txt2Img
from webui.errors import ModelFileError, UnknownName
from webui.service import catalogue
from webui.service.requests import Resolver

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return place_model(tmp_path)


@pytest.fixture
def resolver(tmp_path: Path, model: Path) -> Resolver:
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")


def put(model: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(model, path))


def test_a_model_is_described_by_its_header(resolver: Resolver) -> None:
    (builtin,) = resolver.models()
    assert (builtin["name"], builtin["title"], builtin["problem"], builtin["hash"]) == ("builtin", "builtin", "", "")
    assert builtin["native_size"] == 128 and builtin["scale"] > 1 and builtin["family"]
    request = resolver.request(Txt2Img())
    assert (request.width, request.scale) == (builtin["native_size"], builtin["scale"])
    assert resolver.models()[0]["hash"] == request.model_hash != ""


def test_a_file_that_cannot_be_used_is_listed_with_the_reason(resolver: Resolver, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "checkpoints"
    folder.mkdir()
    (folder / "half.safetensors").write_bytes(b"\x00" * 100)
    (folder / "empty.safetensors").write_bytes(b"")
    listed = {each["name"]: each for each in resolver.models()}
    assert list(listed) == ["builtin", "empty", "half"]
    assert "empty.safetensors is empty" in listed["empty"]["problem"] and "half.safetensors" in listed["half"]["problem"]
    assert listed["builtin"]["problem"] == ""


def test_headers_are_read_once_for_as_long_as_a_file_stays_as_it_is(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "models" / "checkpoints" / "broken.safetensors"
    broken.parent.mkdir()
    broken.write_bytes(b"broken")
    read: list[str] = []
    real = catalogue.identified
    monkeypatch.setattr(catalogue, "identified", lambda path, said: (read.append(path.name), real(path, said))[1])
    for _ in range(3):
        first = resolver.models()
    assert sorted(read) == ["broken.safetensors", "model.safetensors"]
    later = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")
    assert later.models() == first
    assert read[2:] == ["broken.safetensors"], "what was broken may be understood by a newer program"
    place_model(tmp_path).touch()
    broken.unlink()
    assert [each["name"] for each in later.models()] == ["builtin"]
    assert read[3:] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("folder", "named"),
    [
        ("webui/models/Stable-diffusion", "webui"),  # the program's own folder
        ("webui/models/Stable-diffusion", "webui/models"),
        ("webui/models/Stable-diffusion", "."),  # what its archive is unpacked to
        ("ComfyUI/models/checkpoints", "ComfyUI"),
        ("ComfyUI/models/checkpoints", "."),
        ("my models", "my models"),
    ],
)
def test_models_of_other_programs_are_read_where_they_are(tmp_path: Path, model: Path, folder: str, named: str) -> None:
    other = tmp_path / "elsewhere"
    put(model, other / folder / "sub" / "Dream.safetensors")
    (other / named / "models" / "VAE").mkdir(parents=True, exist_ok=True)
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", others=[other / named])
    assert [each["name"] for each in resolver.models()] == ["builtin", "sub/Dream"]
    request = resolver.request(Txt2Img(model="dream"))
    assert resolver.file_of(request) == other / folder / "sub" / "Dream.safetensors"


def test_equal_names_are_told_apart_and_a_file_that_is_reached_twice_is_one(tmp_path: Path, model: Path) -> None:
    own = put(model, tmp_path / "models" / "checkpoints" / "Dream.safetensors")
    for folder in ("models/Stable-diffusion", "first/models/checkpoints", "second/models/checkpoints", "more/second"):
        put(model, tmp_path / folder / "Dream.safetensors")
    (tmp_path / "first" / "models" / "checkpoints" / "again.safetensors").symlink_to(own)
    (tmp_path / "first" / "models" / "checkpoints" / "back").symlink_to(tmp_path / "first" / "models")
    others = [tmp_path / name for name in ("first", "second", "first", "more/second", "gone")]
    resolver = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", others=others)
    names = [each["name"] for each in resolver.models()]
    assert names == ["builtin", "Dream", "Dream.safetensors", "first/Dream", "second/Dream", "Dream.safetensors (2)"]
    for name in names:
        assert resolver.request(Txt2Img(model=name)).model == name


def test_the_path_of_a_file_names_no_model_unless_that_is_allowed(resolver: Resolver, tmp_path: Path, model: Path) -> None:
    path = put(model, tmp_path / "secret.safetensors")
    with pytest.raises(UnknownName, match="Unknown model"):
        resolver.request(Txt2Img(model=str(path)))
    allowed = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", paths=True)
    assert allowed.file_of(allowed.request(Txt2Img(model=str(path)))) == path


def test_a_request_finds_its_model_again_by_what_is_in_it(resolver: Resolver, tmp_path: Path, model: Path) -> None:
    path = put(model, tmp_path / "models" / "checkpoints" / "Dream.safetensors")
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    request = resolver.request(Txt2Img(model="Dream"))
    renamed = path.rename(path.with_name("Renamed.safetensors"))
    later = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")
    assert later.file_of(request) == renamed
    put(model, path)
    assert later.file_of(request) == renamed, "another file has its name now"
    renamed.unlink()
    with pytest.raises(ModelFileError, match=f"Dream with the hash {request.model_hash[:10]} is not here any more"):
        later.file_of(request)


def test_names_of_samplers_and_schedules(resolver: Resolver) -> None:
    assert resolver.samplers()[0] == resolver.schedules()[0] == "Automatic" and "Euler a" in resolver.samplers()
    for name in resolver.samplers()[1:]:
        assert resolver.request(Txt2Img(sampler=name)).sampler == name
    params = resolver.tasks()["txt2img"]
    for name in resolver.schedules()[1:]:  # one of them is what is typed
        assert resolver.request(params(schedule=name, schedules_points="10, 5, 1, 0")).schedule == name


LISTS = """
import sys
from pathlib import Path
from webui.service.requests import Resolver
root = Path(sys.argv[1])
names = {each["name"]: each for each in Resolver(models_folder=root / "models", cache=root / "cache").models()}
assert names["old"]["native_size"] is None and names["old"]["problem"] == "", names
assert "torch" not in sys.modules
"""


def test_listing_a_pickle_imports_no_torch(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "models" / "checkpoints" / "old.ckpt"
    path.parent.mkdir()
    path.write_bytes(b"\x80\x02}q\x00.")
    done = subprocess.run([sys.executable, "-c", LISTS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
