"""Extensions: found in folders, loaded once, and asked through one snapshot. One that cannot be loaded costs itself only."""

from __future__ import annotations

import importlib.util
import logging
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy

from webui.errors import ModelFileError, UserError, quoted
from webui.extension import API, PROJECT, Hooks, PromptContext
from webui.pipeline.samplers import SAMPLERS, SamplerInfo
from webui.pipeline.schedules import SCHEDULES, Schedule
from webui.scripts import Script

BUNDLED = Path(__file__).resolve().parents[2] / "extensions"
MANIFEST = "extension.toml"
WANTED = ("name", "version", "api", "description")
PACKAGES = "webui_extensions"  # under which their modules are known
LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an extension's folder says of it."""

    name: str
    version: str
    description: str
    folder: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Extensions:
    """A snapshot of what is loaded. `problems` says by folder why something is not; `versions` are those of what is."""

    samplers: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedules: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)  # extensions by the "kind name" of what they added
    hooks: Any = None

    def transform_prompt(self, text: str, context: PromptContext) -> str:
        """The prompt that a text means for one picture, by all extensions, one after another by their names."""
        for hook in reversed(self.hooks.transform_prompt.get_hookimpls()) if self.hooks else ():
            text = hook.function(*(given for name, given in (("text", text), ("context", context)) if name in hook.argnames))
        return text

    def prompt_words(self, folders: Sequence[Path]) -> dict[str, list[str]]:
        """Words that complete what is being typed, by kind."""
        words: dict[str, list[str]] = {}
        for found in self.hooks.prompt_words(folders=folders) if self.hooks else ():
            for kind, own in found.items():
                words.setdefault(kind, []).extend(own)
        return {kind: sorted(set(own), key=str.casefold) for kind, own in words.items()}

    def prompt_problems(self, text: str, folders: Sequence[Path]) -> list[tuple[int, int, str]]:
        """What extensions cannot make sense of in a prompt, from its beginning to its end."""
        found = self.hooks.prompt_problems(text=text, folders=folders) if self.hooks else ()
        return sorted(problem for own in found for problem in own)


@cache
def bundled() -> Extensions:
    """Those that come with the program."""
    return load((BUNDLED,))


def load(folders: Sequence[Path]) -> Extensions:
    """Load every extension in `folders`, by name; what cannot be loaded is left out, with the reason."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    problems: dict[str, str] = {}
    versions: dict[str, str] = {}
    found = _Found()
    places = sorted(place.parent for folder in folders for place in folder.glob(f"*/{MANIFEST}"))
    for place in reversed(places):  # pluggy calls those first that were registered last
        try:
            manifest = read_manifest(place)
            if manifest.name in versions:
                raise UserError(f"The extension {manifest.name} is there twice; remove one of the folders.")
            _register(manager, manifest, found)
        except Exception as error:
            problems[place.name] = str(error) or type(error).__name__
            LOG.warning("The extension in %s is left out: %s", place, problems[place.name], exc_info=True)
            continue
        versions[manifest.name] = manifest.version
    return Extensions(
        samplers=MappingProxyType(dict(SAMPLERS) | found.samplers), schedules=MappingProxyType(dict(SCHEDULES) | found.schedules),
        scripts=MappingProxyType(found.scripts), versions=MappingProxyType(dict(sorted(versions.items()))),
        problems=MappingProxyType(problems), owners=MappingProxyType(found.owners), hooks=manager.hook,
    )  # fmt: skip


def read_manifest(place: Path) -> Manifest:
    """What an extension's folder says of it; `UserError` where that is not enough, or is meant for another program."""
    try:
        said = tomllib.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"The file {MANIFEST} of the extension in {place.name} cannot be read: {error}.") from error
    missing = [name for name in WANTED if not isinstance(said.get(name), str) or not said[name]]
    if missing:
        raise UserError(f"The file {MANIFEST} of the extension in {place.name} must say its {', '.join(missing)}, as text.")
    if said["api"] != API:
        made_for = f"is made for api {quoted(said['api'])}, and this program has {quoted(API)}"
        raise UserError(f"The extension {said['name']} {made_for}; update one of them.")
    if said["name"] != place.name:
        raise UserError(f"The extension in the folder {place.name} calls itself {quoted(said['name'])}; rename one of them.")
    return Manifest(name=said["name"], version=said["version"], description=said["description"], folder=place)


def _register(manager: pluggy.PluginManager, manifest: Manifest, found: _Found) -> None:
    """Load one extension; where that fails nothing of it is left."""
    module = _imported(manifest)
    manager.register(module, manifest.name)
    try:
        manager.check_pending()  # a misspelled hook is an error
        found.add(manifest.name, module)
    except BaseException:
        manager.unregister(name=manifest.name)
        raise


class _Found:
    """What extensions added so far, and whose it is."""

    def __init__(self) -> None:
        self.samplers: dict[str, SamplerInfo] = {}
        self.schedules: dict[str, Schedule] = {}
        self.scripts: dict[str, Script] = {}
        self.owners: dict[str, str] = {}

    def add(self, owner: str, module: ModuleType) -> None:
        """Add all that one extension has, or nothing: `UserError` where a name is taken."""
        own: dict[str, dict[str, Any]] = {
            "sampler": {info.name: info for info in _called(module, "samplers")},
            "schedule": dict(_called(module, "schedules") or {}),
            "script": {script.name: script for script in _called(module, "scripts")},
        }
        for kind, named in own.items():
            for name in named:
                other = self.owners.get(f"{kind} {name}")
                if other or name in {"sampler": SAMPLERS, "schedule": SCHEDULES}.get(kind, {}):
                    raise UserError(f"The {kind} {quoted(name)} of {owner} is there already, by {other or 'the program itself'}.")
        for kind, named in own.items():
            self.owners.update({f"{kind} {name}": owner for name in named})
        self.samplers.update(own["sampler"])
        self.schedules.update(own["schedule"])
        self.scripts.update(own["script"])


def _called(module: ModuleType, name: str) -> Any:
    """What a hook without arguments returns, () where the module has none."""
    function = getattr(module, name, None)
    return function() if function is not None and hasattr(function, f"{PROJECT}_impl") else ()


def _package(name: str) -> str:
    return f"{PACKAGES}_{name}"


def _imported(manifest: Manifest) -> ModuleType:
    """The extension's package, in a namespace of its own."""
    name = _package(manifest.name)
    path = manifest.folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(manifest.folder)])
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"The extension {manifest.name} has no file __init__.py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its relative imports look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
