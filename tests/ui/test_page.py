"""The page as Gradio gets it keeps the rules that were learnt the hard way, whoever adds what to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.testclient import TestClient

from tests.service.pretend import PretendEngine, place_model
from webui.api.application import build
from webui.service.studio import Studio, open_studio
from webui.ui import page
from webui.ui.areas import AREAS
from webui.ui.head import STATIC


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    root = tmp_path_factory.mktemp("page")
    place_model(root)
    with open_studio(root, engine=PretendEngine()) as opened:
        yield opened


@pytest.fixture(scope="module")
def config(studio: Studio) -> dict[str, Any]:
    return page.build(studio).get_config_file()


def components(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in config["components"] if "props" in each]


def test_no_handler_waits_in_gradios_queue_or_is_offered_to_others(config: dict[str, Any]) -> None:
    assert config["dependencies"]
    for each in config["dependencies"]:
        assert each["queue"] is False and each["api_visibility"] == "private", each
        assert each["backend_fn"] is False, "the page's own code asks the server, which answers in sentences"


def test_nothing_keeps_a_connection_open(config: dict[str, Any]) -> None:
    kinds = {each["type"] for each in components(config)}
    assert "state" not in kinds and "timer" not in kinds
    assert not any(trigger[1] in ("unload", "stream") for each in config["dependencies"] for trigger in each["targets"])


def test_every_control_can_be_used_and_has_an_id(config: dict[str, Any]) -> None:
    kinds = ("textbox", "number", "slider", "dropdown", "checkbox", "radio")
    inputs = [each for each in components(config) if each["type"] in kinds]
    ids = [each["props"]["elem_id"] for each in inputs]
    assert len(ids) == len(set(ids))
    assert set(ids) == {f"{area.name}_{name}" for area in AREAS.values() for name in area.with_gradio()}
    for each in inputs:
        assert each["props"]["interactive"] is True, each["props"]["elem_id"]
        assert "share" not in (each["props"].get("buttons") or [])


def test_no_gallery_no_editor_and_no_file_of_gradios(config: dict[str, Any]) -> None:
    kinds = {each["type"] for each in components(config)}
    assert kinds <= {
        "column", "row", "tabs", "tabitem", "group", "form", "html", "button",
        "textbox", "number", "slider", "dropdown", "checkbox", "radio",
    }  # fmt: skip


def test_our_own_elements_are_all_defined(config: dict[str, Any]) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in STATIC.glob("*.js"))
    for each in components(config):
        if each["type"] == "html" and "<webui-" in each["props"]["value"]:
            for tag in re.findall(r"<(webui-[a-z-]+)", each["props"]["value"]):
                assert f'customElements.define("{tag}"' in code


def test_the_page_and_everything_it_names_is_there(studio: Studio) -> None:
    with TestClient(build(studio, page.mount), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        text = client.get("/").text
        for name in ("main.js", "page.css", "webui-config", "w-status", "gradio-app"):
            assert name in text
        for address in {part.split('"')[0] for part in text.split('"/x/static/')[1:]}:
            answer = client.get(f"/x/static/{address}")
            assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
        assert client.get("/x/opening").json()["user"]["owner"] is True
        assert client.get("/x/models").json()["choices"]["model"] == [["builtin", "builtin"]]


def test_wrong_questions_get_sentences(studio: Studio) -> None:
    own = {"origin": "http://127.0.0.1"}
    with TestClient(build(studio, page.mount), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        wrong = [("/x/state/nonsense", {"values": {}}, 404), ("/x/state/txt2img", {"values": 3}, 400), ("/x/read", [1], 400)]
        for path, body, status in wrong:
            answer = client.post(path, json=body, headers=own)
            assert answer.status_code == status and answer.json()["error"].endswith("."), path
        assert client.post("/x/read", content=b"{", headers=own).status_code == 400


def test_a_control_that_no_area_knows_is_refused(studio: Studio) -> None:
    def made() -> gr.Blocks:
        with gr.Blocks(analytics_enabled=False) as blocks:
            page.connect(AREAS["settings"], {"unknown": gr.Textbox()})
        return blocks

    with pytest.raises(ValueError, match="differ in"):
        page.in_a_loop(made)


def test_paths_of_this_machine_are_not_in_the_page(studio: Studio, tmp_path: Path) -> None:
    with TestClient(build(studio, page.mount), base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        assert str(studio.root) not in client.get("/").text
