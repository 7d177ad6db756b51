"""What files say, over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.concurrency import run_in_threadpool

from tests.api.house import House, house
from tests.metadata.files import GRAPH, TEXT, comfy_webp, png
from webui.api.pnginfo import InfoRoutes


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


def test_files_that_wait_to_be_read_hold_no_thread_that_others_need(home: House) -> None:
    """All threads there are were held by who sent forty files at once, and nobody else's request was answered."""
    routes, go_on = InfoRoutes(home.studio.pictures, home.studio.resolver), threading.Event()

    def slow() -> dict[str, Any]:
        go_on.wait(20)
        return {"threads": threading.current_thread().name}

    async def many() -> None:
        waiting = [asyncio.create_task(routes._told(slow)) for _ in range(60)]
        try:
            await asyncio.sleep(0)
            assert await asyncio.wait_for(run_in_threadpool(lambda: 7), 10) == 7
        finally:
            go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}

    asyncio.run(many())
