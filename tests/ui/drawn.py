"""Pictures that tests bring, and what a mouse does on a canvas."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page


def content(pixels: Any, kind: str = "PNG") -> bytes:
    """The file of a picture, uint8 [H, W, 3], or of a map, uint16 [H, W]."""
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, kind)
    return held.getvalue()


def file(name: str, data: bytes, kind: str = "image/png") -> dict[str, Any]:
    """A file as a browser is given one."""
    return {"name": name, "mimeType": kind, "buffer": data}


def stripes(width: int, height: int) -> Any:
    """A picture in which every place differs from its neighbours."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x * 7 + y * 3) % 256], -1).astype(np.uint8)


def ramp(width: int, height: int) -> Any:
    """A depth map of 16 bits, near at its bottom."""
    return np.broadcast_to(np.linspace(0, 65535, height).astype(np.uint16)[:, None], (height, width)).copy()


def stroke(page: Page, area: str, start: tuple[float, float], end: tuple[float, float], *, name: str = "picture") -> None:
    """Draw a line with the mouse from one place of the picture to another, both in parts of its sides."""
    ground = page.locator(f"#{area}_{name} .w-canvas-ground")
    ground.scroll_into_view_if_needed()
    box = ground.bounding_box()
    shape = page.evaluate("area => webui.tabs[area].inputs.values.picture", area)
    assert box is not None
    scale = min(box["width"] / shape["width"], box["height"] / shape["height"])
    left = box["x"] + (box["width"] - shape["width"] * scale) / 2
    top = box["y"] + (box["height"] - shape["height"] * scale) / 2
    places = [(left + x * shape["width"] * scale, top + y * shape["height"] * scale) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=8)
    page.mouse.up()
