"""A page with nothing on it but elements of ours: what they need of the rest of the page are its colours, and no more."""

from __future__ import annotations

import base64
import contextlib
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from tests.ui.person import LOOPBACK, PATIENCE
from webui.ui.head import STATIC
from webui.ui.theme import variables

DESKTOP: dict[str, Any] = {"viewport": {"width": 1000, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 3,
}  # fmt: skip
SHEETS = ("page.css", "parts.css", "picker.css", "canvas.css", "compare.css")
CODE = """
import "/picker.js"; import "/canvas.js"; import "/compare.js";
const taken = [];  // files that were brought, as {size, name}
let refusal = "";  // what the program says instead of taking one
let held = null;   // while it is a promise, the program does not answer
async function upload(file) {
  taken.push({size: file.size, name: file.name ?? ""});
  await held;
  if (refusal) throw Object.assign(new Error(refusal), {status: 400});
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  const {width, height} = await createImageBitmap(file);
  return {digest: [...bytes].map(each => each.toString(16).padStart(2, "0")).join(""), width, height};
}
window.program = {
  taken,
  refuse: sentence => { refusal = sentence; },
  hold: () => { let go; held = new Promise(resolve => { go = resolve; }); window.program.go = () => { held = null; go(); }; },
};
window.events = [];
for (const each of document.querySelectorAll("webui-picker, webui-canvas")) {
  each.upload = upload;
  each.inspect = async file => ({text: (await file.text()).match(/a ball\\nSteps: [\\w :,]+Seed: \\d+/)?.[0] ?? ""});
  for (const kind of ["change", "parameters", "stroke"]) {
    each.addEventListener(kind, event => window.events.push([kind, event.detail ?? null]));
  }
}
document.documentElement.dataset.ready = "true";
"""


class Handler(SimpleHTTPRequestHandler):
    """Serves the static files, and one page for every other address."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012
    page = b""

    def do_GET(self) -> None:
        """A file or the page."""
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(body: str) -> Iterator[str]:
    """Serve a page with that body; gives its address."""
    sheets = "".join(f'<link rel="stylesheet" href="/{name}">' for name in SHEETS)
    page = (
        f'<!doctype html><html lang="en"><head><title>Bare</title><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><style>{variables()}</style>{sheets}<script src="/theme.js"></script></head>'
        f'<body style="margin: 0">{body}<script type="module">{CODE}</script></body></html>'
    )
    handler = type("Page", (Handler,), {"page": page.encode()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """The page in a browser of its own. Whatever goes wrong in it fails the test."""
    problems: list[str] = []
    context: BrowserContext = browser.new_context(**{"reduced_motion": "reduce"} | DESKTOP | options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(f"error in the page: {error}"))
    page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: problems.append(asked.url) if not _is_ours(asked.url) else None)
    try:
        page.goto(address)
        page.wait_for_selector("html[data-ready=true]", state="attached")
        yield page
    finally:
        context.close()
    assert problems == []


def _is_ours(url: str) -> bool:
    return url.startswith(("data:", "blob:")) or any(url.startswith(f"http://{host}") for host in LOOPBACK)


def painted(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture in which each place looks different."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x // 16 + y // 16 + seed) % 2 * 90 + 60]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def file_of(folder: Path, picture: Image.Image, name: str = "picture.png", **options: Any) -> Path:
    """A picture as a file."""
    path = folder / name
    picture.save(path, **options)
    return path


def give(page: Page, path: Path | list[Path], element: str = "webui-canvas") -> None:
    """Choose files for an element, and wait until the program has them."""
    page.set_input_files(f"{element} > input[type=file] >> nth=0", path)
    page.evaluate("name => document.querySelector(name).settled()", element)


def image_of(page: Page, layer: str = "mask") -> Image.Image | None:
    """What is drawn on a layer, as the file that it becomes; None where it becomes none."""
    text = page.evaluate(
        "async layer => { const file = await document.querySelector('webui-canvas').blob(layer); if (!file) return null;"
        " const reader = new FileReader(); reader.readAsDataURL(file); await new Promise(done => { reader.onload = done; });"
        " return reader.result; }",
        layer,
    )
    return None if text is None else Image.open(io.BytesIO(base64.b64decode(text.split(",")[1])))


def mask_of(page: Page) -> NDArray[np.uint8]:
    """The mask's values."""
    image = image_of(page)
    assert image is not None and image.mode == "L"
    return np.asarray(image)


def as_transfer(path: Path, kind: str = "image/png") -> str:
    """An expression that makes a DataTransfer with a file in it."""
    content = base64.b64encode(path.read_bytes()).decode()
    return (
        "(() => { const transfer = new DataTransfer();"
        f" const bytes = Uint8Array.from(atob('{content}'), each => each.charCodeAt(0));"
        f" transfer.items.add(new File([bytes], '{path.name}', {{type: '{kind}'}})); return transfer; }})()"
    )
