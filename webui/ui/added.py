"""What extensions bring to the page: tabs, panels, code, styles, as plain data; names of elements are checked, text is text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from webui.extension import Tab
from webui.extension.kinds import PLACES
from webui.service.extension_files import page_files
from webui.service.extensions import Extensions
from webui.ui.areas import GENERATING, Area

ELEMENT = re.compile(r"(?!webui-)[a-z][a-z0-9]*(?:-[a-z0-9]+)+")  # as browsers have it, and none of the page's own
TAB = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
LONGEST_TITLE = 40  # characters


def tabs_of(extensions: Extensions) -> Iterator[tuple[str, Tab]]:
    """The tabs of extensions, each with its owner; those whose names cannot stand in a page are left out."""
    for owner, tabs in extensions.tabs.items():
        for tab in tabs:
            if ELEMENT.fullmatch(tab.element) and TAB.fullmatch(tab.name):
                yield owner, tab


def tab_id(owner: str, tab: Tab) -> str:
    """What the page calls an extension's tab."""
    return f"{owner}--{tab.name}"


def title_of(tab: Tab) -> str:
    """What stands on a tab."""
    return tab.title.strip()[:LONGEST_TITLE] or tab.name


def parts_of(extensions: Extensions) -> dict[str, Any]:
    """What the page's own code loads and makes: addresses of code and styles by extension, and panels in their order."""
    parts = {
        name: {
            "code": [files.address(name, path) for path in files.code],
            "styles": [files.address(name, path) for path in files.styles],
        }
        for name, files in page_files(extensions).items()
    }
    panels = [
        {"extension": owner, "place": panel.place, "element": panel.element, "title": panel.title, "tasks": list(panel.tasks)}
        for owner, own in extensions.panels.items()
        for panel in own
        if panel.place in PLACES and ELEMENT.fullmatch(panel.element)
    ]
    return {"parts": parts, "panels": panels, "cards": bool(extensions.with_hook("cards"))}


def marks_of(extensions: Extensions, areas: Mapping[str, Area], parts: Mapping[str, Any]) -> str:
    """Two hashes with a dot between: how the page is laid out, which a reload brings, and what can be chosen in it."""
    fields = {name: [repr(each) for each in areas[name].parameters().values()] for name in GENERATING}
    folds = {name: [area.folds, dict(area.owners)] for name, area in areas.items()}
    tabs = [(tab_id(owner, tab), title_of(tab), tab.element) for owner, tab in tabs_of(extensions)]
    layout = [parts, fields, folds, tabs]
    choices = [list(extensions.samplers), list(extensions.schedules), list(extensions.scripts), list(extensions.detectors)]
    return f"{_hash(layout)}.{_hash(choices)}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
