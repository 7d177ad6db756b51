"""What is known of each extension, loaded or not: plain data for the Extensions tab and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webui.service.extension_audit import Finding
from webui.service.extension_manifest import Manifest

LOADED = "loaded"
DISABLED = "disabled"  # by an owner
FAILED = "failed"  # it cannot be loaded, or does not go with the others
ENDED = "ended the program"  # it was at work when the program ended without a word
SAFE_MODE = "safe mode"  # the program was started without extensions


@dataclass(frozen=True, kw_only=True)
class Record:
    """One extension: its state, why it is not loaded, and what was noticed of it since it was.

    `milliseconds` is what loading it took, `hooks` are those it has. `problem` is a sentence and `trace` where it came from: of
    what keeps it from being loaded, or else of the last thing that went wrong. `findings` are what it did without a permission.
    `jobs` counts those that still run with it, or with what it was before it was loaded again.
    """

    name: str
    state: str
    folder: Path
    bundled: bool
    manifest: Manifest | None = None
    source: str = ""
    milliseconds: float = 0.0
    hooks: Sequence[str] = ()
    problem: str = ""
    trace: str = ""
    findings: Sequence[Finding] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 0
