"""What may be uploaded, how much of it, and who may read it again: the rules alone, and the guard before a pretended Gradio."""

from __future__ import annotations

import io
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.api.asgi import ask
from webui.api import uploads as module
from webui.api.entrance import Entrance
from webui.api.gradio_routes import Pages, Readable
from webui.api.guard import Guard
from webui.api.refusals import Refused
from webui.api.uploads import LEFT_SECONDS, MB, BodyLimits, Uploads, check_file
from webui.service.database import Database
from webui.service.passwords import Cost, Hasher
from webui.service.users import Users

SECRET = "correct horse"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
HTML = b"<!doctype html><script>alert(1)</script>"


class Clock:
    """A time that passes when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def picture(kind: str = "PNG", size: tuple[int, int] = (4, 3)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


def vast_png() -> bytes:
    """A small file that says it has four thousand million pixels."""
    content = bytearray(picture())
    content[16:24] = (65_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


# --- which files


TAKEN = [
    ("a.png", picture()),
    ("a.PNG", picture()),
    ("a.jpg", picture("JPEG")),
    ("a.jpeg", picture("JPEG")),
    ("a.webp", picture("WEBP")),
    ("a.gif", picture("GIF")),
    ("a.bmp", picture("BMP")),
    ("a.png", picture("JPEG")),
    ("styles.csv", b"name,prompt\n"),
    ("a.txt", "ä".encode()),
    ("a.json", b"{}"),
    ("empty.txt", b""),
]
REFUSED = [
    *((f"a.{kind}", SVG) for kind in ["svg", "png", "json", "csv", "jpg", "webp", "xml"]),
    *((f"a.{kind}", HTML) for kind in ["html", "htm", "xhtml", "png", "txt", "svg", "js"]),
    *((f"a{kind}", picture()) for kind in ("", ".html", ".png.html", ".svg", ".png ", ".png.")),
    *(("a.jpg", content) for content in (b"", b"\xff\xd8", picture()[:20], picture("TIFF"))),
    *((f"a.{kind}", b"x") for kind in ["js", "pdf", "zip", "safetensors", "ckpt", "exe", "tiff"]),
    ("a.csv", b"\xef\xbb\xbf \n<svg>"),
    ("a.txt", b"MZ\0\0"),
    (".png", picture()),
]


@pytest.mark.parametrize(("name", "content"), TAKEN)
def test_pictures_and_texts_are_taken(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert check_file(tmp_path / name) == len(content)


@pytest.mark.parametrize(("name", "content"), REFUSED)
def test_everything_else_is_not(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused) as caught:
        check_file(tmp_path / name)
    assert caught.value.refusal.status == 415


def test_a_small_file_of_a_vast_picture_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(vast_png())
    with pytest.raises(Refused) as caught:
        check_file(tmp_path / "a.png")
    assert caught.value.refusal.status == 413


def test_a_picture_may_have_as_many_pixels_as_one_we_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(picture(size=(10, 10)))
    monkeypatch.setattr(module, "MOST_PIXELS", 100)
    assert check_file(tmp_path / "a.png")
    monkeypatch.setattr(module, "MOST_PIXELS", 99)
    with pytest.raises(Refused, match="pixels"):
        check_file(tmp_path / "a.png")


# --- how many


def test_uploads_are_counted_by_the_minute() -> None:
    clock = Clock()
    uploads = Uploads(BodyLimits(uploads=3), Readable(), clock)
    for _ in range(3):
        uploads.begin(1)
    with pytest.raises(Refused, match="wait a minute") as caught:
        uploads.begin(1)
    assert caught.value.refusal.status == 429 and caught.value.refusal.headers["Retry-After"] == "60"
    uploads.begin(2)
    clock.now += 60
    uploads.begin(1)


def test_bytes_are_counted_by_the_minute() -> None:
    clock = Clock()
    uploads = Uploads(BodyLimits(bytes=100), Readable(), clock)
    for _ in range(10):
        clock.now += 0.5
        uploads.receive(1, 10)
    with pytest.raises(Refused):
        uploads.receive(1, 1)
    uploads.receive(2, 100)
    clock.now += 61
    uploads.receive(1, 100)


def test_the_oldest_uploads_make_room(tmp_path: Path) -> None:
    readable = Readable()
    size = len(picture())
    uploads = Uploads(BodyLimits(quota=3 * size), readable, Clock())
    files = [tmp_path / f"{number}" / "a.png" for number in range(5)]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(picture())
        uploads.accept(1, [str(file)])
    assert [file.exists() for file in files] == [False, False, True, True, True] == [readable.may(1, str(file)) for file in files]


def test_a_file_that_another_user_has_too_stays(tmp_path: Path) -> None:
    readable = Readable()
    uploads = Uploads(BodyLimits(quota=len(picture())), readable, Clock())
    shared, other = tmp_path / "a.png", tmp_path / "b.png"
    for file in (shared, other):
        file.write_bytes(picture())
    uploads.accept(1, [str(shared)])
    uploads.accept(2, [str(shared)])
    uploads.accept(1, [str(other)])
    assert shared.exists() and readable.may(2, str(shared)) and not readable.may(1, str(shared))


def test_what_broken_off_uploads_left_is_swept(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = 1e6
    uploads = Uploads(BodyLimits(), Readable(), clock)
    kept = tmp_path / "abc" / "tmp.png"
    kept.parent.mkdir()
    for path, age in ((tmp_path / "tmpold", LEFT_SECONDS + 5), (tmp_path / "tmpnew", 0), (kept, LEFT_SECONDS + 5)):
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    uploads.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["abc", "tmpnew"] and kept.exists()


# --- who may read


@pytest.mark.parametrize(
    "other", ["/up/A.png", "/up//a.png", "/up/./a.png", "/up/b/../a.png", "/up/a.png/", "up/a.png", "file:///up/a.png", ""]
)
def test_only_the_very_name_is_readable(other: str) -> None:
    readable = Readable()
    readable.grant(1, ["/up/a.png"])
    assert readable.may(1, "/up/a.png") and not readable.may(2, "/up/a.png") and not readable.may(1, other)


def test_windows_names_are_readable_as_browsers_write_them() -> None:
    readable = Readable()
    readable.grant(1, ["C:\\up\\a.png"])
    assert readable.may(1, "C:/up/a.png") and readable.revoke(1, "C:\\up\\a.png") and not readable.may(1, "C:/up/a.png")


def test_pages_are_of_who_opened_them_and_are_forgotten() -> None:
    pages = Pages(most=2)
    assert pages.may(1, "a") and not pages.may(2, "a") and pages.may(1, "a") and pages.may(1, None) and pages.may(2, None)
    assert pages.may(2, "b") and pages.may(2, "c") and pages.may(2, "a")
    assert not pages.may(1, "") and not pages.may(1, "x" * 1000)


# --- the guard before a pretended Gradio


class Pretended:
    """Stores each body as a file of the name in the query, as Gradio's route would, and knows who asked for what."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.joined: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/gradio_api/upload":
            assert "accept-encoding" not in request.headers
            try:
                content = await request.body()
            except MultiPartException:
                return PlainTextResponse("broken", 400)
            path = self.folder / str(len(content)) / request.query_params["name"]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            return JSONResponse([str(path)])
        if request.url.path.startswith("/gradio_api/file="):
            return PlainTextResponse(Path(request.url.path.partition("=")[2]).read_bytes())
        self.joined.append(await request.body())
        return PlainTextResponse("ok")


class House:
    """Two users and a guard."""

    def __init__(self, folder: Path, database: Database) -> None:
        users = Users(database, hasher=Hasher(Cost(n=16, r=1, p=1)))
        for name in ("Anna", "Bert"):
            users.create(name, SECRET)
        self.anna, self.bert = (f"webui-0={users.sign_in(name, SECRET, 'x', '')}" for name in ("Anna", "Bert"))
        self.gradio = Pretended(folder)
        self.limits = BodyLimits(upload=MB, uploads=20)
        self.guard = Guard(self.gradio, users, Entrance(everyone_signs_in=True), limits=self.limits)

    def upload(self, name: str, content: bytes | list[bytes], cookie: str) -> Any:
        headers = {"accept-encoding": "br"}
        return ask(self.guard, "POST", f"/gradio_api/upload?name={name}", body=content, cookie=cookie, headers=headers)

    def read(self, path: str, cookie: str) -> int:
        return ask(self.guard, address=f"/gradio_api/file={path}", cookie=cookie).status


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(tmp_path / "webui.sqlite3")
    (tmp_path / "up").mkdir()
    yield House(tmp_path / "up", database)
    database.close()


def test_an_upload_is_readable_for_who_sent_it(house: House) -> None:
    reply = house.upload("a.png", picture(), house.anna)
    [path] = reply.json()
    assert reply.status == 200 and house.read(path, house.anna) == 200 and house.read(path, house.bert) == 404
    assert house.upload("a.png", picture(), house.bert).json() == [path] and house.read(path, house.bert) == 200


@pytest.mark.parametrize(("name", "content"), [("a.svg", SVG), ("a.html", HTML), ("a.png", SVG), ("a.txt", HTML)])
def test_what_is_refused_is_removed(house: House, name: str, content: bytes) -> None:
    reply = house.upload(name, content, house.anna)
    assert reply.status == 415 and "error" in reply.json()
    path = house.gradio.folder / str(len(content)) / name
    assert not path.exists() and house.read(str(path), house.anna) == 404


def test_a_refusal_takes_no_file_from_another_user(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    [path] = house.upload("a.png", picture(), house.anna).json()
    monkeypatch.setattr(module, "MOST_PIXELS", 1)
    assert house.upload("a.png", picture(), house.bert).status == 413
    assert Path(path).exists() and house.read(path, house.anna) == 200


def test_uploads_are_limited_in_size(house: House) -> None:
    assert house.upload("a.txt", b"x" * (MB + 1), house.anna).status == 413
    assert house.upload("a.txt", [b"x" * 2**16] * 17, house.anna).status == 413
    assert house.upload("a.txt", [b"x" * 2**16] * 16, house.anna).status == 200
    assert len(list(house.gradio.folder.iterdir())) == 1


@pytest.mark.parametrize("address", ["/gradio_api/upload?name=a.png", "/x/inputs"])
def test_a_flood_of_uploads_is_stopped(house: House, address: str) -> None:
    statuses = [
        ask(house.guard, "POST", address, body=picture(), cookie=house.anna).status for _ in range(house.limits.uploads + 30)
    ]
    assert statuses == [200] * house.limits.uploads + [429] * 30
    assert ask(house.guard, "POST", address, body=picture(), cookie=house.bert).status == 200


def test_nobody_uploads_without_an_account(house: House) -> None:
    assert house.upload("a.png", picture(), "").status == 401 and not list(house.gradio.folder.iterdir())


ELSEWHERE = [
    "http://example.com/x", "https://example.com/x.png", "HTTP://example.com", "//example.com/x", "ftp://example.com", "file:///etc/passwd",
    "http:/example.com", "http%3A%2F%2Fexample.com%2Fx", "http%253A//example.com", "%68ttp://example.com", "data:text/html,x",
    "/etc/passwd", "etc/passwd", "launch.py", "/proc/self/environ", "C:/Windows/win.ini", "%5C%5Chost%5Cshare", "secret.png",
]  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE)
def test_gradios_reader_reads_nothing_else(house: House, target: str) -> None:
    assert house.read(target, house.anna) in (400, 404)


CLOSED_READS = [
    "info",
    "info/",
    "openapi.json",
    "runs",
    "runs/",
    "startup-events",
    "token",
    "user",
    "login_check",
    "deep_link",
    "vibe-code",
    "proxy=https://example.com",
    "proxy=http://127.0.0.1:1",
    "custom_component/x/client/y/z",
    "call/predict/1",
    "queue/status",
    "stream/a/b/c/playlist.m3u8",
    "run-history/buckets",
    "profiling/traces",
    "dev/reload",
    "mcp/sse",
    "file/etc/passwd",
    "queue/join",
]
CLOSED_WRITES = [
    "component_server",
    "accept_blobs",
    "vibe-edit",
    "vibe-code",
    "undo-vibe-edit/",
    "call/predict",
    "call/v2/predict",
    "api/predict",
    "stream/x",
    "stream/x/close",
    "process_recording",
    "run-history/connect",
    "profiling/clear",
    "file=x",
    "queue/data",
]
CLOSED_ELSEWHERE = [
    "/monitoring",
    "/monitoring/x",
    "/monitoring/summary",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/svelte/x",
    "/proxy=https://example.com",
    "/file=/etc/passwd",
    "/file/etc/passwd",
    "/login/huggingface",
    "/login/callback",
    "/assets/",
    "/static",
    "/x",
    "/accounts/x",
    "/config/x",
]
CLOSED = [
    *(("GET", f"/gradio_api/{name}") for name in CLOSED_READS),
    *(("POST", f"/gradio_api/{name}") for name in CLOSED_WRITES),
    *(("GET", name) for name in CLOSED_ELSEWHERE),
    *(("POST", "/"), ("PUT", "/"), ("DELETE", "/gradio_api/upload"), ("POST", "/config")),
]


@pytest.mark.parametrize(("method", "address"), CLOSED)
def test_what_the_page_does_not_need_is_not_there(house: House, method: str, address: str) -> None:
    reply = ask(house.guard, method, address, cookie=house.anna, body=b"{}" if method == "POST" else b"")
    assert reply.status in (400, 404) and house.gradio.joined == []


def test_nobody_listens_to_or_steers_anothers_page(house: House) -> None:
    def say(route: str, told: Any, cookie: str) -> int:
        return ask(house.guard, "POST", f"/gradio_api/{route}", body=json.dumps(told).encode(), cookie=cookie).status

    assert say("queue/join", {"session_hash": "annas", "data": []}, house.anna) == 200
    assert house.gradio.joined == [b'{"session_hash": "annas", "data": []}'], "and the body arrives as it was sent"
    for address in ("queue/data?session_hash=annas", "heartbeat/annas", "queue/data?session_hash=x&session_hash=annas"):
        assert ask(house.guard, address=f"/gradio_api/{address}", cookie=house.anna).status == 200
        assert ask(house.guard, address=f"/gradio_api/{address}", cookie=house.bert).status == 404
    for route in ("queue/join", "run/predict", "cancel", "reset"):
        assert say(route, {"session_hash": "annas"}, house.bert) == 404
        assert say(route, {"session_hash": "annas"}, house.anna) == 200
    assert ask(house.guard, address="/gradio_api/queue/data", cookie=house.bert).status == 404
    assert say("queue/join", {"session_hash": "x" * 1000}, house.bert) == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 10_000, b'{"session_hash": 7}', b'{"session_hash": null}']
)
def test_bodies_that_name_no_page_are_gradios_to_refuse(house: House, body: bytes) -> None:
    assert ask(house.guard, "POST", "/gradio_api/queue/join", body=body, cookie=house.anna).status == 200
    assert house.gradio.joined == [body]
