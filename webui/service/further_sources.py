"""Depth estimators and upscalers opened for the engine, under names that change with their files. Imports torch."""

from __future__ import annotations

from pathlib import Path

from webui.engine.others import Function, Other
from webui.errors import JobError, quoted
from webui.pipeline.model import Model
from webui.request import Request, named
from webui.service.further_networks import FurtherNetworks
from webui.tasks import LANCZOS, LATENT_UPSCALES, NEAREST, OWN_ESTIMATOR
from webui.weights.depth_files import EstimatorSource, open_estimator
from webui.weights.source import ModelSource, Source
from webui.weights.upscaler_files import UpscalerSource, open_upscaler

DEPTH, UPSCALER = "depth", "upscaler"  # before a colon in a network's name, and the part that its source has
WITHOUT_NETWORK = ("", LANCZOS, NEAREST, *LATENT_UPSCALES)


class Further:
    """Names the further networks of requests for the asks of their generations, and opens them by these names.

    `device` is where they compute. For the engine's thread.
    """

    def __init__(self, networks: FurtherNetworks, device: str) -> None:
        self.device = device
        self._networks = networks
        self._opened: dict[str, Other | Function] = {}

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

    def open(self, name: str) -> Other | Function:
        """The network of a name that was given."""
        if name not in self._opened:
            raise JobError(f"There is no network {quoted(name)} here.")
        return self._opened[name]

    def _put(self, name: str, source: Source, part: str) -> str:
        known = self._opened.get(name)
        if not isinstance(known, Other) or known.source is not source:
            self._opened[name] = Other(source=source, part=part)
        return name


def is_of(source: object, path: Path) -> bool:
    """Whether a source was opened from this path, and its files are as they were."""
    return isinstance(source, Source) and source.path == path and as_opened(source)


def as_opened(source: Source) -> bool:
    """Whether all files of a source are still as they were when it was opened; else they are opened anew."""
    try:
        found = {path: path.stat() for path in source.stamps}
    except OSError:
        return False
    return all((found[path].st_size, found[path].st_mtime_ns) == stamp for path, stamp in source.stamps.items())
