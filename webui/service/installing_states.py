"""What is known of extensions that are there or may be installed: what each says of itself, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.service.extension_lock import Locked, Source
from webui.service.extension_manifest import PERMISSIONS, Manifest
from webui.service.requirements import Plan

RIGHTS = (
    "An extension runs with your rights: it can read, change and send whatever you can on this machine. What it declares of the "
    "network and of files is its author's word; to routes, JavaScript and a folder of its own it is held. Install what you trust."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """What would be installed: what it says of itself, where it came from, what it would bring and what it would replace.

    `files` are the SHA-256 of its files, `content` that of all; `packages` versions by name of what would be fetched for it.
    `replaces` is the version that is installed now, "" for none, and `lost` what of that was changed by hand since.
    """

    manifest: Manifest
    source: Source
    files: Mapping[str, str]
    content: str
    plan: Plan
    staged: Path
    replaces: str = ""
    same: bool = False
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    @property
    def token(self) -> str:
        """A name for this look, to find it again by."""
        return self.staged.name

    def told(self) -> dict[str, Any]:
        """All of it as plain data, with the sentence that is shown before installing."""
        return {
            **of_manifest(self.manifest), "token": self.token, "source": str(self.source), "kind": self.source.kind,
            "commit": self.source.commit, "content": self.content, "files": sorted(self.files), "replaces": self.replaces,
            "fetches": dict(self.plan.packages), "same": self.same, "lost": list(self.lost), "rights": RIGHTS,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class State:
    """An extension that is there, as far as its folder and the lock say: `entry` is None where it was put there by hand.

    `problem` says why its folder cannot be read, `changes` what in it differs from what was installed.
    """

    name: str
    folder: Path
    manifest: Manifest | None
    enabled: bool
    bundled: bool
    entry: Locked | None = None
    changes: tuple[str, ...] = ()
    problem: str = ""

    def told(self) -> dict[str, Any]:
        """All of it as plain data."""
        source = self.entry.source if self.entry else None
        said = of_manifest(self.manifest) if self.manifest else {"name": self.name}
        return said | {
            "enabled": self.enabled, "bundled": self.bundled, "installed": self.entry is not None, "problem": self.problem,
            "source": str(source) if source else "", "commit": source.commit if source else "", "changes": list(self.changes),
            "content": self.entry.content if self.entry else "", "fetched": dict(self.entry.packages) if self.entry else {},
        }  # fmt: skip


def of_manifest(manifest: Manifest) -> dict[str, Any]:
    """What an extension says of itself, as plain data."""
    return {
        "name": manifest.name, "version": manifest.version, "description": manifest.description, "api": manifest.api,
        "authors": list(manifest.authors), "licence": manifest.licence, "packages": list(manifest.packages),
        "extensions": list(manifest.extensions), "permissions": [each for each in PERMISSIONS if each in manifest.permissions],
    }  # fmt: skip
