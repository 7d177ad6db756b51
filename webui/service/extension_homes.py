"""What is an extension's own: a folder to write to, and the settings that an owner gave it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from webui.errors import StorageError, UserError
from webui.extension import Home, parameters
from webui.params import Params
from webui.service.extension_manifest import Manifest
from webui.weights import remembered

STORAGE = "extensions"  # in the data folder: one folder for each
SETTINGS = "extension_settings.json"  # in the data folder: values by extension and field


class Homes:
    """Gives extensions their homes below a data folder; `make`: their folders are there before they are needed."""

    def __init__(self, data: Path, *, make: bool = True) -> None:
        self._data = data
        self._make = make

    def of(self, manifest: Manifest, refresh: Callable[[], None]) -> Home:
        """The home of an extension, whose settings are not known yet; where no folder can be made, whoever writes will say so."""
        folder = self._data / STORAGE / manifest.name
        if self._make:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        return Home(name=manifest.name, version=manifest.version, folder=folder, refresh=refresh)

    def furnished(self, home: Home, kind: type[Params] | None) -> Home:
        """The home with its settings: those that were set and still mean something, the others at their defaults."""
        if kind is None:
            return home
        settings = {name: parameter.default for name, parameter in parameters(kind).items()}
        for name, value in self._stored(home.name).items():
            with contextlib.suppress(UserError):  # another version's, perhaps
                if name in settings:
                    settings[name] = getattr(kind.read({**settings, name: value}), name)
        return replace(home, settings=MappingProxyType(settings))

    def set(self, name: str, kind: type[Params], values: Mapping[str, Any]) -> None:
        """Keep settings of an extension; `UserError` where one means nothing, `StorageError` where they cannot be written."""
        known = {field: value for field, value in self._stored(name).items() if field in parameters(kind)}
        made = kind.read({**known, **values})
        kept = {field: getattr(made, field) for field in parameters(kind)}
        path = self._data / SETTINGS
        try:
            remembered.replace(path, {**remembered.read(path), name: kept})
        except OSError as error:
            raise StorageError(f"{path} could not be written ({error.strerror}); make room and try again.") from error

    def _stored(self, name: str) -> dict[str, Any]:
        found = remembered.read(self._data / SETTINGS).get(name)
        return found if isinstance(found, dict) else {}
