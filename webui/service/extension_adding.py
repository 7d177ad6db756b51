"""From extensions that are loaded to one snapshot; one that adds a name which is taken is refused, and no other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from webui.errors import UserError, quoted
from webui.extension import parameters
from webui.pipeline.extended import JobHooks
from webui.pipeline.samplers import SAMPLERS
from webui.pipeline.schedules import SCHEDULES
from webui.service.composed import composed
from webui.service.extension_loading import LOADING, NAMED, Loaded
from webui.service.extension_snapshot import Extensions

JOB_HOOKS = ("patches", "rows", "guide", "denoiser", "finish")
CALLED_LATER = (
    "cards", "prompt_words", "prompt_problems", "read_file", "transform_prompt", "resolve", "metadata", "picture_saved",
)  # fmt: skip
ONE_NAMESPACE = {"samplers": "sampler", "schedules": "schedule", "scripts": "script", "tags": "tag", "networks": "network",
                 "detectors": "detector", "tabs": "tab"}  # fmt: skip
OUR_OWN = {"sampler": SAMPLERS, "schedule": SCHEDULES}


class Adding:
    """Collects what extensions add, one after another, in the order in which they are to follow each other."""

    def __init__(self) -> None:
        self._loaded: dict[str, Loaded] = {}
        self._owners: dict[str, str] = {}

    def add(self, loaded: Loaded) -> None:
        """Add all that one extension has, or nothing: `UserError` where a name is taken, or it needs what is not there."""
        own: dict[str, str] = {}
        for hook, kind in ONE_NAMESPACE.items():
            for name in _names(loaded.added.get(hook, ())):
                other = self._owners.get(f"{kind} {name}") or own.get(f"{kind} {name}")
                if other or name in OUR_OWN.get(kind, {}):
                    by = other or "the program itself"
                    raise UserError(f"The {kind} {quoted(name)} of {loaded.name} is there already, by {by}.")
                own[f"{kind} {name}"] = loaded.name
        sections = {each.name: each.added.get("params", ()) for each in self._loaded.values()}
        composed(sections | {loaded.name: loaded.added.get("params", ())})  # which refuses fields and keys that two have
        self._owners.update(own)
        self._loaded[loaded.name] = loaded

    def snapshot(self, problems: Mapping[str, str]) -> Extensions:
        """All of it, which never changes."""
        every = {hook: {name: each.added[hook] for name, each in self._loaded.items() if each.added.get(hook)}
                 for hook in (*LOADING, *NAMED, "settings")}  # fmt: skip
        named = {hook: {key: value for own in every[hook].values() for key, value in own.items()} for hook in NAMED}
        by_name = {hook: {each.name: each for own in every[hook].values() for each in own} for hook in ("samplers", "scripts")}
        excludes = {name: _excluded(name, self._loaded) for name in self._loaded}
        return Extensions(
            samplers=_fixed(dict(SAMPLERS) | by_name["samplers"]), schedules=_fixed(dict(SCHEDULES) | named["schedules"]),
            scripts=_fixed(by_name["scripts"]), sections=_fixed(every["params"]), settings=_fixed(every["settings"]),
            tags=_fixed({each.name: (owner, each) for owner, own in every["tags"].items() for each in own}),
            networks=_fixed(named["networks"]), detectors=_fixed(named["detectors"]), tabs=_fixed(every["tabs"]),
            panels=_fixed(every["panels"]), routes=_fixed(every["routes"]),
            job_hooks=tuple(job_hooks(each) for each in self._loaded.values() if set(each.hooks) & set(JOB_HOOKS)),
            excludes=_fixed({name: others for name, others in excludes.items() if others}),
            homes=_fixed({name: each.home for name, each in self._loaded.items()}),
            manifests=_fixed({name: each.manifest for name, each in self._loaded.items()}),
            versions=_fixed({name: self._loaded[name].manifest.version for name in sorted(self._loaded)}),
            packages=_fixed({name: each.package for name, each in self._loaded.items()}),
            problems=_fixed(problems), owners=_fixed(self._owners), functions=_fixed({
                hook: _fixed({name: each.hooks[hook] for name, each in self._loaded.items() if hook in each.hooks})
                for hook in CALLED_LATER
            }),
        )  # fmt: skip


def job_hooks(loaded: Loaded) -> JobHooks:
    """What an extension does in jobs."""
    functions = {hook: _by_place(loaded.hooks[hook], hook) for hook in JOB_HOOKS if hook in loaded.hooks}
    defaults = {name: each.default for section in loaded.added.get("params", ())
                for name, each in parameters(section.params).items()}  # fmt: skip
    return JobHooks(name=loaded.name, version=loaded.manifest.version, defaults=MappingProxyType(defaults), **functions)


def _by_place(function: Any, hook: str) -> Any:
    """A hook as the pipeline calls it: with the job, and for two of them with what it is about."""
    second = {"denoiser": "denoise", "finish": "picture"}.get(hook)
    if second is None:
        return lambda job: function(job=job)
    return lambda job, other: function(**{"job": job, second: other})


def _excluded(name: str, loaded: Mapping[str, Loaded]) -> frozenset[str]:
    """The extensions that one cannot be used with in one job, whichever of the two says so."""
    said = loaded[name].manifest.excludes & set(loaded)
    return frozenset(said | {other for other, each in loaded.items() if name in each.manifest.excludes})


def _names(added: Any) -> Iterable[str]:
    return added if isinstance(added, Mapping) else [each.name for each in added]


def _fixed(values: Mapping[Any, Any]) -> Mapping[Any, Any]:
    return MappingProxyType(dict(values))
