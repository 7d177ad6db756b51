"""Loading one extension: its code into a namespace of its own, and what its hooks add, checked before anybody sees it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from types import ModuleType
from typing import Any

import pluggy

from webui.errors import UserError, quoted, unknown
from webui.extension import PROJECT, Home, Hooks, Panel, Route, SamplerInfo, Script, Section, Tab, TagKind
from webui.params import Params
from webui.service.extension_lock import PACKAGES
from webui.service.extension_manifest import Manifest

MODULES = "webui_extensions"  # under which their packages are known
LOADING: Mapping[str, type] = {  # hooks that say what is added, and what they return a list of
    "samplers": SamplerInfo, "scripts": Script, "params": Section, "tags": TagKind, "tabs": Tab, "panels": Panel, "routes": Route,
}  # fmt: skip
NAMED = ("schedules", "networks", "detectors")  # those that return functions by name
Calling = Callable[[str, Callable[[], Any]], Any]  # carries out what a hook, which is named, does


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """An extension whose code is in the program: its `hooks` by name, and what those that are called at once `added`."""

    manifest: Manifest
    home: Home
    package: str
    hooks: Mapping[str, Callable[..., Any]]
    added: Mapping[str, Any] = field(default_factory=dict)
    milliseconds: float = 0.0

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name


def imported(manifest: Manifest) -> ModuleType:
    """The extension's package, in a namespace that no other load of it has or will have.

    What it requires and was installed with it is found behind all that the program has itself.
    """
    importlib.invalidate_caches()  # its files may have been changed since others of them were looked for
    name = next(name for name in _names(manifest.name) if name not in sys.modules)
    path = manifest.folder / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(manifest.folder)])
    if spec is None or spec.loader is None or not path.is_file():
        raise UserError(f"The extension {manifest.name} has no file __init__.py.")
    find_packages(manifest)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its relative imports look it up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        forget(name, manifest)
        raise
    return module


def find_packages(manifest: Manifest) -> None:
    """Have Python look for modules among the packages that were installed for an extension too, after all others."""
    packages = manifest.folder / PACKAGES
    if packages.is_dir() and str(packages) not in sys.path:
        sys.path.append(str(packages))


def package_of(package: str) -> str:
    """The name of the extension whose package is called so."""
    name = package.removeprefix(f"{MODULES}_")
    return name.rpartition("__")[0] if name.rpartition("__")[2].isdigit() else name


def forget(package: str, manifest: Manifest) -> None:
    """Take a package of an extension out of the modules that are known, with all that was installed with it.

    Who still uses any of it keeps it.
    """
    packages = str(manifest.folder / PACKAGES)
    own = [name for name, module in list(sys.modules.items()) if name == package or name.startswith(f"{package}.")
           or (getattr(module, "__file__", None) or "").startswith(packages + os.sep)]  # fmt: skip
    for name in own:
        sys.modules.pop(name, None)
    if packages in sys.path:
        sys.path.remove(packages)


def hooks_of(module: ModuleType, name: str) -> dict[str, Callable[..., Any]]:
    """The hooks of an extension, to be called with all of their arguments by name; a misspelled one is an error."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(module, name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [each for each in vars(Hooks) if not each.startswith("_")]
        wrong = [each for each in vars(module) if manager.parse_hookimpl_opts(module, each) is not None and each not in known]
        why = str(unknown("hook", wrong[0], known)) if wrong else f"it has a hook that does not fit. {error}"
        raise UserError(f"The extension {name} cannot be loaded: {why}") from error
    found = {caller.name: caller.get_hookimpls() for caller in manager.get_hookcallers(module) or ()}
    return {hook: _with_fewer(impls[0].function, impls[0].argnames) for hook, impls in found.items()}


def added_by(hooks: Mapping[str, Callable[..., Any]], home: Home, call: Calling) -> dict[str, Any]:
    """What an extension adds, by hook; `UserError` where a hook returns what it should not."""
    found: dict[str, Any] = {}
    for hook, kind in LOADING.items():
        if hook in hooks:
            found[hook] = _listed(home.name, hook, kind, call(hook, partial(_tuple, hooks[hook], home)))
    for hook in NAMED:
        if hook in hooks:
            found[hook] = _named(home.name, hook, call(hook, partial(_dict, hooks[hook], home)))
    return found


def settings_of(hooks: Mapping[str, Callable[..., Any]], home: Home, call: Calling) -> type[Params] | None:
    """The class of an extension's own settings, None where it has none; `UserError` where it is no such class."""
    if "settings" not in hooks:
        return None
    kind = call("settings", partial(hooks["settings"], home=home))
    if not (isinstance(kind, type) and issubclass(kind, Params)):
        raise _wrong(home.name, "settings", kind, "a class of Params")
    return kind


def _names(name: str) -> Iterator[str]:
    plain = f"{MODULES}_{name}"
    yield plain
    yield from (f"{plain}__{number}" for number in count(2))


def _with_fewer(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    """A function that takes all arguments of its hook and hands on those that it wants."""

    def called(**given: Any) -> Any:
        return function(*(given[name] for name in names))

    return called


def _tuple(hook: Callable[..., Any], home: Home) -> tuple[Any, ...]:
    return tuple(hook(home=home) or ())


def _dict(hook: Callable[..., Any], home: Home) -> dict[Any, Any]:
    return dict(hook(home=home) or {})


def _listed(name: str, hook: str, kind: type, found: tuple[Any, ...]) -> tuple[Any, ...]:
    for each in found:
        if not isinstance(each, kind):
            raise _wrong(name, hook, each, f"a list of {kind.__name__}")
    return found


def _named(name: str, hook: str, found: dict[Any, Any]) -> dict[str, Any]:
    for key, function in found.items():
        if not isinstance(key, str) or not callable(function):
            raise _wrong(name, hook, (key, function), "functions by name")
    return found


def _wrong(name: str, hook: str, given: Any, wanted: str) -> UserError:
    return UserError(f"The hook {hook} of the extension {name} returned {quoted(repr(given))}; it must return {wanted}.")
