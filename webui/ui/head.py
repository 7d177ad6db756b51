"""What Gradio's page gets before it is sent: our styles and code at its head, and what is seen until Gradio has drawn itself.

Gradio adds such things only once its own code runs, which is after the first paint; here they are in the file itself.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webui.params import Parameter
from webui.ui.areas import OWNERS, SETTINGS, Area
from webui.ui.controls import described
from webui.ui.serving import Served

TITLE = "Stable Diffusion web UI"
BRAND = "Stable Diffusion"
STATIC = Path(__file__).parent / "static"
STYLES = (
    "page.css", "parts.css", "controls.css", "fields.css", "prompt.css", "stage.css", "queue.css", "gallery.css", "dialogs.css",
    "models.css", "picker.css", "canvas.css", "compare.css", "start.css", "pnginfo.css", "pnginfotable.css", "notes.css",
    "scripts.css", "extensions.css", "drawer.css",
)  # fmt: skip
ENTRY = "main.js"
FOR_EXTENSIONS = "extension.js"  # what the JavaScript of extensions imports as "webui"
NO_PARTS: Mapping[str, Any] = {"parts": {}, "panels": [], "cards": False, "marks": "."}
OURS = "/x/"  # where the addresses begin that answer to the page's own code
MARK = b"x-webui-page"  # which page is served: one that is open and has another mark offers to be loaded again
EARLY = "theme.js"  # runs before the page is painted
IMPORT = re.compile(r'^(?:import|export) (?:[^;"]* from )?"\./([^"]+)"', re.MULTILINE)
OWN_META = re.compile(r'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>')  # Gradio's advertisement, with an address beyond ours


class Head:
    """ASGI middleware: changes the page itself, says with every answer of ours which page is served, passes the rest through."""

    def __init__(self, app: ASGIApp, page: Served, body: str) -> None:
        self._app = app
        self._page = page
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the page comes back changed."""
        if scope["type"] == "http" and scope["path"].startswith(OURS):
            await self._app(scope, receive, self._marked(send))
            return
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        if self._page.stale:
            await run_in_threadpool(self._page.renew)
        accepted = Headers(scope=scope).get("accept-encoding", "")
        plain = [(key, value) for key, value in scope["headers"] if key.lower() != b"accept-encoding"]
        started: Message = {}
        parts: list[bytes] = []

        async def gather(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = MutableHeaders(raw=list(started["headers"]))
            content = b"".join(parts)
            if headers.get("content-type", "").startswith("text/html"):
                content = changed(content.decode(), self._page.head, self._body).encode()
                if "gzip" in accepted:
                    content = gzip.compress(content, compresslevel=5)
                    headers["content-encoding"] = "gzip"
                headers["vary"] = "accept-encoding"
                headers["content-length"] = str(len(content))
            await send({**started, "headers": headers.raw})
            await send({"type": "http.response.body", "body": content})

        await self._app({**scope, "headers": plain}, receive, gather)

    def _marked(self, send: Send) -> Send:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self._page.stale:
                    await run_in_threadpool(self._page.renew)
                message = {**message, "headers": [*message["headers"], (MARK, self._page.mark().encode())]}
            await send(message)

        return marked


def changed(page: str, head: str, body: str) -> str:
    """Gradio's page with ours in it: the head before its first script, so that ours is there first, the body before its own."""
    page = OWN_META.sub("", page)
    page = page.replace("<script", head + "<script", 1)
    return page.replace("<gradio-app", body + "<gradio-app", 1)


def head(variables: str, config: Mapping[str, Any], version: str) -> str:
    """Styles, code and facts for the head.

    `config` is what the page's code knows from the beginning; `version` is that of the static files, part of their addresses.
    """
    theme = (STATIC / EARLY).read_text(encoding="utf-8")
    files = f"/x/static/{version}"
    return "\n".join([
        f"<title>{html.escape(TITLE)}</title>",
        '<meta name="color-scheme" content="light dark">',
        f"<style>{variables}</style>",
        *(f'<link rel="stylesheet" href="{files}/{name}">' for name in STYLES),
        f"<script>{theme}</script>",
        f'<script type="importmap">{as_script({"imports": {"webui": f"{files}/{FOR_EXTENSIONS}"}})}</script>',
        f'<script type="application/json" id="webui-config">{as_script(config)}</script>',
        *(f'<link rel="modulepreload" href="{files}/{name}">' for name in sorted(modules() - {ENTRY})),
        f'<script type="module" src="{files}/{ENTRY}"></script>',
        "",
    ])  # fmt: skip


def modules(entry: str = ENTRY) -> set[str]:
    """The files of a module and of all that it imports: what the page needs at once. What it asks for later is not among them."""
    found: set[str] = set()
    left = [entry]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += IMPORT.findall((STATIC / name).read_text(encoding="utf-8"))
    return found


def body() -> str:
    """What is on the page besides Gradio: the bar at the top, where things are said, the full view."""
    return (
        f'<header class="w-top"><h1 class="w-brand"><span aria-hidden="true"></span>{html.escape(BRAND)}</h1>'
        '<webui-account></webui-account></header>'
        '<div id="w-said"><div id="w-status" class="w-unseen" role="status" aria-live="polite"></div>'
        '<div id="w-alert" class="w-unseen" role="alert"></div><div id="w-notes"></div></div>'
        '<webui-viewer></webui-viewer><div id="w-waiting" aria-hidden="true"></div>'
        '<noscript><p class="w-noscript">This page needs JavaScript.</p></noscript>'
    )


def config(
    areas: Mapping[str, Area], hint: Mapping[str, Any], styles: Sequence[Parameter], extensions: Mapping[str, Any] = NO_PARTS
) -> dict[str, Any]:
    """What the page's code knows of the controls; `styles` are further ones of areas that have styles.

    `extensions` are what extensions bring. "generating" are the tabs that make pictures: their tasks, and the pictures that they
    start from; "folds" are groups of parameters whose fields are the page's own.
    """
    described_areas = {
        name: [
            described(each)
            | {"owner": name == SETTINGS.name and each.name in OWNERS, "own": each.name not in area.with_gradio()}
            | {"extension": area.owners.get(each.name, "")}
            for each in (*area.parameters().values(), *(styles if area.styled else []))
        ]
        for name, area in areas.items()
    }
    generating = {name: list(area.inputs) for name, area in areas.items() if area.run}
    folds = {
        name: [
            {
                "title": title, "names": [each.name for each in group], "beside": title in area.beside,
                "extension": area.owners.get(group[0].name, ""),
            }
            for title, group in area.folded().items()
        ]
        for name, area in areas.items()
        if area.run
    }
    return {
        "title": TITLE, "areas": described_areas, "generating": generating, "folds": folds, "hint": hint,
        "extensions": extensions,
    }  # fmt: skip


def as_script(value: Any) -> str:
    """JSON that cannot end the script it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
