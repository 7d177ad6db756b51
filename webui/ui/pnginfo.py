"""The PNG Info tab: a place for an element of ours, made when the tab is first opened, so that it costs the page nothing."""

from __future__ import annotations

from webui.ui.bridge import element

NAME = "pnginfo"
TITLE = "PNG Info"


def tab() -> None:
    """Lay out the tab."""
    element("webui-pnginfo", NAME)
