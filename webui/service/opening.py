"""The composition root of the engine: from a folder with models to one that takes what a person asked for. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from webui.engine.engine import Engine, Limits
from webui.engine.jobs import Source
from webui.engine.trial import choice_for
from webui.params import Txt2Img
from webui.pipeline.generate import Model, Registry, generate
from webui.request import Request
from webui.service.folders import cache_folder
from webui.service.networks import LazyNetworks
from webui.service.previews import Previews
from webui.service.requests import Resolver
from webui.weights.model import LoadedModel, load

DEVICES = "devices.json"


@dataclass(kw_only=True, eq=False)
class Service:
    """What people use: parameters in, jobs of the engine out."""

    resolver: Resolver
    cache: Path
    engine: Engine = field(init=False)
    exact: bool = False
    limits: Limits = field(default_factory=Limits)
    registry: Registry = field(default_factory=Registry)
    _networks: LazyNetworks = field(init=False)
    _files: dict[str, Path] = field(default_factory=dict)  # of the models, by the names that the networks have for them
    _described: dict[str, Model] = field(default_factory=dict)
    _fresh: dict[str, LoadedModel] = field(default_factory=dict)  # loaded to be described; the networks take it from here

    def __post_init__(self) -> None:
        choice = partial(choice_for, memory=self.cache / DEVICES, exact=self.exact)
        self._networks = LazyNetworks(self._load, choice)
        self.engine = Engine(self._start, self._networks, preview=Previews(self.resolver.path_of), limits=self.limits)

    def request(self, params: Txt2Img) -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        return self.resolver.request(params)

    def close(self) -> None:
        """End the engine after the call it is in; jobs that have not ended are cancelled."""
        self.engine.close()
        self.engine.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is KeyboardInterrupt:  # not waited for here; but Python's own end waits, so who is in a hurry leaves by os._exit
            self.engine.close()
        else:
            self.close()

    def _start(self, request: Request) -> Sequence[Source]:
        """One generation a picture. Runs in the engine's thread, which loads the model."""
        model = self._describe(request)
        device = self._networks.device_of(model.name)
        second = replace(request, model=request.refiner, model_hash=request.refiner_hash)
        refiner = self._describe(second) if request.refiner else None
        return [
            generate(request.picture(index), model, self.registry, device=device, refiner=refiner)
            for index in range(request.count)
        ]

    def _describe(self, request: Request) -> Model:
        """The request's model, named with its hash: a file that was replaced is another model."""
        path = self.resolver.file_of(request)
        name = f"{request.model} [{request.model_hash[:10]}]" if request.model_hash else request.model
        if name not in self._described:
            self._files[name] = path
            loaded = load(path)
            self._fresh = {name: loaded}
            self._described[name] = Model(name=name, spec=loaded.spec, tokenizers=loaded.tokenizers)
        return self._described[name]

    def _load(self, name: str) -> LoadedModel:
        return self._fresh.pop(name, None) or load(self._files[name])


def open_engine(root: Path, *, paths: bool = False, exact: bool = False, models_from: Sequence[Path] = ()) -> Service:
    """The service of the models under `root`/models and in `models_from`; nothing is loaded before it is needed.

    What is measured and computed once is kept in `root`/cache. `paths` lets a model be named by the path of a file, which only
    the machine's owner may; `exact` computes in float32 on the CPU, whatever else there is.
    """
    cache = cache_folder(root)
    resolver = Resolver(models_folder=root / "models", cache=cache, others=tuple(models_from), paths=paths)
    return Service(resolver=resolver, cache=cache, exact=exact)
