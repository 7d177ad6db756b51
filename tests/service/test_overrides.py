"""What an owner sets for a file holds for that file whatever it is called, and makes requests of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.service.pretend import place_model
from webui.drawing import Txt2Img
from webui.errors import StorageError, UnknownName, UserError
from webui.service.overrides import NO_OPTIONS, FileOptions, Overrides, override_of
from webui.service.picture_texts import text_of
from webui.service.requests import Resolver
from webui.ui.reading import read
from webui.weights.families import Override


@pytest.fixture
def overrides(tmp_path: Path) -> Overrides:
    return Overrides(tmp_path / "data" / "models.json")


@pytest.fixture
def resolver(tmp_path: Path, overrides: Overrides) -> Resolver:
    place_model(tmp_path)
    return Resolver(models_folder=tmp_path / "models", cache=tmp_path / "cache", overrides=overrides)


def test_what_is_set_survives_and_can_be_taken_back(tmp_path: Path, overrides: Overrides) -> None:
    options = FileOptions(prediction="v", zero_terminal_snr=True, steps=6)
    overrides.put("a" * 64, options)
    overrides.put("b" * 64, FileOptions(scale=2))
    again = Overrides(tmp_path / "data" / "models.json")
    assert again.of("a" * 64) == options and again.of("b" * 64).scale == 2
    assert again.of("c" * 64) == again.of("") == NO_OPTIONS
    again.put("a" * 64, NO_OPTIONS)
    assert list(json.loads((tmp_path / "data" / "models.json").read_text())) == ["b" * 64]


def test_a_file_of_nonsense_sets_nothing_and_is_no_trouble(tmp_path: Path, overrides: Overrides) -> None:
    path = tmp_path / "data" / "models.json"
    path.parent.mkdir()
    for text in ("{", "[]", '{"%s": []}' % ("a" * 64), '{"%s": {"steps": 999}}' % ("a" * 64), '{"%s": {"x": 1}}' % ("a" * 64)):
        path.write_text(text)
        assert overrides.of("a" * 64) == NO_OPTIONS


@pytest.mark.parametrize(("given", "sentence"), [
    ({"family": "sd99"}, "Unknown family 'sd99'"), ({"prediction": "x0"}, "Prediction was 'x0'"), ({"steps": 0}, "Steps was 0"),
    ({"native_size": 100}, "Native size was 100"), ({"zero_terminal_snr": 3}, "Zero terminal SNR was 3"),
])  # fmt: skip
def test_what_cannot_be_is_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises((UserError, UnknownName), match=sentence):
        FileOptions.read(given)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"models\.json could not be written"):
        Overrides(tmp_path / "file" / "models.json").put("a" * 64, FileOptions(steps=3))
    with pytest.raises(StorageError):
        Overrides().put("a" * 64, FileOptions(steps=3))


def test_a_request_takes_what_was_set_and_keeps_it(resolver: Resolver, overrides: Overrides) -> None:
    before = resolver.request(Txt2Img(seed=1))
    overrides.put(before.model_hash, FileOptions(prediction="eps", native_size=256, steps=7, scale=2.5))
    request = resolver.request(Txt2Img(seed=1))
    assert (request.steps, request.scale, request.width, request.height) == (7, 2.5, 256, 256)
    assert request.override == {"prediction": "eps", "native_size": 256} and before.override == {}
    assert override_of(request.override) == Override(prediction="eps", native_size=256)
    assert resolver.request(Txt2Img(seed=1, steps=9, scale=3)).steps == 9, "what a person sets counts more"
    overrides.put(before.model_hash, NO_OPTIONS)
    assert resolver.request(Txt2Img(seed=1)) == before


def test_a_models_description_says_what_was_set_and_what_its_file_says(resolver: Resolver, overrides: Overrides) -> None:
    digest = resolver.request(Txt2Img()).model_hash
    (own,) = resolver.models()
    overrides.put(digest, FileOptions(zero_terminal_snr=True, scale=9))
    (said,) = resolver.models()
    assert said["set"] == {"zero_terminal_snr": True, "scale": 9.0} and own["set"] == {}
    assert (said["zero_terminal_snr"], said["scale"]) == (True, 9.0)
    assert (said["file"]["zero_terminal_snr"], said["file"]["scale"]) == (own["zero_terminal_snr"], own["scale"])


def test_what_fits_no_model_of_that_shape_is_a_problem_with_a_reason(resolver: Resolver, overrides: Overrides) -> None:
    digest = resolver.request(Txt2Img()).model_hash
    overrides.put(digest, FileOptions(family="sdxl-base"))
    (said,) = resolver.models()
    assert said["problem"] and said["file"]["problem"] == ""
    with pytest.raises(UserError):
        resolver.request(Txt2Img())


def test_a_pictures_text_says_what_was_set_and_reading_it_says_where_that_is_not_so_now(
    resolver: Resolver, overrides: Overrides
) -> None:
    plain = resolver.request(Txt2Img(seed=1))
    overrides.put(plain.model_hash, FileOptions(prediction="eps", native_size=256, steps=7))
    request = resolver.request(Txt2Img(seed=1))
    text = text_of(request, batched=False, interrupted=False)
    assert "Model set to: Prediction eps; Native size 256" in text
    assert read(text, resolver).notes == []
    before = text_of(plain, batched=False, interrupted=False)
    assert "set to" not in before
    (note,) = read(before, resolver).notes
    assert note == "builtin was as its file says for this picture, and is set to 'Prediction eps; Native size 256' here."
    overrides.put(plain.model_hash, NO_OPTIONS)
    (note,) = read(text, resolver).notes
    assert note == "builtin was set to 'Prediction eps; Native size 256' for this picture, and is as its file says here."


def test_what_was_set_holds_too_where_the_file_has_to_be_read_again_to_be_known(
    resolver: Resolver, overrides: Overrides, tmp_path: Path
) -> None:
    digest = resolver.request(Txt2Img()).model_hash
    overrides.put(digest, FileOptions(prediction="eps"))
    fresh = Resolver(models_folder=tmp_path / "models", cache=tmp_path / "another cache", overrides=overrides)
    outline = fresh.outline(Txt2Img(refiner="builtin"))
    assert outline.model_hash == "" and outline.override == {}
    request = fresh.complete(outline)
    assert request.override == request.refiner_override == {"prediction": "eps"}
