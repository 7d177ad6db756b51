"""What is known of the model files over HTTP: everybody looks, only an owner says what a file is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.house import House, house

PATH = "/x/model-files"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as made:
        yield made


def set_options(home: House, options: object, *, model: object = "builtin") -> dict[str, object]:
    reply = home.post(PATH, {"model": model, "options": options})
    assert reply.status == 200, reply.text
    return next(each for each in reply.json()["models"] if each["name"] == model)


def test_everybody_sees_the_files_and_no_path(home: House, tmp_path: Path) -> None:
    (tmp_path / "models" / "VAE").mkdir()
    (tmp_path / "models" / "VAE" / "a.safetensors").write_bytes(b"nothing")
    reply = home.get(PATH, home.anna)
    told = reply.json()
    assert [each["name"] for each in told["models"]] == ["builtin"] and told["models"][0]["bytes"] > 1e6
    assert [(each["name"], each["bytes"]) for each in told["vaes"]] == [("a.safetensors", 7)] and told["vaes"][0]["problem"]
    assert {"name": "sdxl-base", "title": "Stable Diffusion XL"} in told["families"]
    assert told["may_change"] is False and home.get(PATH).json()["may_change"] is True
    assert str(tmp_path) not in reply.text


def test_what_an_owner_sets_holds_for_the_next_jobs_and_is_seen_by_all(home: House) -> None:
    changed = set_options(home, {"steps": 3, "prediction": "eps", "scale": 2})
    assert changed["set"] == {"steps": 3, "prediction": "eps", "scale": 2.0}
    seen = home.get(PATH, home.anna).json()["models"][0]
    assert (seen["steps"], seen["prediction"], seen["file"]["steps"]) == (3, "eps", 20)
    with home.held():
        reply = home.post("/x/jobs", {"kind": "txt2img", "parameters": {"prompt": "a ball"}}, home.anna)
        row = home.studio.worker._jobs.get(reply.json()["job"])
        assert row is not None and (row.request["steps"], row.request["override"]) == (3, {"prediction": "eps"})
        home.post(f"/x/jobs/{row.id}/cancel", {}, home.anna)
    assert set_options(home, {})["set"] == {}


def test_nobody_else_may(home: House) -> None:
    reply = home.post(PATH, {"model": "builtin", "options": {"steps": 3}}, home.anna)
    assert reply.status == 403 and "only an owner" in reply.json()["error"]
    assert home.get(PATH).json()["models"][0]["set"] == {}


@pytest.mark.parametrize(("told", "sentence"), [
    ({"model": "gone", "options": {}}, "Unknown model 'gone'"),
    ({"model": "../x", "options": {}}, "Unknown model"),
    ({"model": "builtin", "options": {"steps": 0}}, "Steps was 0"),
    ({"model": "builtin", "options": {"family": "sd9"}}, "Unknown family 'sd9'"),
    ({"model": "builtin", "options": {"family": "sdxl-base"}}, "model.safetensors"),
    ({"model": "builtin", "options": {"vae": "gone.pt"}}, "Unknown VAE 'gone.pt'"),
    ({"model": "builtin", "options": {"path": "x"}}, "Unknown parameter 'path'"),
    ({"model": 3, "options": {}}, "model was 3"),
    ({"model": "builtin", "options": []}, "options was []"),
])  # fmt: skip
def test_what_cannot_be_is_a_sentence_and_sets_nothing(home: House, told: object, sentence: str) -> None:
    reply = home.post(PATH, told)
    assert reply.status == 400 and sentence in reply.json()["error"], reply.text
    assert home.get(PATH).json()["models"][0]["set"] == {}
