"""Which model a picture's text means: its hash says so; another file of the same name is not taken for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.service.pretend import place_model
from webui.drawing import Txt2Img
from webui.service.requests import Resolver
from webui.ui.areas import TXT2IMG
from webui.ui.reading import read as read_for

TEXT = "a\nSteps: 7, Sampler: Euler, Seed: 3, Size: 64x128, Model hash: {digits}, Model: {name}"


def taken(text: str, resolver: Resolver) -> tuple[dict[str, object], list[str]]:
    """What is read for the txt2img tab."""
    found = read_for(text, resolver, TXT2IMG)
    assert found.area == "txt2img"
    return found.values, found.notes


@pytest.fixture
def resolver(tmp_path: Path) -> Resolver:
    model = place_model(tmp_path)
    path = tmp_path / "models" / "checkpoints" / "Dream.safetensors"
    path.parent.mkdir()
    shutil.copy(model, path)
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache")


def test_a_model_of_the_same_name_with_another_hash_leaves_the_chosen_one_and_the_rest_is_taken(resolver: Resolver) -> None:
    own = resolver.request(Txt2Img(model="Dream")).model_hash[:10]
    values, notes = taken(TEXT.format(digits="0123456789", name="Dream"), resolver)
    assert notes == [f"The model Dream here is another one: its hash is {own}, not 0123456789; the one that was chosen stays."]
    assert "model" not in values and (values["steps"], values["seed"], values["height"]) == (7, "3", 128)
    assert taken(TEXT.format(digits=own.upper(), name="Dream"), resolver)[0]["model"] == "Dream"


def test_a_model_goes_by_its_hash_whatever_it_is_called_here(resolver: Resolver) -> None:
    digits = resolver.request(Txt2Img(model="Dream")).model_hash[:10]
    values, notes = taken(TEXT.format(digits=digits, name="something else"), resolver)
    assert values["model"] == "Dream" and notes == []


def test_a_file_that_was_never_read_whole_is_taken_by_its_name_and_that_is_said(resolver: Resolver) -> None:
    values, (note,) = taken(TEXT.format(digits="0123456789", name="Dream"), resolver)
    assert values["model"] == "Dream" and "taken by its name" in note
    assert resolver.models()[1]["hash"] == "", "nothing was read for it"
    assert taken("a\nSteps: 7, Sampler: Euler, Seed: 3, Model: Dream", resolver)[1] == []
