"""What files say, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.house import House, house
from tests.metadata.files import GRAPH, TEXT, comfy_webp, png


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


def test_a_file_is_told(home: House) -> None:
    told = home.send("POST", "/x/info", png({"parameters": TEXT}), home.anna).json()
    assert (told["format"], told["width"], told["height"], told["source"], told["task"]) == ("PNG", 40, 24, "A1111", "txt2img")
    assert told["text"] == TEXT and ["Seed", "42"] in told["values"] and told["chunks"] == {"parameters": TEXT}
    assert told["prompt"].startswith("masterpiece") and told["negative"] == "lowres, bad: worse"
    assert told["unmapped"] == {"Lora hashes": "x: 0123456789ab, y: ab"}
    foreign = home.send("POST", "/x/info", comfy_webp(), home.anna).json()
    assert foreign["source"] == "ComfyUI" and "KSampler" in foreign["chunks"]["Model"] and len(GRAPH) > 1


def test_a_text_is_told_too_and_nothing_is_told_of_nothing(home: House) -> None:
    assert home.send("POST", "/x/info", TEXT.encode(), home.anna).json()["values"][0] == ["Steps", "28"]
    empty = home.send("POST", "/x/info", b"\x89PNG broken", home.anna)
    assert empty.status == 200 and empty.json()["text"] == "" and empty.json()["chunks"] == {}


def test_a_picture_of_the_gallery_is_told_to_whom_it_belongs(home: House) -> None:
    (name,) = home.make(home.anna, prompt="a kite", seed=3)
    told = home.get(f"/x/info/picture/{name}", home.anna).json()
    assert told["prompt"] == "a kite" and ["Seed", "3"] in told["values"] and told["format"] == "PNG"
    assert home.get(f"/x/info/picture/{name}", home.bob).status == 404
    home.studio.pictures.get(home.anna, name).path.unlink()
    gone = home.get(f"/x/info/picture/{name}", home.anna).json()
    assert gone["values"] == told["values"] and gone["width"] == told["width"]


def test_two_texts_are_compared(home: House) -> None:
    rows = home.post("/x/info/compare", {"a": TEXT, "b": TEXT.replace("Seed: 42", "Seed: 43")}, home.anna).json()["rows"]
    assert [row["key"] for row in rows if row["differs"]] == ["Seed"]
    assert home.post("/x/info/compare", {"a": 1}, home.anna).status == 400


def test_too_much_is_refused(home: House) -> None:
    assert home.send("POST", "/x/info", b"\0" * (64 * 2**20 + 1), home.anna).status == 413
