"""Run by `python3 launch.py test extensions/template`."""

from __future__ import annotations

from pathlib import Path

from webui.extension.testing import check


def test_it_does_what_it_should_and_leaves_no_trace() -> None:
    """As `extension.toml` says that it is used."""
    check(Path(__file__).parent)


def test_the_sampler_alone_has_an_effect() -> None:
    """Without the parameter."""
    check(Path(__file__).parent, parameters={"sampler": "Template steady"})
