"""Which VAE and refiner a request means: by hash, name, or beside the model; and the settings that suit a model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.service.pretend import place_model
from webui import infotext
from webui.drawing import Txt2Img
from webui.errors import ModelFileError, UnknownName, UserError
from webui.params import NONE
from webui.request import Request, parameters_of
from webui.service.overrides import FileOptions, Overrides
from webui.service.requests import Resolver, is_complete
from webui.ui.reading import read


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return place_model(tmp_path)


@pytest.fixture
def resolver(tmp_path: Path, model: Path) -> Resolver:
    overrides = Overrides(tmp_path / "data" / "models.json")
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", overrides=overrides)


def put(resolver: Resolver, name: str, content: bytes = b"vae") -> Path:
    path = resolver.models_folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def another(resolver: Resolver, model: Path, name: str) -> Path:
    """A second model: the same with another last byte."""
    path = resolver.models_folder / "checkpoints" / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(model, path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(name[:1].encode())
    return path


def test_automatic_is_the_file_beside_the_model_and_else_the_models_own(resolver: Resolver, model: Path) -> None:
    another(resolver, model, "Dream.safetensors")
    assert resolver.request(Txt2Img(model="Dream")).vae == ""
    near = put(resolver, "checkpoints/Dream.vae.safetensors")
    request = resolver.request(Txt2Img(model="Dream"))
    assert request.vae == near.name and len(request.vae_hash) == 64 and resolver.vae_of(request) == near
    assert resolver.request(Txt2Img(model="Dream", vae="none")).vae == resolver.request(Txt2Img()).vae == ""
    assert [each["vae"] for each in resolver.models()] == ["", near.name]


def test_a_vae_goes_by_its_name_with_or_without_folder_and_ending(resolver: Resolver) -> None:
    put(resolver, "VAE/sub/Fine Colours.safetensors")
    put(resolver, "vae/other.pt", b"other")
    assert resolver.vae_names() == ["Automatic", "None", "sub/Fine Colours.safetensors", "other.pt"]
    for name in ("sub/Fine Colours.safetensors", "fine colours.SAFETENSORS", "Fine Colours", " fine colours "):
        assert resolver.request(Txt2Img(vae=name)).vae == "sub/Fine Colours.safetensors"
    with pytest.raises(UnknownName, match=r"Unknown VAE 'Colour'.*Automatic, None, sub/Fine Colours"):
        resolver.request(Txt2Img(vae="Colour"))


def test_what_was_never_read_is_read_before_the_job_runs_and_then_told_by_its_hash(resolver: Resolver) -> None:
    path = put(resolver, "VAE/a.safetensors")
    resolver.request(Txt2Img())
    outline = resolver.outline(Txt2Img(vae="a"))
    assert outline.vae_hash == "" and not is_complete(outline)
    request = resolver.complete(outline)
    assert is_complete(request)
    renamed = path.rename(path.with_name("b.safetensors"))
    assert resolver.vae_of(request) == renamed
    put(resolver, "VAE/a.safetensors", b"another")
    assert resolver.vae_of(request) == renamed, "another file has its name now"
    renamed.unlink()
    with pytest.raises(ModelFileError, match=r"The VAE a.safetensors with the hash \w{10} is not here any more"):
        resolver.vae_of(request)


def test_a_vae_of_a_picture_is_found_by_its_hash_whatever_it_is_called(resolver: Resolver) -> None:
    put(resolver, "VAE/a.safetensors", b"first")
    put(resolver, "VAE/b.safetensors", b"second")
    request = resolver.request(Txt2Img(vae="b"))
    params = replace(parameters_of(request), vae="something else")
    assert params.vae_hash == request.vae_hash[:10]
    assert resolver.request(params).vae == "b.safetensors"


def test_the_text_of_a_picture_names_its_files_and_reads_back(resolver: Resolver, model: Path) -> None:
    another(resolver, model, "Second.safetensors")
    put(resolver, "VAE/a.safetensors")
    request = resolver.request(Txt2Img(prompt="x", seed=1, vae="a", refiner="second", refiner_switch_at=0.5))
    text = infotext.write(parameters_of(request))
    assert f"VAE hash: {request.vae_hash[:10]}, VAE: a.safetensors" in text
    assert f"Refiner: Second [{request.refiner_hash[:10]}], Refiner switch at: 0.5" in text
    found = read(text, resolver)
    values, notes = found.values, found.notes
    assert (values["vae"], values["refiner"], values["refiner_switch_at"], notes) == ("a.safetensors", "Second", 0.5, [])
    assert resolver.request(Txt2Img.read(infotext.raw_parameters(infotext.parse(text))[0])) == request


def test_a_picture_without_a_vae_is_made_again_without(resolver: Resolver, model: Path) -> None:
    another(resolver, model, "Dream.safetensors")
    request = resolver.request(Txt2Img(model="Dream", seed=1))
    text = infotext.write(parameters_of(request))
    assert "VAE" not in text and "Refiner" not in text
    assert read(text, resolver).values["vae"] == "Automatic"
    put(resolver, "checkpoints/Dream.vae.pt")
    assert read(text, resolver).values["vae"] == NONE
    foreign = "x\nSteps: 1, Sampler: Euler, Seed: 1, Model: Dream, Version: v1.10.1"
    assert read(foreign, resolver).values["vae"] == "Automatic", "other programs say nothing of what they always use"
    assert resolver.request(Txt2Img.read(infotext.raw_parameters(infotext.parse(text))[0])) == request


def test_a_vae_or_refiner_that_is_not_here_leaves_the_chosen_one_and_is_said(resolver: Resolver) -> None:
    put(resolver, "VAE/a.safetensors")
    resolver.request(Txt2Img(vae="a"))
    text = "x\nSteps: 1, Seed: 1, VAE: {}, VAE hash: {}, Refiner: gone [0123456789]"
    found = read(text.format("b.pt", "0123456789"), resolver)
    values, notes = found.values, found.notes
    assert "vae" not in values and "refiner" not in values
    assert notes == ["The VAE b.pt is not here; the one that was chosen stays.",
                     "The refiner gone [0123456789] is not here; the one that was chosen stays."]  # fmt: skip
    found = read(text.format("a.safetensors", "0123456789"), resolver)
    values, (note, _) = found.values, found.notes
    assert "vae" not in values and "is another one: its hash is" in note


def test_a_refiner_of_other_latents_is_refused_before_anything_is_queued(resolver: Resolver, model: Path) -> None:
    path = another(resolver, model, "Other.safetensors")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        rest = file.read()
    spec = json.loads(header["__metadata__"]["webui.spec"])
    spec["vae"]["scale"] = 0.5
    header["__metadata__"]["webui.spec"] = json.dumps(spec)
    start = json.dumps(header).encode()
    path.write_bytes(len(start).to_bytes(8, "little") + start + rest)
    with pytest.raises(UserError, match="The refiner Other cannot go on with what builtin begins"):
        resolver.outline(Txt2Img(refiner="Other"))
    assert resolver.outline(Txt2Img(model="Other", refiner="Other")).refiner_switch_at == 0.8


def test_what_nobody_set_is_what_suits_the_model(resolver: Resolver, model: Path) -> None:
    usual = resolver.request(Txt2Img())
    assert (usual.steps, usual.sampler, usual.schedule, usual.scale) == (20, "DPM++ 2M", "Karras", 3.5)
    another(resolver, model, "dream_lightning_2step.safetensors")
    listed = resolver.models()[1]
    assert (listed["because"], listed["steps"], listed["sampler"]) == ("Lightning", 2, "Euler")
    quick = resolver.request(Txt2Img(model="dream_lightning_2step"))
    assert (quick.steps, quick.sampler, quick.schedule) == (2, "Euler", "Uniform")
    assert quick.scale == 3.5, "what the file itself says counts more than its name"
    chosen = resolver.request(Txt2Img(model="dream_lightning_2step", steps=30, sampler="DDIM", schedule="Karras"))
    assert (chosen.steps, chosen.sampler, chosen.schedule) == (30, "DDIM", "Karras")
    assert resolver.request(Txt2Img(model="dream_lightning_2step", schedule="Karras")).schedule == "Karras"


def test_a_sampler_that_a_model_wishes_for_and_nobody_knows_is_the_usual_one(resolver: Resolver) -> None:
    assert resolver.suited("Unheard of", "Karras")[0].name == "DPM++ 2M"
    assert resolver.suited("Euler", "Unheard of")[1] == "Uniform"
    assert resolver.suited("Euler", "Karras")[1] == "Karras"


def test_an_owners_vae_for_a_model_is_taken_where_nobody_chooses(resolver: Resolver) -> None:
    put(resolver, "VAE/a.safetensors")
    digest = resolver.request(Txt2Img()).model_hash
    resolver.overrides.put(digest, FileOptions(vae="a.safetensors"))
    request = resolver.request(Txt2Img())
    assert request.vae == "a.safetensors" and request.override == {}
    assert resolver.request(Txt2Img(vae=NONE)).vae == ""
    assert resolver.models()[0]["vae"] == "a.safetensors"


def test_requests_of_older_versions_are_whole(resolver: Resolver) -> None:
    plain = resolver.request(Txt2Img()).to_dict()
    for name in ("vae", "vae_hash", "refiner", "refiner_hash", "refiner_switch_at", "override", "refiner_override"):
        del plain[name]
    assert is_complete(Request.from_dict(plain))
