"""The page carries our head from its first byte, and nothing that somebody wrote can break out of it."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest

from webui.ui import head

GRADIO = (
    '<!doctype html><html><head><meta charset="utf-8" />\n<meta property="og:image" content="https://elsewhere.example/x.jpg" />'
    '<meta\n\tname="twitter:creator"\n content="@Gradio" />\n<script>window.gradio_config = {};</script></head>'
    "<body><gradio-app></gradio-app></body></html>"
)


class Page:
    """A page that stays as it is."""

    stale = False
    head = "<x-head>"

    def mark(self) -> str:
        """As it is served."""
        return "here.now"

    def renew(self) -> None:
        """Never asked for."""
        raise AssertionError


def ask(kind: bytes = b"text/html; charset=utf-8", path: str = "/", accept: bytes = b"gzip, br") -> tuple[dict[str, str], bytes]:
    """What the middleware makes of Gradio's answer."""
    seen: dict[str, Any] = {}
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        headers = [(b"content-type", kind), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": GRADIO[:50].encode(), "more_body": True})
        await send({"type": "http.response.body", "body": GRADIO[50:].encode()})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"accept-encoding", accept)]}
    with pytest.raises(StopIteration):  # it waits for nothing; a loop may run already, for the browser's sake
        head.Head(app, page=Page(), body="<x-body>")(scope, receive, send).send(None)
    headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return headers, b"".join(message["body"] for message in sent[1:])


def test_our_head_comes_before_gradios_scripts_and_our_body_before_its_own() -> None:
    headers, content = ask(accept=b"br")
    page = content.decode()
    assert page.index("<x-head>") < page.index("<script>") and page.index("<x-body>") < page.index("<gradio-app>")
    assert headers["content-length"] == str(len(content)) and "content-encoding" not in headers


def test_nothing_of_gradios_names_another_address() -> None:
    assert "elsewhere.example" in GRADIO and "elsewhere" not in ask(accept=b"")[1].decode()
    assert "@Gradio" not in ask(accept=b"")[1].decode()


def test_who_takes_compressed_pages_gets_one() -> None:
    headers, content = ask()
    assert headers["content-encoding"] == "gzip" and b"<x-head>" in gzip.decompress(content)


@pytest.mark.parametrize(("path", "kind"), [("/config", b"text/html"), ("/", b"application/json")])
def test_everything_else_passes_as_it_is(path: str, kind: bytes) -> None:
    assert ask(kind, path, b"")[1] == GRADIO.encode()


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "<!--<script>", "\u2028", "ü"])
def test_facts_in_the_page_cannot_end_their_script(text: str) -> None:
    written = head.as_script({"a": text})
    assert json.loads(written) == {"a": text}
    assert not re.search(r"<|\u2028|\u2029", written)


def test_every_style_and_module_is_named_and_there() -> None:
    made = head.head(":root {}", {}, "v1")
    for name in re.findall(r"/x/static/v1/([\w.]+)", made):
        assert (head.STATIC / name).is_file(), name
    named = {path.name for path in head.STATIC.glob("*.css")} | head.modules() | {head.FOR_EXTENSIONS}
    assert set(re.findall(r"/x/static/v1/([\w.]+)", made)) == named


def test_every_module_is_needed_at_once_or_asked_for_later() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in head.STATIC.glob("*.js"))
    later = set(re.findall(r'import\("\./([^"]+)"\)', code))
    known = set().union(*(head.modules(name) for name in (head.ENTRY, *later)))
    assert known == {path.name for path in head.STATIC.glob("*.js")} - {head.EARLY}
    assert "start.js" in later and "canvas.js" not in head.modules()
