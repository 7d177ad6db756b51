"""A panel at every place, and a parameter in two tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webui.extension import Panel, Params, Section, hook, param


@dataclass(frozen=True, kw_only=True)
class Own(Params):
    """One text."""

    word: str = param("", "Word", longest=20, help="Anything.")


@hook
def params() -> Sequence[Section]:
    """A fold in two tabs."""
    return [Section(title="Parts", params=Own, tasks=("txt2img", "img2img"))]


@hook
def panels() -> Sequence[Panel]:
    """One at each place; the first in a fold."""
    return [
        Panel(place="below prompt", element="parts-prompt", title="Parts <b>here</b>"),
        Panel(place="below picture", element="parts-picture", tasks=("img2img",)),
        Panel(place="picture details", element="parts-details"),
        Panel(place="settings", element="parts-settings", tasks=("txt2img",)),
    ]
