"""Addresses of extensions: their files are those the manifest names, their routes behave as JSON, whatever they answer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from webui.api.extensions_own import OwnRoutes
from webui.api.failures import Failures, of_ours
from webui.api.guard import USER
from webui.errors import NotFound, UserError, WebUIError
from webui.extension import Answer, Asked, Home, Route
from webui.service.extension_manifest import Manifest
from webui.service.extensions import Extensions
from webui.service.users import User

OWNER, GUEST = User(id=1, name="owner", owner=True), User(id=2, name="guest", owner=False)
FILES: Any = object()


class Gallery:
    """The pictures there are, or the jobs: one, of the guest."""

    def request(self, user: User, id: str) -> dict[str, Any]:  # noqa: A002
        """What it was asked for with."""
        if (user.id, id) != (GUEST.id, "p1"):
            raise NotFound("There is no such picture.")
        return {"prompt": "a ball"}


def refuse(_: Asked) -> Any:
    raise UserError("That is not how it goes.")


def echo(asked: Asked) -> Any:
    return {
        "user": asked.user, "owner": asked.is_owner, "query": dict(asked.query), "body": asked.body,
        "home": asked.home.name, "files": asked.files is FILES, "thread": threading.current_thread() is threading.main_thread(),
        "picture": asked.picture("p1"), "none": asked.picture("p2"), "job": asked.job("p1"), "no job": asked.job("p2"),
    }  # fmt: skip


ROUTES = (
    Route(path="echo", answer=echo), Route(path="echo", answer=echo, method="POST"), Route(path="deep/er", answer=lambda _: [1]),
    Route(path="own", answer=lambda _: True, owner=True), Route(path="wrong", answer=refuse),
    Route(path="picture", answer=lambda _: Answer(content=b"PNG", kind="image/png")),
    Route(path="page", answer=lambda _: Answer(content=b"<script>alert(1)</script>", kind="text/html")),
    Route(path="code", answer=lambda _: Answer(content=b"alert(1)", kind="text/javascript")),
    Route(path="strange", answer=lambda _: {1, 2}), Route(path="nan", answer=lambda _: float("nan")),
)  # fmt: skip


def snapshot(folder: Path, **more: Any) -> Extensions:
    """An extension `mine` with these routes and whatever its manifest says besides."""
    given = {"permissions": frozenset({"routes", "javascript"}), "javascript": ("mine.js", "sub/more.mjs"), "css": ("mine.css",)}
    manifest = Manifest(name="mine", version="1", description="It is.", folder=folder, **given | more)
    return Extensions(
        manifests={"mine": manifest}, routes={"mine": ROUTES}, homes={"mine": Home(name="mine", version="1", folder=folder)},
        packages={"mine": f"load of {folder.name} {sorted(more)}"},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    files = {"mine.js": "let a = 1;", "sub/more.mjs": "let b;", "mine.css": "a {}", "__init__.py": "SECRET = 1"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def client(extensions: Extensions, user: User = OWNER) -> TestClient:
    """A browser of somebody's."""
    app = FastAPI()
    app.include_router(OwnRoutes(lambda: extensions, lambda: FILES, Gallery(), Gallery()).router())  # type: ignore[arg-type]
    app.add_middleware(Failures)
    app.add_exception_handler(WebUIError, of_ours)

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, USER: user}, receive, send)

    return TestClient(known, base_url="http://127.0.0.1")


def test_a_route_is_asked_with_who_asks_and_what_was_sent(folder: Path) -> None:
    mine = client(snapshot(folder), GUEST)
    told = mine.get("/x/extensions/mine/echo?a=1&b=x").json()
    assert told == {
        "user": "guest", "owner": False, "query": {"a": "1", "b": "x"}, "body": None, "home": "mine", "files": True,
        "thread": False, "picture": {"prompt": "a ball"}, "none": None, "job": {"prompt": "a ball"}, "no job": None,
    }  # fmt: skip
    assert mine.post("/x/extensions/mine/echo", json=[1, {"ü": None}]).json()["body"] == [1, {"ü": None}]
    assert mine.get("/x/extensions/mine/deep/er").json() == [1]


@pytest.mark.parametrize(
    ("path", "status"), [("echo/more", 404), ("", 404), ("wrong", 400), ("own", 403), ("strange", 500), ("nan", 500)]
)
def test_what_goes_wrong_is_a_sentence(folder: Path, path: str, status: int) -> None:
    answer = client(snapshot(folder), GUEST).get(f"/x/extensions/mine/{path}")
    assert answer.status_code == status and answer.json()["error"].rstrip().endswith((".", "under"))
    assert status < 500 or "mine" in answer.json()["error"], "who is at fault is named"


def test_what_is_sent_must_be_json_and_the_method_right(folder: Path) -> None:
    mine = client(snapshot(folder))
    for content in (b"{", b"NaN", b'"\\ud800"'):
        assert mine.post("/x/extensions/mine/echo", content=content).status_code == 400
    assert "GET" in mine.post("/x/extensions/mine/own").json()["error"]
    assert mine.get("/x/extensions/mine/own").json() is True


def test_nobody_elses_addresses_and_none_without_the_permission(folder: Path) -> None:
    assert client(snapshot(folder)).get("/x/extensions/other/echo").status_code == 404
    assert client(snapshot(folder, permissions=frozenset())).get("/x/extensions/mine/echo").status_code == 404


def test_a_picture_is_shown_but_never_a_page_or_code(folder: Path) -> None:
    mine = client(snapshot(folder))
    shown = mine.get("/x/extensions/mine/picture")
    assert (shown.content, shown.headers["content-type"]) == (b"PNG", "image/png") and "content-disposition" not in shown.headers
    for path in ("page", "code"):
        saved = mine.get(f"/x/extensions/mine/{path}")
        assert saved.headers["content-type"] == "application/octet-stream"
        assert saved.headers["content-disposition"] == "attachment"


def test_files_are_those_of_the_manifest_as_they_were(folder: Path) -> None:
    extensions = snapshot(folder)
    mine = client(extensions)
    first = mine.get("/x/extensions/mine/files/any/mine.js")
    assert first.text == "let a = 1;" and first.headers["content-type"].startswith("text/javascript")
    assert "no-cache" in first.headers["cache-control"]
    (folder / "mine.js").write_text("let changed;")
    version = first.headers["etag"].strip('"')
    again = mine.get(f"/x/extensions/mine/files/{version}/mine.js")
    assert again.text == "let a = 1;", "what was loaded stays until it is loaded anew"
    assert "immutable" in again.headers["cache-control"]
    assert mine.get(f"/x/extensions/mine/files/{version}/sub/more.mjs").text == "let b;"
    assert mine.get(f"/x/extensions/mine/files/{version}/mine.css").headers["content-type"].startswith("text/css")
    for path in ("__init__.py", "extension.toml", "%2e%2e/mine.js", "sub/%2e%2e/mine.js", "nothing.js"):
        assert mine.get(f"/x/extensions/mine/files/{version}/{path}").status_code == 404, path
    known = {"if-none-match": first.headers["etag"]}
    assert mine.get(f"/x/extensions/mine/files/{version}/mine.js", headers=known).status_code == 304


def test_code_needs_the_permission_and_nothing_leads_out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.js"
    outside.write_text("secret")
    (folder / "link.js").symlink_to(outside)
    linked = client(snapshot(folder, javascript=("link.js", "mine.js", "__init__.py")))
    assert linked.get("/x/extensions/mine/files/v/mine.js").status_code == 200
    for path in ("link.js", "__init__.py"):
        assert linked.get(f"/x/extensions/mine/files/v/{path}").status_code == 404, path
    without = client(snapshot(folder, permissions=frozenset({"routes"})))
    assert without.get("/x/extensions/mine/files/v/mine.js").status_code == 404
    assert without.get("/x/extensions/mine/files/v/mine.css").status_code == 200
