"""From extensions that are loaded to one snapshot; one that adds a name which is taken is refused, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from webui.errors import UserError, quoted
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.service.composed import composed, composed_tasks
from webui.service.extension_guarded import CALLED_LATER, Ready
from webui.service.extension_loading import LOADING, NAMED, Loaded
from webui.service.extension_manifest import MANIFEST
from webui.service.extension_snapshot import Extensions

ONE_NAMESPACE = {"samplers": "sampler", "schedules": "schedule", "scripts": "script", "tags": "tag", "networks": "network",
                 "detectors": "detector", "tabs": "tab"}  # fmt: skip
OUR_OWN = {"sampler": SAMPLERS, "schedule": SCHEDULES}


class Adding:
    """Collects what extensions add, one after another, in the order in which they are to follow each other.

    `slowly`: parameters, too, are put together one extension at a time, which tells whose does not go with those before.
    """

    def __init__(self, *, slowly: bool = False) -> None:
        self._slowly = slowly
        self._ready: dict[str, Ready] = {}
        self._owners: dict[str, str] = {}

    def add(self, ready: Ready) -> None:
        """Add all that one extension has, or nothing: `UserError` where a name is taken, or it may not add what it does."""
        name, added = ready.loaded.name, ready.added
        if added.get("routes") and "routes" not in ready.loaded.manifest.permissions:
            raise UserError(f'The extension {name} adds addresses, for which its {MANIFEST} must ask the permission "routes".')
        own: dict[str, str] = {}
        for hook, kind in ONE_NAMESPACE.items():
            for thing in _names(added.get(hook, ())):
                other = self._owners.get(f"{kind} {thing}") or own.get(f"{kind} {thing}")
                if other or thing in OUR_OWN.get(kind, {}):
                    raise UserError(f"The {kind} {quoted(thing)} of {name} is there already, by {other or 'the program itself'}.")
                own[f"{kind} {thing}"] = name
        if self._slowly:
            sections = {owner: each.added.get("params", ()) for owner, each in self._ready.items()}
            composed(sections | {name: added.get("params", ())})
        self._owners.update(own)
        self._ready[name] = ready

    def snapshot(self, problems: Mapping[str, str]) -> Extensions:
        """All of it, which never changes."""
        every = {hook: {name: each.added[hook] for name, each in self._ready.items() if each.added.get(hook)}
                 for hook in (*LOADING, *NAMED, "settings")}  # fmt: skip
        named = {hook: {key: value for own in every[hook].values() for key, value in own.items()} for hook in NAMED}
        by_name = {hook: {each.name: each for own in every[hook].values() for each in own} for hook in ("samplers", "scripts")}
        loaded = {name: each.loaded for name, each in self._ready.items()}
        excludes = {name: _excluded(name, loaded) for name in loaded}
        return Extensions(
            samplers=_fixed(dict(SAMPLERS) | by_name["samplers"]), schedules=_fixed(dict(SCHEDULES) | named["schedules"]),
            scripts=_fixed(by_name["scripts"]), sections=_fixed(every["params"]), settings=_fixed(every["settings"]),
            tags=_fixed({each.name: (owner, each) for owner, own in every["tags"].items() for each in own}),
            networks=_fixed(named["networks"]), detectors=_fixed(named["detectors"]), tabs=_fixed(every["tabs"]),
            panels=_fixed(every["panels"]), routes=_fixed(every["routes"]),
            job_hooks=tuple(each.job_hooks for each in self._ready.values() if each.job_hooks is not None),
            excludes=_fixed({name: others for name, others in excludes.items() if others}),
            homes=_fixed({name: each.home for name, each in loaded.items()}),
            manifests=_fixed({name: each.manifest for name, each in loaded.items()}),
            versions=_fixed({name: loaded[name].manifest.version for name in sorted(loaded)}),
            packages=_fixed({name: each.package for name, each in loaded.items()}),
            problems=_fixed(problems), owners=_fixed(self._owners), functions=_fixed({
                hook: _fixed({name: each.functions[hook] for name, each in self._ready.items() if hook in each.functions})
                for hook in CALLED_LATER
            }),
        )  # fmt: skip


def collected(extensions: Sequence[Ready], problems: Mapping[str, str]) -> tuple[Extensions, dict[str, UserError]]:
    """A snapshot of extensions, which are in their order, and why some are left out of it. `problems` are those known before."""
    for slowly in (False, True):
        adding, refused = Adding(slowly=slowly), dict[str, UserError]()
        for each in extensions:
            try:
                adding.add(each)
            except UserError as error:
                refused[each.loaded.name] = error
        made = adding.snapshot({**problems, **{name: str(error) for name, error in refused.items()}})
        try:
            composed_tasks(made)  # which refuses fields and keys that two have
            break
        except UserError:
            if slowly:
                raise
    return made, refused


def _excluded(name: str, loaded: Mapping[str, Loaded]) -> frozenset[str]:
    """The extensions that one cannot be used with in one job, whichever of the two says so."""
    said = loaded[name].manifest.excludes & set(loaded)
    return frozenset(said | {other for other, each in loaded.items() if name in each.manifest.excludes})


def _names(added: Any) -> Iterable[str]:
    return added if isinstance(added, Mapping) else [each.name for each in added]


def _fixed(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(values))
