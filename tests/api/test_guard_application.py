"""The whole server with its real page: every route closed to whoever is outside, and to whom it does not belong."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from PIL import Image
from starlette.routing import Mount, Route, WebSocketRoute

from tests.api.asgi import AWAY, Reply, ask, post
from tests.service.making import until
from tests.service.pretend import PretendEngine, place_model
from webui.api.application import build
from webui.api.entrance import Entrance
from webui.api.gradio_routes import OURS, is_open, is_ours
from webui.api.guard import FOR_EVERYBODY, METHODS, cookie_name
from webui.api.server import gradio_environment
from webui.drawing import Txt2Img
from webui.service.passwords import Cost, Hasher
from webui.service.studio import open_studio

SECRET = "correct horse"
HIDDEN = b"nobody may read this"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
HTML = b"<!doctype html><script>alert(1)</script>"


class House:
    """A studio with an owner, Anna and Bert, and everything that is served of it."""

    def __init__(self, root: Path, studio: Any, page: Any) -> None:
        self.root, self.studio = root, studio
        users = studio.users
        self.anna, self.bert = users.create("Anna", SECRET), users.create("Bert", SECRET)
        self.app = build(studio, page, Entrance(everyone_signs_in=True))
        self.cookies = {
            user.name: f"{cookie_name(0, secure=False)}={users.sign_in(user.name, SECRET, 'x', '')}"
            for user in (self.anna, self.bert)
        }

    def ask(self, method: str, address: str, who: str = "Bert", **more: Any) -> Reply:
        return ask(self.app, method, address, cookie=self.cookies.get(who), client=AWAY, **more)

    def post(self, address: str, told: Any = None, who: str = "Bert") -> Reply:
        return post(self.app, address, told, cookie=self.cookies.get(who), client=AWAY)

    def routes(self) -> list[tuple[str, str]]:
        """Every method and address, ours and Gradio's, with something made up where an address has parameters."""
        return sorted(set(_routes(self.app.guard._app.routes)))  # type: ignore[attr-defined]

    def picture_of_anna(self) -> tuple[str, str]:
        """A job of hers that is done, and its picture."""
        job = self.studio.queue.submit(self.anna, "txt2img", Txt2Img(prompt="a secret ball", steps=1, width=64, height=64))
        until(lambda: self.studio.pictures.of_job(self.anna, job) if self.done(job) else False)
        return job, self.studio.pictures.of_job(self.anna, job)[0].id

    def done(self, job: str) -> bool:
        return all(each["job"] != job for each in self.studio.queue.view(self.anna))


def _routes(routes: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield from _routes(route.routes, prefix + route.path.rstrip("/"))
        elif isinstance(route, WebSocketRoute):
            yield "SOCKET", prefix + filled(route.path)
        elif isinstance(route, Route | APIRoute):
            for method in route.methods or ["GET"]:
                yield method, prefix + filled(route.path)
        elif hasattr(route, "routes"):
            yield from _routes(route.routes, prefix)
        elif hasattr(route, "original_router"):
            yield from _routes(route.original_router.routes, prefix)
        else:
            raise AssertionError(f"a route of a kind this test does not know: {route!r}")


def filled(path: str) -> str:
    """An address of a route; what is made up stands for any name."""
    return re.sub(r"\{[^}]*\}", "1", path)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("root")
    place_model(root)
    (root / "secret.png").write_bytes(HIDDEN)
    (root / "cache").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in gradio_environment(dict(os.environ), root / "cache" / "uploads").items():
            patch.delenv(name, raising=False) if value is None else patch.setenv(name, value)
        patch.chdir(root)
        from webui.ui.page import mount

        with open_studio(root, engine=PretendEngine()) as studio:
            patch.setattr(studio.users, "_hasher", Hasher(Cost(n=16, r=1, p=1)))

            async def make() -> House:  # Gradio makes event loops where none runs, and never closes them
                return House(root, studio, mount)

            yield asyncio.run(make())


def test_there_are_routes_of_ours_and_of_gradio(house: House) -> None:
    addresses = {address for _, address in house.routes()}
    expected = (
        "/ /x/jobs /x/events /x/pictures/1 /x/who /login /accounts /gradio_api/upload /gradio_api/file=1 /gradio_api/info /config"
    )
    assert set(expected.split()) <= addresses, sorted(addresses)


# --- outside


def test_nothing_can_be_read_or_done_without_an_account(house: House) -> None:
    for method, address in house.routes():
        if address in FOR_EVERYBODY or method == "SOCKET":
            continue
        for headers in ({}, {"Accept": "text/html"}):
            reply = ask(house.app, method, address, client=AWAY, headers=headers)
            expected = (405,) if method not in OURS.get(address, METHODS) else (303, 401) if method in ("GET", "HEAD") else (401,)
            assert reply.status in expected, (method, address)
            assert len(reply.body) < 100 and (reply.status != 303 or reply.header("location") == "/login")
    assert "builtin" not in ask(house.app, address="/login", client=AWAY).text


def test_nothing_can_be_done_from_another_sites_page(house: House) -> None:
    for method, address in house.routes():
        if method == "SOCKET":
            continue
        for origin in ("https://evil.example", "null"):
            reply = house.ask(method, address, "Anna", origin=origin)
            assert reply.status == 403 and len(reply.body) < 150, (method, address)
            assert reply.header("access-control-allow-origin") is None


def test_nothing_can_be_done_under_another_name(house: House) -> None:
    for method, address in house.routes():
        if method != "SOCKET":
            assert house.ask(method, address, "Anna", host="evil.example", origin="http://evil.example").status == 400


def test_of_gradios_routes_only_these_are_there(house: House) -> None:
    of_gradio = {
        (method, address) for method, address in house.routes() if not is_ours(address) and address.startswith("/gradio_api")
    }
    there = {address.removeprefix("/gradio_api/").rstrip("/") for method, address in of_gradio if is_open(method, address)}
    needed = "app_id cancel file=1 heartbeat/1 queue/data queue/join reset run/1 theme.css upload upload_progress"
    assert there == set(needed.split())
    for method, address in of_gradio:
        if not is_open(method, address):
            assert house.ask(method, address, "Anna").status == 404, (method, address)


# --- inside, but somebody else


def test_a_job_is_its_owners_alone(house: House) -> None:
    job, _ = house.picture_of_anna()
    before = house.ask("GET", f"/x/jobs/{job}/events", "Anna").json()
    for what in ("interrupt", "skip", "cancel", "retry", "move"):
        reply = house.post(f"/x/jobs/{job}/{what}", {"picture": 0} if what == "skip" else {})
        assert reply.status in (400, 404) and "There is no job" in reply.json()["error"], what
    for address in (f"/x/jobs/{job}/events", f"/x/jobs/{job}/preview/0", f"/x/jobs/{job}/zip"):
        assert house.ask("GET", address).status in (400, 404), address
    assert house.ask("GET", f"/x/jobs/{job}/events", "Anna").json() == before
    assert house.ask("GET", "/x/jobs").json() == {"jobs": []} and "secret ball" not in house.ask("GET", "/x/pictures").text


def test_a_waiting_job_of_somebody_else_goes_on(house: House) -> None:
    engine = house.studio.engine
    engine.step_seconds = 0.05
    try:
        job = house.studio.queue.submit(house.anna, "txt2img", Txt2Img(prompt="a secret", steps=150, count=3))
        for what in ("cancel", "interrupt", "skip", "move"):
            assert house.post(f"/x/jobs/{job}/{what}", {}).status in (400, 404)
        assert [each["job"] for each in house.studio.queue.view(house.anna)] == [job]
        assert house.ask("GET", "/x/jobs").json() == {"jobs": []}
        stream = house.ask("GET", "/x/events", stays=True)
        assert stream.status == 200 and job not in stream.text and "secret" not in stream.text
        assert house.post(f"/x/jobs/{job}/cancel", {}, "Anna").status == 200
        until(lambda: house.done(job))
    finally:
        engine.step_seconds = 0.0


def test_a_picture_is_its_owners_alone(house: House) -> None:
    _, picture = house.picture_of_anna()
    assert house.ask("GET", f"/x/pictures/{picture}", "Anna").body.startswith(b"\x89PNG")
    for address in (
        f"/x/pictures/{picture}", f"/x/pictures/{picture}?download=1", f"/x/pictures/{picture}/thumbnail",
        f"/x/pictures/zip?ids={picture}", f"/x/pictures?before={picture}", f"/x/pictures/{picture}?everyone=true",
        f"/x/pictures/zip?ids={picture}&everyone=1",
    ):  # fmt: skip
        reply = house.ask("GET", address)
        assert reply.status in (400, 403, 404) and b"PNG" not in reply.body, address
    for what in ("star", "unstar", "trash", "restore", "delete"):
        for more in ({}, {"everyone": True}):
            house.post(f"/x/pictures/{what}", {"ids": [picture], **more})
    found = house.ask("GET", "/x/pictures", "Anna").json()["pictures"]
    assert any(each["id"] == picture and not each["starred"] and not each["trashed"] for each in found)


# --- files


NAMES = [
    *["../secret.png", "..%2fsecret.png", "%2e%2e/secret.png", "..%252fsecret.png", "....//secret.png", "..\\secret.png"],
    *["..%5csecret.png", "/etc/passwd", "%2fetc%2fpasswd", "%00", "secret.png", "secret.png%00", "file:///etc/passwd", "."],
    *["..", "~", "C:/x", "%c0%ae%c0%ae/x", "x" * 5000, "%F0%9F%98%80", "1 OR 1=1", "1;--", "*", "%"],
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_leads_to_a_file(house: House, name: str) -> None:
    for prefix in (
        "/x/pictures/", "/x/pictures/zip?ids=", "/x/jobs/", "/x/inputs/", "/x/static/", "/assets/", "/static/",
        "/gradio_api/file=", "/gradio_api/file=../", "/x/jobs/1/preview/",
    ):  # fmt: skip
        reply = house.ask("GET", prefix + name, "Anna")
        assert reply.status in (400, 403, 404, 405), (prefix, reply.status)
        assert HIDDEN not in reply.body and b"root:" not in reply.body


TEXTS = [
    "/etc/passwd",
    "secret.png",
    "../secret.png",
    "./secret.png",
    "file:///etc/passwd",
    "https://example.com/a.png",
    "\x00",
    "C:\\x",
]


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_becomes_a_path(house: House, text: str) -> None:
    full = str(house.root / "secret.png") if text == "secret.png" else text
    for given in {text, full}:
        for name in ("prompt", "negative", "model", "sampler", "schedule", "model_hash"):
            parameters = {"steps": 1, "width": 64, "height": 64, name: given}
            replies = [house.post("/x/jobs", {"kind": "txt2img", "parameters": parameters})]
            replies.append(house.post("/x/jobs", {"kind": "txt2img", "parameters": {"steps": 1}, "styles": [given]}))
            assert all(HIDDEN not in reply.body and b"root:" not in reply.body for reply in replies)
            assert replies[0].status == (200 if name in ("prompt", "negative") else 400) or given == "\x00"
        for address, content in (
            ("/x/read", {"text": given}), ("/x/styles", {"name": given, "prompt": given}), ("/x/styles/import", {"text": given}),
            ("/x/settings", {"values": {given: given}}), ("/x/state/txt2img", {"values": {"prompt": given, "model": given}}),
            ("/x/pictures/star", {"ids": [given]}), (f"/x/state/{given.replace('/', '')}", {}),
        ):  # fmt: skip
            reply = house.post(address, content)
            assert reply.status in (200, 400, 404) and HIDDEN not in reply.body and b"root:" not in reply.body, address
        reply = house.ask("POST", "/x/inputs", body=given.encode())
        assert reply.status in (400, 413, 415) and HIDDEN not in reply.body
    until(lambda: not house.studio.queue.view(house.bert))
    assert HIDDEN not in b"".join(picture.path.read_bytes() for picture in house.studio.pictures.search(house.bert))


def test_gradios_handlers_give_no_files_and_cannot_be_called(house: House) -> None:
    """All of the page's run in the browser: a call from elsewhere would only put somebody's text onto the owner's terminal."""
    secret = str(house.root / "secret.png")
    handlers = [each["id"] for each in house.ask("GET", "/config").json()["dependencies"]]
    assert handlers
    for number in handlers:
        for shape in (secret, {"path": secret, "meta": {"_type": "gradio.FileData"}}, "\x1b]0;owned\x07"):
            told = {"fn_index": number, "data": [shape] * 40, "session_hash": "bert"}
            assert house.post("/gradio_api/run/predict", told).status == 404
            assert house.post("/gradio_api/queue/join", told).status == 404
    assert house.ask("GET", "/gradio_api/queue/data?session_hash=bert").status == 404
    assert house.ask("GET", f"/gradio_api/file={secret}").status == 404


def picture(size: tuple[int, int] = (8, 8)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "PNG")
    return buffer.getvalue()


def form(*files: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """Files as browsers send them, and the header that says so."""
    parts = [
        b'--limit\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\nContent-Type: image/png\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in files
    ]
    return b"".join(parts) + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}


def stored(house: House) -> set[Path]:
    return {path for path in (house.root / "cache" / "uploads").rglob("*") if path.is_file()}


def test_what_is_uploaded_to_gradio_is_its_owners_alone(house: House) -> None:
    body, headers = form(("a b.png", picture()))
    [path] = json.loads(house.ask("POST", "/gradio_api/upload", "Anna", body=body, headers=headers).body)
    assert house.ask("GET", f"/gradio_api/file={path.replace(' ', '%20')}", "Anna").body == picture()
    assert house.ask("GET", f"/gradio_api/file={path.replace(' ', '%20')}", "Bert").status == 404
    assert ask(house.app, address=f"/gradio_api/file={path}", client=AWAY).status == 401


@pytest.mark.parametrize(
    ("name", "content"), [("a.svg", SVG), ("a.html", HTML), ("a.png", SVG), ("a.png", HTML), ("../a.svg", SVG)]
)
def test_pages_and_scripts_are_not_taken(house: House, name: str, content: bytes) -> None:
    before = stored(house)
    body, headers = form(("good.png", picture((9, 9))), (name, content))
    assert house.ask("POST", "/gradio_api/upload", "Anna", body=body, headers=headers).status == 415
    assert stored(house) == before, "and nothing of it stays"
    assert house.ask("POST", "/x/inputs", "Anna", body=content).status in (400, 413, 415)


def test_an_upload_that_is_too_large_leaves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stored(house)
    body, headers = form(("a.txt", b"x" * 300_000))
    monkeypatch.setattr(house.app.guard, "_limits", type(house.app.guard._limits)(upload=200_000))
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    assert house.ask("POST", "/gradio_api/upload", "Anna", body=pieces, headers=headers).status == 413
    assert house.ask("POST", "/gradio_api/upload", "Anna", body=body, headers=headers).status == 413
    assert stored(house) == before


# --- texts that could become HTML


def test_texts_are_never_sent_as_a_page(house: House) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    assert (
        house.post("/x/jobs", {"kind": "txt2img", "parameters": {"prompt": evil, "steps": 1, "width": 64, "height": 64}}).status
        == 200
    )
    until(lambda: not house.studio.queue.view(house.bert))
    house.post("/x/styles", {"name": evil, "prompt": evil})
    for address in (
        "/x/pictures",
        "/x/styles",
        "/x/opening",
        "/x/jobs",
        f"/x/pictures?text={evil}",
        f"/x/pictures/{evil}",
        f"/{evil}",
        "/",
    ):
        reply = house.ask("GET", address.replace(" ", "%20").replace("<", "%3C").replace(">", "%3E"))
        html = "text/html" in (reply.header("content-type") or "")
        assert reply.header("x-content-type-options") == "nosniff"
        assert not html or (evil not in reply.text and address == "/"), address
