"""The page's own files: those of the folder and no others, of the right kind, and kept by browsers until they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from webui.api.failures import of_ours
from webui.api.static import FOLDER, TYPES, Static
from webui.errors import WebUIError


def client(folder: Path) -> tuple[Static, Any]:
    static, app = Static(folder), FastAPI()
    app.include_router(static.router())
    app.add_exception_handler(WebUIError, of_ours)
    return static, TestClient(app)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "static"
    place.mkdir()
    (place / "main.js").write_text("import './dom.js';")
    (place / "page.css").write_text("body {}")
    (place / "secret.py").write_text("x = 1")
    (place / ".hidden").write_text("x")
    (place / "below").mkdir()
    (place / "below" / "deep.js").write_text("x")
    (tmp_path / "outside.js").write_text("x")
    return place


def test_files_have_their_kinds(folder: Path) -> None:
    static, web = client(folder)
    assert static.names() == ["main.js", "page.css"]
    for name, kind in (("main.js", "text/javascript; charset=utf-8"), ("page.css", "text/css; charset=utf-8")):
        for address in (f"/x/static/{name}", f"/x/static/{static.version}/{name}"):
            reply = web.get(address)
            assert reply.content == (folder / name).read_bytes() and reply.headers["content-type"] == kind


@pytest.mark.parametrize(
    "name",
    ["secret.py", ".hidden", "deep.js", "below/deep.js", "../outside.js", "%2e%2e/outside.js", "MAIN.JS", "main.js/"],
)
def test_no_other_file_is_sent(folder: Path, name: str) -> None:
    static, web = client(folder)
    (folder / "later.js").write_text("x")  # came after the start
    for address in (f"/x/static/{name}", f"/x/static/{static.version}/{name}", "/x/static/later.js"):
        assert web.get(address, follow_redirects=False).status_code in (307, 404)


def test_a_version_is_kept_for_ever_and_changes_with_any_file(folder: Path) -> None:
    static, web = client(folder)
    for_ever = "private, max-age=31536000, immutable"
    assert web.get(f"/x/static/{static.version}/main.js").headers["cache-control"] == for_ever
    tag = web.get("/x/static/main.js").headers["etag"]
    assert web.get(f"/x/static/main.js?v={tag.strip(chr(34))}").headers["cache-control"] == for_ever
    for other in ("/x/static/main.js", "/x/static/main.js?v=old", "/x/static/0123456789abcdef/main.js"):
        reply = web.get(other)
        assert reply.headers["cache-control"] == "private, no-cache" and reply.status_code == 200
        again = web.get(other, headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
    (folder / "page.css").write_text("body { }")
    assert Static(folder).version != static.version
    assert Static(folder)._files["main.js"] == static._files["main.js"]


def test_everything_in_the_pages_folder_is_of_a_kind_that_is_sent() -> None:
    names = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert names and names == set(Static().names()), f"known kinds: {', '.join(TYPES)}"
