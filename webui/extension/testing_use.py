"""How the test kit uses an extension: as its manifest says, or as far as that can be guessed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import UserError, quoted, unknown
from webui.params import Parameter, parameters
from webui.service.extension_manifest import MANIFEST

if TYPE_CHECKING:
    from webui.service.extensions import Extensions

PROMPT = "a small red ball in front of a large blue cube, grey floor"
KEYS = ("task", "prompt", "plain", "parameters", "make", "changes")


@dataclass(frozen=True, kw_only=True)
class Use:
    """How an extension is used; `guessed` where nobody said it. See this module for the rest."""

    task: str = "txt2img"
    prompt: str = PROMPT
    plain: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    make: str = ""
    changes: bool = True
    guessed: bool = False


def read_use(folder: Path, **changes: Any) -> Use | None:
    """How an extension's manifest says that it is used, with changes; None where neither says anything."""
    said = tomllib.loads((folder / MANIFEST).read_text("utf-8")).get("test")
    table = dict(said) if isinstance(said, dict) else {}
    for key in (*table, *changes):
        if key not in KEYS:
            raise unknown("key of [test]", key, KEYS)
    for key, value in (table | changes).items():
        if not isinstance(value, {"parameters": Mapping, "changes": bool}.get(key, str)):
            raise UserError(f"[test] says {key} = {quoted(repr(value))}; see webui/extension/testing.py for what it may be.")
    return Use(**{**table, **changes}) if table or changes else None


def guessed(extensions: Extensions, name: str) -> Use | None:
    """How an extension that does not say it may be used: with its parameters far from their defaults, and its first sampler."""
    from webui.service.composed import field_name

    found: dict[str, Any] = {}
    for section in extensions.sections.get(name, ()):
        if "txt2img" in section.tasks:
            for parameter in parameters(section.params).values():
                if (value := _far(parameter)) is not None:
                    found[field_name(name, parameter.name)] = value
    added = (each.partition(" ") for each, owner in extensions.owners.items() if owner == name)
    samplers = [name for kind, _, name in added if kind == "sampler"]
    found |= {"sampler": samplers[0]} if samplers else {}
    return Use(parameters=found, guessed=True) if found else None


def _far(parameter: Parameter) -> Any:
    """A value as far from a parameter's default as it goes, None where there is none."""
    if parameter.kind is bool:
        return not parameter.default
    if parameter.kind in (int, float) and parameter.min is not None and parameter.max is not None:
        default = parameter.default if isinstance(parameter.default, (int, float)) else parameter.min
        end = max(parameter.min, parameter.max, key=lambda each: abs(each - default))
        return int(end) if parameter.kind is int else float(end)
    return None
