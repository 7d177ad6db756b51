"""What somebody sends who means no good, and what it must not do: cost others time or memory, or fill the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.asgi import AWAY, HERE, HOST, Crowd, ask, headers_of, scope_of, submit
from tests.api.house import SECRET, House, house
from webui.api.entrance import Entrance
from webui.api.guard import Guard
from webui.api.uploads import BodyLimits
from webui.service.attempts import BY_NAME
from webui.ui.routes import add_routes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house"), page=add_routes) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("shared"), entrance=Entrance(everyone_signs_in=True)) as made:
        yield made


def test_a_form_of_a_thousand_fields_leaves_no_trace_in_the_log(shared: House, caplog: pytest.LogCaptureFixture) -> None:
    fields = {f"field{n}": "x" for n in range(1000)}
    with caplog.at_level(logging.WARNING):
        reply = submit(shared.app, "/login", fields, client=AWAY)
        assert reply.status == 401 and "The name or the password is wrong." in reply.text
        reply = submit(shared.app, "/accounts", fields, cookie=shared.cookies[shared.anna.id])
        assert reply.status == 400 and "load it again" in reply.text
    assert not caplog.records


def test_a_password_can_be_changed_while_others_try_to_guess_it(tmp_path: Path) -> None:
    with house(tmp_path, entrance=Entrance(everyone_signs_in=True)) as home:
        cookie, told = home.cookies[home.anna.id], {"action": "own password", "old": SECRET, "password": "a new secret"}
        for _ in range(BY_NAME + 1):
            reply = submit(home.app, "/login", {"name": "Anna", "password": "x"}, client=AWAY)
        assert reply.status == 429
        reply = submit(home.app, "/accounts", told, cookie=cookie, client=AWAY)
        assert reply.status == 303
        cookies = [value.partition(";")[0] for name, value in reply.headers if name == "set-cookie"]
        assert ask(home.app, "GET", "/x/who", cookie=cookies[0], client=AWAY).status == 200
        assert ask(home.app, "GET", "/x/who", cookie=cookie, client=AWAY).status == 401


def test_few_uploads_come_in_at_a_time(home: House) -> None:
    """Each is held until it is whole, so what one account can fill is the number of them times the largest."""

    async def check() -> None:
        crowd = Crowd(2)
        guard = Guard(crowd, home.studio.users, limits=BodyLimits(uploading=2))
        under_way = [asyncio.create_task(status(guard, "POST", "/x/inputs")) for _ in range(2)]
        await crowd.waiting.wait()
        assert await status(guard, "POST", "/x/inputs") == 429
        assert await status(guard, "POST", "/gradio_api/upload") == 429
        others = [
            asyncio.create_task(status(guard, *rest))
            for rest in (("GET", "/x/inputs", None), ("POST", "/x/inputs", home.cookies[home.anna.id]))
        ]
        await asyncio.sleep(0)
        crowd.leave.set()
        assert [await task for task in (*under_way, *others)] == [200] * 4
        assert await status(guard, "POST", "/x/inputs") == 200

    asyncio.run(asyncio.wait_for(check(), 60))


async def status(app: Any, method: str, address: str, cookie: str | None = None) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope_of(method, address, headers_of(method, HOST, "same", cookie, []), HERE), receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "\\ud800"}', b'{"values": {"prompt": "\\ud800"}}', b'{"values": {"styles": ["\\ud800"]}}',
        b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"values": {"seed": NaN}}', b'{"text": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("address", ["/x/read", "/x/state/txt2img", "/x/defaults/txt2img"])
def test_the_page_takes_only_what_it_can_say_again(home: House, address: str, body: bytes) -> None:
    reply = home.send("POST", address, body, home.anna, headers={"content-type": "application/json"})
    assert reply.status == 400 and reply.json()["error"].endswith(".")


def test_a_vast_text_is_not_read(home: House) -> None:
    reply = home.send("POST", "/x/read", b'{"text": "' + b"a, " * 400_000 + b'"}', home.anna)
    assert reply.status == 400 and "1,048,576 bytes" in reply.json()["error"]


def test_settings_are_no_controls_that_are_remembered(home: House) -> None:
    assert home.post("/x/defaults/settings", {"values": {"tiles": [1]}}, home.anna).status == 404
    assert home.get("/x/defaults/settings", home.anna).status == 404


def test_a_model_file_with_a_name_that_is_no_text_is_listed(home: House) -> None:
    folder = home.studio.root / "models" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    name = b"caf\xe9.safetensors"
    try:
        Path(str(folder), name.decode("utf-8", "surrogateescape")).write_bytes(b"no model")
    except OSError:
        pytest.skip("This file system takes no such name.")
    reply = home.get("/x/models", home.anna)
    assert reply.status == 200
    [found] = [each for each in reply.json()["models"] if "caf" in each["name"]]
    assert found["problem"] and home.get("/x/opening", home.anna).status == 200


@pytest.mark.parametrize(
    "name", ["CF-Ray", "CDN-Loop", "Client-IP", "X-Cluster-Client-IP", "X-Envoy-External-Address", "Tailscale-User-Login"]
)  # fmt: skip
def test_what_some_tunnel_passed_on_does_not_come_from_this_machine(home: House, name: str) -> None:
    assert home.get("/x/who").status == 200
    assert home.get("/x/who", headers={name: "x"}).status == 401
