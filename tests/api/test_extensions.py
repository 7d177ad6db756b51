"""The routes of the Extensions tab: an owner's alone, nothing installed while others can reach the page, errors are sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from webui.api.extensions import LARGEST_ZIP, ExtensionRoutes
from webui.api.failures import of_ours
from webui.api.guard import USER
from webui.errors import UserError, WebUIError
from webui.service.users import User

OWNER, GUEST = User(id=1, name="owner", owner=True), User(id=2, name="guest", owner=False)
BRINGING = (
    {"act": "examine", "source": "x"}, {"act": "examine update", "name": "glow"}, {"act": "install", "token": "t"},
    {"act": "index", "address": "x"},
)  # fmt: skip
OTHERS = (
    {"act": "enable", "name": "glow"}, {"act": "disable", "name": "glow"}, {"act": "reload", "name": "glow"},
    {"act": "settings", "name": "glow", "values": {"a": 1}}, {"act": "remove", "name": "glow", "storage": True},
    {"act": "discard", "token": "t"},
)  # fmt: skip


class Desk:
    """Takes down what it is asked to do."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.content = b""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def act(*given: Any, **more: Any) -> Any:
            self.done.append((name, *given, *sorted(more.items())))
            if given[:1] == ("wrong",):
                raise UserError("That is nowhere.")
            return {"said": name} if name in ("examine", "examine_update", "index") else name

        return act

    def list(self) -> list[Any]:
        """One extension."""
        return [{"name": "glow"}]

    def last_index(self) -> str:
        """Some address."""
        return "https://example.org/list.json"

    def examine(self, source: str, **more: Any) -> Any:
        """Read the file while it is there."""
        self.done.append(("examine", source, more))
        if source == "wrong":
            raise UserError("That is nowhere.")
        if source.endswith(".zip"):
            self.content = Path(source).read_bytes()
        return {"token": "t"}


def client(desk: Desk, folder: Path, user: User = OWNER, *, installing: bool = True) -> TestClient:
    """A browser of somebody's."""
    app = FastAPI()
    app.include_router(ExtensionRoutes(desk, folder, installing=installing).router())  # type: ignore[arg-type]
    app.add_exception_handler(WebUIError, of_ours)

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, USER: user}, receive, send)

    return TestClient(known, base_url="http://127.0.0.1")


def test_nobody_but_an_owner_sees_or_changes_anything(tmp_path: Path) -> None:
    desk = Desk()
    guest = client(desk, tmp_path, GUEST)
    answers = [guest.get("/x/extensions"), guest.get("/x/extensions/index"), guest.post("/x/extensions/zip", content=b"PK")]
    answers += [guest.post("/x/extensions", json=given) for given in (*BRINGING, *OTHERS)]
    assert {answer.status_code for answer in answers} == {403} and desk.done == []
    assert "glow" not in "".join(answer.text for answer in answers)


def test_each_act_reaches_the_desk_and_the_list_comes_back(tmp_path: Path) -> None:
    desk = Desk()
    owner = client(desk, tmp_path)
    for given in OTHERS:
        answer = owner.post("/x/extensions", json=given)
        assert answer.status_code == 200 and answer.json() == {"extensions": [{"name": "glow"}], "refusal": ""}, given
    assert [done[0] for done in desk.done] == [given["act"] for given in OTHERS]
    assert ("remove", "glow", ("by_hand", False), ("cancel", False), ("storage", True)) in desk.done
    assert owner.get("/x/extensions").json()["extensions"] == [{"name": "glow"}]
    assert owner.get("/x/extensions/index").json() == {"address": "https://example.org/list.json"}


def test_installing_goes_by_what_was_looked_at(tmp_path: Path) -> None:
    desk = Desk()
    owner = client(desk, tmp_path)
    looked = owner.post("/x/extensions", json={"act": "examine", "source": "https://x.org/g.git", "commit": "abc", "ref": "main"})
    assert looked.json() == {"found": {"token": "t"}}
    assert desk.done == [("examine", "https://x.org/g.git", {"commit": "abc", "ref": "main"})]
    answer = owner.post("/x/extensions", json={"act": "install", "token": "t"}).json()
    assert answer["name"] == "install" and answer["extensions"] == [{"name": "glow"}]
    wrong = owner.post("/x/extensions", json={"act": "examine", "source": "wrong"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "That is nowhere.")


def test_a_zip_file_is_looked_at_and_not_kept(tmp_path: Path) -> None:
    desk = Desk()
    owner = client(desk, tmp_path)
    answer = owner.post("/x/extensions/zip?name=glow%20one.zip", content=b"PK12")
    assert answer.json() == {"found": {"token": "t"}} and desk.content == b"PK12"
    assert desk.done[0][2] == {"called": "glow one.zip"} and desk.done[0][1].startswith(str(tmp_path))
    assert list((tmp_path / "extension uploads").glob("*.zip")) == []
    assert owner.post("/x/extensions/zip", content=bytes(LARGEST_ZIP + 1)).status_code == 413


def test_nothing_is_installed_while_others_can_reach_the_page(tmp_path: Path) -> None:
    desk = Desk()
    shared = client(desk, tmp_path, installing=False)
    answers = [shared.post("/x/extensions", json=given) for given in BRINGING] + [shared.post("/x/extensions/zip", content=b"PK")]
    assert {answer.status_code for answer in answers} == {403} and desk.done == []
    assert all("--allow-installing" in answer.json()["error"] for answer in answers)
    assert "--allow-installing" in shared.get("/x/extensions").json()["refusal"]
    assert [shared.post("/x/extensions", json=given).status_code for given in OTHERS] == [200] * len(OTHERS)


@pytest.mark.parametrize(
    "given",
    [{}, {"act": "fly"}, {"act": 3}, {"act": "enable"}, {"act": "remove", "name": "g", "storage": "x"}, {"act": "settings"}],
)
def test_what_cannot_be_meant_is_a_sentence(tmp_path: Path, given: dict[str, Any]) -> None:
    answer = client(Desk(), tmp_path).post("/x/extensions", json=given)
    assert answer.status_code in (400, 404) and answer.json()["error"].endswith(".")
