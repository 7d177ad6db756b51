"""Groups over HTTP: planned before anything is queued, told of while they are made, and everybody has their own only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.house import House, house
from webui.service.styles import Style
from webui.service.users import User

SEEDS = {"x_type": "Seed", "x_values": "1-3"}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), step_seconds=0.002) as made:
        yield made


@pytest.fixture
def home(opened: House) -> Iterator[House]:
    yield opened
    for user in (opened.owner, opened.anna, opened.bob):
        for group in opened.studio.groups.view(user):
            opened.studio.groups.cancel(user, group["group"])
        asyncio.run(opened.until_idle(user))


def told(**more: Any) -> dict[str, Any]:
    params = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
    return {"script": "xyz_plot", "values": SEEDS, "kind": "txt2img", "params": params} | more


def submitted(home: House, user: User, **more: Any) -> str:
    reply = home.post("/x/groups", told(**more), user)
    assert reply.status == 200, reply.text
    return str(reply.json()["group"])


def test_a_group_is_submitted_told_of_and_has_its_grid_in_the_gallery(home: House) -> None:
    async def test() -> list[dict[str, Any]]:
        with home.held():
            group = await asyncio.to_thread(submitted, home, home.anna)
            listening = asyncio.create_task(home.until_idle(home.anna))
            await asyncio.sleep(0)
        return [event for event in await listening if event.get("group") == group and event["kind"] == "group"]

    heard = asyncio.run(test())
    last = heard[-1]
    assert (last["state"], last["done"], last["of"], last["sentence"]) == ("done", 3, 3, ""), "the stream waits for the grid"
    assert [event["done"] for event in heard] == sorted(event["done"] for event in heard)
    shown = home.get(f"/x/groups/{last['group']}", home.anna).json()
    assert shown["grid"] == last["grid"] == home.pictures(home.anna)[0]["id"]
    assert shown["axes"][0] == {"label": "Seed", "values": ["Seed: 1", "Seed: 2", "Seed: 3"]}
    assert [cell["labels"][0] for cell in shown["cells"]] == ["Seed: 1", "Seed: 2", "Seed: 3"]
    assert {cell["picture"] for cell in shown["cells"]} <= {each["id"] for each in home.pictures(home.anna)}
    assert home.get("/x/groups", home.anna).json()["groups"][0]["group"] == last["group"]


def test_styles_go_around_each_cells_prompt(home: House) -> None:
    home.studio.styles.put(home.anna, Style(name="photo", prompt="photo of {prompt}"))
    home.studio.styles.put(home.anna, Style(name="ink", prompt="{prompt}, ink"))
    values = {"x_type": "Prompt S/R", "x_values": "cat,dog", "y_type": "Styles", "y_values": "ink"}
    group = submitted(home, home.anna, values=values, styles=["photo"])
    asyncio.run(home.until_idle(home.anna))
    cells = home.get(f"/x/groups/{group}", home.anna).json()["cells"]
    pictures = {each["id"]: each["prompt"] for each in home.pictures(home.anna)}
    assert [pictures[cell["picture"]] for cell in cells] == ["photo of a cat, ink", "photo of a dog, ink"]
    refused = home.post("/x/groups", told(values=values, styles=["photo"]), home.bob)
    assert refused.status == 400 and "Unknown style 'ink'" in refused.json()["error"]


def test_cancelling_and_going_on(home: House) -> None:
    with home.held():
        group = submitted(home, home.anna)
        assert home.post(f"/x/groups/{group}/cancel", user=home.anna).json() == {"group": group}
        asyncio.run(home.until_idle(home.anna))
    assert home.get(f"/x/groups/{group}", home.anna).json()["state"] == "cancelled"
    assert home.post(f"/x/groups/{group}/resume", user=home.anna).json() == {"group": group, "cells": 3}
    asyncio.run(home.until_idle(home.anna))
    assert home.get(f"/x/groups/{group}", home.anna).json()["state"] == "done"
    again = home.post(f"/x/groups/{group}/resume", user=home.anna)
    assert again.status == 400 and "nothing to go on with" in again.json()["error"]


@pytest.mark.parametrize("method", ["GET", "cancel", "resume"])
def test_a_group_of_somebody_else_is_none(home: House, method: str) -> None:
    group = submitted(home, home.anna)
    for name in (group, "nothing"):
        who = home.bob if name == group else home.anna
        address = f"/x/groups/{name}"
        reply = home.get(address, who) if method == "GET" else home.post(f"{address}/{method}", user=who)
        assert reply.status == 404, reply.text
    assert home.get("/x/groups", home.bob).json() == {"groups": []}
    assert home.get(f"/x/groups/{group}", home.anna).json()["state"] != "cancelled"


def test_others_hear_nothing_of_it(home: House) -> None:
    async def test() -> list[dict[str, Any]]:
        async with home.listen(home.bob) as bob:
            with home.held():
                await asyncio.to_thread(home.submit, home.bob)
                await asyncio.to_thread(submitted, home, home.anna)
            await home.until_idle(home.anna)
            return await bob.rest()

    assert "group" not in {event["kind"] for event in asyncio.run(test())}


@pytest.mark.parametrize(
    ("given", "status", "sentence"),
    [
        ({}, 400, "kind was null"), (told(kind="map"), 400, "no pictures of the kind 'map'"),
        (told(script="x"), 400, "Unknown script 'x'"),
        (told(script=None), 400, "script was null"),
        (told(values=[]), 400, "values was []"), (told(params=3), 400, "params was 3"),
        (told(values={"q": 1}), 400, "Unknown parameter 'q'"), (told(params={"steps": 0}), 400, "Steps was 0"),
        (told(values={"x_type": "Steps", "x_values": "5, 200"}), 400, "X values, Steps: Steps was 200"),
        (told(values={"x_type": 3}), 400, "X type was 3"), (told(styles=["none"]), 400, "Unknown style 'none'"),
        (told(inputs={"picture": "0" * 64}), 404, "upload"), (told(inputs={"x": "0"}), 400, "Unknown input 'x'"),
        (told(values={"x_type": "Seed", "x_values": "1-999", "y_type": "Eta", "y_values": "0-1"}), 400, "1,998 cells (999 x 2)"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_group_is_a_sentence_and_costs_nothing(
    home: House, given: dict[str, Any], status: int, sentence: str
) -> None:
    before = home.get("/x/groups", home.bob).json()
    reply = home.post("/x/groups", given, home.bob)
    assert reply.status == status and sentence in reply.json()["error"], reply.text
    assert home.get("/x/groups", home.bob).json() == before and home.get("/x/jobs", home.bob).json() == {"jobs": []}


def test_how_much_it_would_be_is_told_before_anything_is_queued(home: House) -> None:
    def count(**more: Any) -> Any:
        reply = home.post("/x/groups/count", told(**more), home.bob)
        assert reply.status == 200, reply.text
        return reply.json()

    assert count() == {"cells": 3, "pictures": 3, "sides": [3, 1, 1], "problem": ""}
    assert count(params={"count": 4})["pictures"] == 12
    lines = {"lines": "a\n--prompt b --n_iter 5"}
    assert count(script="prompts_from_file", values=lines) == {"cells": 2, "pictures": 6, "sides": [], "problem": ""}
    wrong = count(values={"x_type": "Steps", "x_values": "many"})
    assert wrong["pictures"] == 0 and wrong["problem"].startswith("X values, Steps: Steps was 'many'")
    assert home.get("/x/groups", home.bob).json() == {"groups": []}


def test_the_page_learns_what_scripts_there_are(home: House) -> None:
    reply = home.get("/x/scripts", home.anna).json()
    scripts = {each["name"]: each for each in reply["scripts"]}
    assert scripts.keys() == {"xyz_plot", "prompt_matrix", "prompts_from_file"} and reply["most_cells"] == 1000
    plot = scripts["xyz_plot"]
    axes = {each["label"]: each for each in plot["axes"]}
    assert {"Seed", "Steps", "CFG scale", "Sampler", "Prompt S/R", "Prompt order", "Checkpoint", "Size", "Styles"} <= set(axes)
    assert "builtin" in axes["Checkpoint"]["choices"] and "Euler a" in axes["Sampler"]["choices"]
    assert axes["Steps"]["kind"] == "integer"
    fields = {each["name"]: each for each in plot["fields"]}
    assert fields["x_type"]["choices"] == list(axes) and fields["legend"]["kind"] == "bool" and fields["margin"]["max"] == 500
    inpaint = home.get("/x/scripts?kind=inpaint", home.anna).json()["scripts"]
    assert any(axis["label"] == "Mask blur" for script in inpaint for axis in script["axes"])
    assert home.get("/x/scripts?kind=x", home.anna).status == 400


def test_unknown_acts_are_not_there(home: House) -> None:
    group = submitted(home, home.anna)
    assert home.post(f"/x/groups/{group}/delete", user=home.anna).status == 404
