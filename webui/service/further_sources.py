"""Networks besides models opened for the engine, under names that change with their files. Imports torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from webui.engine.others import Function, Other
from webui.errors import JobError, UserError, quoted, unknown
from webui.pipeline.model import Model
from webui.request import Request, named
from webui.service.further_networks import FurtherNetworks
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST, OWN_ESTIMATOR
from webui.weights.depth_files import EstimatorSource, open_estimator
from webui.weights.network_file import PART, NetworkFile, OwnNetwork
from webui.weights.source import ModelSource, Source
from webui.weights.upscaler_files import UpscalerSource, open_upscaler

DEPTH, UPSCALER = "depth", "upscaler"  # before a colon in a network's name, and the part that its source has
ADDED = "added"  # before a colon in the name of a network that an extension brought
MOST_ADDED = 64  # of which it is remembered how they are opened
WITHOUT_NETWORK = ("", LANCZOS, NEAREST, *LATENT_UPSCALES)


class Further:
    """Names the further networks of requests for the asks of their generations, and opens them by these names.

    `device` is where they compute. For the engine's thread.
    """

    def __init__(self, networks: FurtherNetworks, device: str) -> None:
        self.device = device
        self._networks = networks
        self._opened: dict[str, Other | Function] = {}
        self._added: OrderedDict[str, Callable[[], Any]] = OrderedDict()

    def name(self, request: Request, field: str, model: Model | None = None, own: ModelSource | None = None) -> str:
        """The name for asks of what a request's field (`estimator`, `upscaler`, `upscaler_2`) says; `own` is its model's source.

        What needs no network keeps the name it has. Raises `ModelFileError` where a file is gone, changed or broken.
        """
        said = getattr(request, field)
        if said in WITHOUT_NETWORK:
            return str(said)
        if said == OWN_ESTIMATOR:
            if model is None or own is None or DEPTH not in own.parts:
                raise JobError(f"The model {quoted(request.model)} has no depth estimator inside; choose another estimator.")
            return self._put(f"{DEPTH}:{model.name}", own, DEPTH)
        part = DEPTH if field == "estimator" else UPSCALER
        if (function := self._networks.function(request, field)) is not None:
            self._opened[f"{part}:{said}"] = function
            return f"{part}:{said}"
        path = self._networks.path(request, field)
        name = f"{part}:{named(said, getattr(request, f'{field}_hash'))}"
        known = self._opened.get(name)
        if isinstance(known, Other) and is_of(known.source, path):
            return name
        source: EstimatorSource | UpscalerSource = open_estimator(path) if part == DEPTH else open_upscaler(path)
        return self._put(name, source, part)

    def added(self, name: str, openers: Mapping[str, Callable[[str], Any]], load: str = "") -> str:
        """The name for asks of a network that an extension brought, such as "classifier:name"; it is opened when first asked.

        `openers` are by the beginnings of names; `load` tells apart what an extension brought each time that it was loaded.
        """
        prefix, _, rest = name.partition(":")
        if prefix not in openers:
            raise unknown("kind of network", prefix, openers)
        own = f"{ADDED}:{name}" + (f" ({load})" if load else "")
        self._added[own] = partial(openers[prefix], rest)
        self._added.move_to_end(own)
        while len(self._added) > MOST_ADDED:
            gone, _ = self._added.popitem(last=False)
            self._opened.pop(gone, None)
        return own

    def open(self, name: str) -> Other | Function:
        """The network of a name that was given."""
        known = self._opened.get(name)
        if name in self._added and not (known is not None and (not isinstance(known, Other) or is_as_it_was(known.source))):
            known = self._opened[name] = other_of(self._added[name](), name)
        if known is None:
            raise JobError(f"There is no network {quoted(name)} here.")
        return known

    def _put(self, name: str, source: Source, part: str) -> str:
        known = self._opened.get(name)
        if not isinstance(known, Other) or known.source is not source:
            self._opened[name] = Other(source=source, part=part)
        return name


def owner_key(name: str) -> str:
    """Under what it is known whose a network is."""
    return f"network {name.partition(':')[0]}"


def other_of(found: Any, name: str) -> Other | Function:
    """What an extension's opener returned as the engine takes it: a `NetworkFile`, a source with one part, or a function."""
    if isinstance(found, NetworkFile):
        return Other(source=OwnNetwork(found), part=PART)
    if isinstance(found, Source) and len(found.parts) == 1:
        return Other(source=found, part=found.parts[0])
    if not callable(found):
        raise UserError(f"The network {quoted(name)} was opened as {quoted(repr(found))}, expected a NetworkFile or a function.")
    function: Function = found
    return function


def is_of(source: object, path: Path) -> bool:
    """Whether a source was opened from this path, and its files are as they were."""
    return isinstance(source, Source) and source.path == path and as_opened(source)


def is_as_it_was(source: object) -> bool:
    """Whether what a network was opened from is still the same."""
    return not isinstance(source, (Source, OwnNetwork)) or as_opened(source)


def as_opened(source: Source | OwnNetwork) -> bool:
    """Whether all files of a source are still as they were when it was opened; else they are opened anew."""
    try:
        found = {path: path.stat() for path in source.stamps}
    except OSError:
        return False
    return all((found[path].st_size, found[path].st_mtime_ns) == stamp for path, stamp in source.stamps.items())
