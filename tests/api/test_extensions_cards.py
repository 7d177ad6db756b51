"""Cards of extensions: listed as they are now, previews by ids that name no path and never the file itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from tests.ui.drawn import content, stripes
from webui.api.extensions_cards import CardRoutes
from webui.api.failures import of_ours
from webui.api.guard import USER
from webui.errors import ExtensionError, WebUIError
from webui.extension import Card, Home
from webui.service.extensions import Extensions
from webui.service.users import User

EVIL = "<img src=x onerror=alert(1)>"
FILES: Any = object()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "fox.preview.png"
    path.write_bytes(content(stripes(700, 500)))
    return path


def client(tmp_path: Path, *answers: Any) -> TestClient:
    """A browser beside extensions of which each answers with its cards, or fails."""

    def of(answer: Any) -> Any:
        def cards(home: Home, files: Any) -> Any:
            assert files is FILES and home.name.startswith("e")
            if isinstance(answer, Exception):
                raise answer
            return answer

        return cards

    names = [f"e{place}" for place in range(len(answers))]
    extensions = Extensions(
        functions={"cards": {name: of(answer) for name, answer in zip(names, answers, strict=True)}},
        homes={name: Home(name=name, version="1", folder=tmp_path) for name in names},
    )  # fmt: skip
    app = FastAPI()
    app.include_router(CardRoutes(lambda: extensions, lambda: FILES, tmp_path / "cache").router())
    app.add_exception_handler(WebUIError, of_ours)

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, USER: User(id=2, name="guest", owner=False)}, receive, send)

    return TestClient(known, base_url="http://127.0.0.1")


def test_cards_are_listed_by_kind_and_title_and_an_extension_that_fails_costs_its_own(tmp_path: Path, picture: Path) -> None:
    cards = [
        Card(kind="LoRA", name="wolf", insert="<lora:wolf:1>", title="Wolf"),
        Card(kind="LoRA", name="fox", insert="<lora:fox:1>", words=("red fur",), preview=str(picture), facts={"Rank": "4"}),
        Card(kind="Embedding", name=EVIL, insert="bad", negative=True, problem="It is too wide."),
    ]
    page = client(tmp_path, cards, ExtensionError("The extension e1 raised."))
    found = page.get("/x/cards").json()["cards"]
    assert [card["name"] for card in found] == ["fox", "wolf", EVIL]
    assert found[0]["words"] == ["red fur"] and found[0]["facts"] == {"Rank": "4"} and found[0]["extension"] == "e0"
    assert found[2]["negative"] and found[2]["problem"] == "It is too wide." and found[2]["preview"] == ""
    assert str(tmp_path) not in str(found), "no path leaves the program"
    assert [card["name"] for card in page.get("/x/cards?kind=LoRA").json()["cards"]] == ["fox", "wolf"]


def test_a_preview_is_made_small_anew_and_follows_its_file(tmp_path: Path, picture: Path) -> None:
    page = client(tmp_path, [Card(kind="LoRA", name="fox", insert="<lora:fox:1>", preview=str(picture))])
    address = page.get("/x/cards").json()["cards"][0]["preview"]
    answer = page.get(address)
    small = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == "image/webp" and max(small.size) < 500
    assert "immutable" in answer.headers["cache-control"]
    picture.write_bytes(content(np.zeros((40, 30, 3), np.uint8)))
    newer = page.get("/x/cards").json()["cards"][0]["preview"]
    assert newer != address and Image.open(io.BytesIO(page.get(newer).content)).size == (30, 40)


def test_what_is_no_picture_is_never_sent(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the owner's password")
    page = client(tmp_path, [Card(kind="LoRA", name="fox", insert="x", preview=str(secret))])
    address = page.get("/x/cards").json()["cards"][0]["preview"]
    assert page.get(address).status_code == 404
    assert page.get("/x/cards/nonsense/preview").status_code == 404
