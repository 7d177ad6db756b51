"""Making `.venv` hold what is pinned: one launch at a time, and only what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from webui.install import packages
from webui.install.environment import Say, is_ready, locked, venv_problem


def prepare(root: str, pins: Sequence[str], torch: str | None, say: Say) -> None:
    """Make `.venv` hold everything in `pins`; does nothing if it does already.

    Raises SetupError or UserError with a sentence on what to do.
    """
    if is_ready(root, pins, torch):
        return
    packages.require_known_backend(torch)
    packages.require_venv_module()
    with locked(root, say):
        if is_ready(root, pins, torch):  # whoever had the lock did it
            return
        build = packages.choose(root, torch)  # first: a machine that PyTorch has no build for needs no environment
        packages.make_venv(root, venv_problem(root), say)
        packages.install(root, pins, build, say, again=torch is not None)
