"""A tab whose element is never defined, for the JavaScript fails before."""

from __future__ import annotations

from collections.abc import Sequence

from webui.extension import Tab, hook


@hook
def tabs() -> Sequence[Tab]:
    """A tab."""
    return [Tab(name="tab", title="Wrong", element="wrongjs-tab")]
