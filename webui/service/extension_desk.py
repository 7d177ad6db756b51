"""What the Extensions tab shows and does: what is installed, what is loaded of it, what was looked at and may be installed."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from webui.errors import ExtensionError, NotFound, UserError, quoted
from webui.params import Parameter, parameters
from webui.service import extension_lock
from webui.service.extension_records import Record
from webui.service.extension_shelf import Shelf
from webui.service.extension_snapshot import Extensions
from webui.service.installing import Installer
from webui.service.installing_states import Examined, of_manifest

MOST_LOOKED_AT = 8  # extensions that were brought here and neither installed nor sent away
Plain = dict[str, Any]


class Desk:
    """Extensions as an owner sees them. Safe from any thread; errors are sentences."""

    def __init__(self, shelf: Shelf, installer: Installer) -> None:
        self._shelf = shelf
        self._installer = installer
        self._looked_at: OrderedDict[str, Examined] = OrderedDict()
        self._turn = threading.Lock()

    def list(self) -> list[Plain]:
        """Every extension with all that is known of it."""
        now = self._shelf.now
        states = {state.name: state.told() for state in self._installer.states()}
        return [_shown(record, states.get(record.name, {}), now) for record in self._shelf.records()]

    def enable(self, name: str) -> None:
        """Load an extension, now and at every start."""
        extension_lock.set_disabled(self._installer.data, self._shelf.record(name).name, False)
        self.reload(name)

    def disable(self, name: str) -> None:
        """Take an extension out of use; jobs that run with it end as they began."""
        extension_lock.set_disabled(self._installer.data, self._shelf.record(name).name, True)
        self._shelf.unload(name, wait=False)

    def reload(self, name: str) -> None:
        """Read an extension's files anew; where it cannot be loaded, what is shown of it says why."""
        with contextlib.suppress(ExtensionError):
            self._shelf.load(name)

    def settings(self, name: str, values: Mapping[str, object]) -> None:
        """Set settings of an extension."""
        self._shelf.set_settings(name, dict(values))

    def remove(self, name: str, *, storage: bool, by_hand: bool, cancel: bool) -> None:
        """Remove an extension with all that it brought; with `cancel`, jobs that run with it are cancelled, else waited for."""
        if cancel:
            self._shelf.unload(name, cancel=True, wait=False)
        with told():
            self._installer.remove(name, storage=storage, by_hand=by_hand)

    def index(self, address: str = "") -> Plain:
        """The entries of a list of extensions."""
        found = self._installer.index(address)
        entries = [
            {"name": each.name, "url": each.url, "description": each.description, "tags": list(each.tags), "commit": each.commit}
            for each in found.entries
        ]
        return {"address": found.address, "entries": entries, "left_out": found.left_out}

    def last_index(self) -> str:
        """The address of the list that was read last, "" for none."""
        return extension_lock.index_address(self._installer.data)

    def examine(self, source: str, *, commit: str = "", ref: str = "", called: str = "") -> Plain:
        """Bring an extension here and say what would be installed; nothing of it is run."""
        return self._keep(self._installer.examine(source, commit=commit, ref=ref, called=called))

    def examine_update(self, name: str) -> Plain:
        """The same for what there is now where an extension came from."""
        return self._keep(self._installer.examine_update(name))

    def install(self, token: str) -> str:
        """Install what was looked at; returns its name. Where that fails everything is as it was."""
        found = self._taken(token)
        try:
            with told():
                self._installer.install(found)
        except UserError:
            self._installer.discard(found)
            raise
        return found.name

    def discard(self, token: str) -> None:
        """Send away what was looked at."""
        with contextlib.suppress(NotFound):
            self._installer.discard(self._taken(token))

    def _keep(self, found: Examined) -> Plain:
        with self._turn:
            self._looked_at[found.token] = found
            old = [self._looked_at.popitem(last=False)[1] for _ in range(len(self._looked_at) - MOST_LOOKED_AT)]
        for each in old:
            self._installer.discard(each)
        return found.told()

    def _taken(self, token: str) -> Examined:
        with self._turn:
            found = self._looked_at.pop(token, None)
        if found is None:
            raise NotFound(f"There is nothing to install under {quoted(token)} any more; look at it again.")
        return found


@contextlib.contextmanager
def told() -> Any:
    """What an extension does wrong while it is installed is for whoever installs it to know."""
    try:
        yield
    except ExtensionError as error:
        raise UserError(str(error)) from error


def described(parameter: Parameter) -> Plain:
    """A setting as a field of the page knows it."""
    return {
        "name": parameter.name, "label": parameter.label, "help": parameter.help, "kind": parameter.kind.__name__,
        "optional": parameter.optional, "default": parameter.default, "min": parameter.min, "max": parameter.max,
        "step": parameter.step, "longest": parameter.longest, "unset": parameter.unset, "one_of": list(parameter.one_of),
    }  # fmt: skip


def _shown(record: Record, state: Mapping[str, Any], now: Extensions) -> Plain:
    said = of_manifest(record.manifest) if record.manifest else {"name": record.name}
    kind = now.settings.get(record.name)
    fields = [described(each) for each in parameters(kind).values()] if kind else []
    return {
        **said, "state": record.state, "bundled": record.bundled, "installed": bool(state.get("installed")),
        "source": record.source, "commit": state.get("commit", ""), "content": state.get("content", ""),
        "fetched": state.get("fetched", {}), "changes": state.get("changes", []), "problem": record.problem,
        "trace": record.trace, "milliseconds": record.milliseconds, "hooks": list(record.hooks),
        "adds": _added(record.name, now), "jobs": record.jobs,
        "findings": [f"{each.what} ({each.permission}), in {each.where}" for each in record.findings],
        "settings": {"fields": fields, "values": dict(record.settings)},
    }  # fmt: skip


def _added(name: str, now: Extensions) -> list[str]:
    """What an extension adds, in words."""
    folds = [f"fold {section.title}" for section in now.sections.get(name, ())]
    panels = [f"panel {panel.place}" for panel in now.panels.get(name, ())]
    routes = [f"address {route.path}" for route in now.routes.get(name, ())]
    return [*(what for what, owner in now.owners.items() if owner == name), *folds, *panels, *routes]
