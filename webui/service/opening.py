"""The composition root of the engine: from a folder with models to one that takes what a person asked for. Imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor, from_numpy

from webui.engine.allocator import keep_freed_memory
from webui.engine.device import Choice, by_rule, facts
from webui.engine.engine import Engine
from webui.engine.jobs import Source
from webui.engine.limits import USUAL, Limits
from webui.engine.local import LocalNetworks, Room
from webui.engine.memory import free_bytes, weights_budget
from webui.engine.trial import choice_for
from webui.errors import JobError
from webui.facts import memory_sizes
from webui.nets.spec import VAESpec
from webui.params import Params
from webui.pipeline.canvas import canvas_of
from webui.pipeline.extended_line import Reach
from webui.pipeline.generate import Model, Registry, depth_map, enlarge, generate
from webui.pipeline.protocol import EncodePicture
from webui.request import NO_INPUTS, InputFacts, Request, named
from webui.service.decoding import colours
from webui.service.extension_shelf import Shelf
from webui.service.extension_snapshot import Extensions
from webui.service.extensions import of_folder
from webui.service.folders import DATA, cache_folder
from webui.service.further_sources import Further, as_opened, owner_key
from webui.service.given import OpenInput, given, nothing, stored
from webui.service.overrides import FILE, Overrides, override_of
from webui.service.previews import FITTED, Previews
from webui.service.requests import Resolver
from webui.tasks import EXTRAS, MAP
from webui.weights.families import Override
from webui.weights.headers import read_header
from webui.weights.published import published_shapes
from webui.weights.settling import PREDICTIONS, settled
from webui.weights.source import ModelSource, VAESource, open_model, open_vae

DEVICES = "devices.json"


@dataclass(kw_only=True, eq=False)
class Service:
    """What people use: parameters in, jobs of the engine out."""

    resolver: Resolver
    cache: Path
    engine: Engine = field(init=False)
    exact: bool = False
    open_input: OpenInput = nothing  # the pictures that requests name
    memory_megabytes: int = 0  # that weights may take on the device; 0: what is sensible of what is free
    _networks: LocalNetworks = field(init=False)
    _sources: dict[str, ModelSource] = field(default_factory=dict)  # of models, by the networks' names for them
    _vaes: dict[tuple[str, VAESpec], VAESource] = field(default_factory=dict)  # by name, and in place of which
    _further: Further = field(init=False)
    _published: tuple[ModelSource, Mapping[str, tuple[int, ...]]] | None = None  # of the model that was last asked about

    def __post_init__(self) -> None:
        keep_freed_memory()
        choice = partial(choice_for, memory=self.cache / DEVICES, exact=self.exact)
        device = by_rule(facts(), exact=self.exact).device
        room = Room(weights=weights_budget(free_bytes(device, *memory_sizes()), self.memory_megabytes))
        self._further = Further(self.resolver.networks, device)
        self._networks = LocalNetworks(
            self._sources.__getitem__, choice, open_vae=self._open_vae, open_other=self._further.open,
            other_choice=Choice(device=device), room=room,
        )
        preview = Previews(self.resolver.path_of, self._encode, self.cache / FITTED)
        self.engine = Engine(self._start, self._networks, preview=preview, limits=limits_on(device))

    @property
    def registry(self) -> Registry:
        """What jobs that begin now may name, and what extensions do in them; a job keeps the one that it began with."""
        return registry_of(self.resolver.extensions)

    def request(self, params: Params, inputs: Mapping[str, InputFacts] = NO_INPUTS) -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        return self.resolver.request(params, inputs)

    def held_networks(self) -> list[tuple[str, Any]]:
        """The networks that are held as their files have them, named; for whoever compares their weights while nothing runs."""
        return [(str(key), network) for key, network in self._networks.holding.residency.plain()]

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
        """One generation a picture. Runs in the engine's thread, which decodes what is given and opens the models."""
        extensions = self.resolver.extensions
        require(extensions, request)
        pictures = [request.picture(index) for index in range(request.count)]
        brought = given(request, self.open_input)
        if request.task == EXTRAS:
            upscalers = tuple(self._further.name(request, each) for each in ("upscaler", "upscaler_2"))
            return [enlarge(each, brought, self._further.device, upscalers=upscalers) for each in pictures]
        model = self._describe(request) if request.model else None
        own = self._sources[model.name] if model is not None else None
        estimator = self._further.name(request, "estimator", model, own)
        if request.task == MAP:
            return [depth_map(each, brought, self._further.device, estimator=estimator) for each in pictures]
        assert model is not None
        refiner = self._describe(_second(request)) if request.refiner else None
        vae = self._name_vae(request, model.spec.vae) if request.vae else ""
        device = self._networks.device_of(model.name)
        canvas = cache(lambda: canvas_of(request, brought))  # made when the first picture begins, for all of them
        second = request.second() if request.hires else None
        larger = self._describe(second) if second is not None and request.hires["model"] else None
        upscaler = self._further.name(second, "upscaler") if second is not None else ""
        registry, reach = registry_of(extensions), self._reach(extensions)
        return [
            extensions.during(request, generate(
                each, model, registry, device=device, refiner=refiner, vae=vae, given=brought, estimator=estimator,
                canvas=canvas, larger=larger, upscaler=upscaler, reach=reach,
            ))
            for each in pictures
        ]  # fmt: skip

    def _reach(self, extensions: Extensions) -> Reach:
        """What extensions reach in a job that begins with these."""

        def network(name: str) -> str:
            owner = extensions.owners.get(owner_key(name), "")
            return self._further.added(name, extensions.networks, extensions.packages.get(owner, ""))

        return Reach(
            files=self.resolver.files, picture=self._picture, weights=self._shapes, network=network,
            detectors=extensions.detectors,
        )  # fmt: skip

    def _picture(self, digest: str) -> Tensor:
        """A picture that was brought, uint8 RGBA [4, H, W]."""
        return from_numpy(colours(self.open_input(digest)).transpose(2, 0, 1).copy())

    def _shapes(self, network: str) -> Mapping[str, tuple[int, ...]]:
        """The weights of a model that patches may be about."""
        source = self._sources[network]
        if self._published is None or self._published[0] is not source:
            self._published = source, published_shapes(source.spec, source.shapes)
        return self._published[1]

    def _describe(self, request: Request) -> Model:
        """The request's model, named with its hash and what was set for it: a file that was replaced is another model."""
        path = self.resolver.file_of(request)
        said = f" as {json.dumps(dict(request.override), sort_keys=True)}" if request.override else ""
        name = named(request.model, request.model_hash) + said
        source = self._sources.get(name)
        if source is None or source.path != path or not as_opened(source):  # it may have been renamed or copied again since
            source = self._sources[name] = self._open(path, override_of(request.override), request.model_hash)
        return Model(name=name, spec=source.spec, tokenizers=source.tokenizers)

    def _open(self, path: Path, override: Override | None, digest: str) -> ModelSource:
        """A model's source with nothing left open; its weights are read when they are needed."""
        source = open_model(path, override)
        if not source.undecided:
            return source
        spec = settled(path, read_header(path), source.spec, digest, self.cache / PREDICTIONS)
        return replace(source, spec=spec, undecided=False)

    def _name_vae(self, request: Request, like: VAESpec) -> str:
        """The name of the request's autoencoder, with its hash as models have theirs; what is put in its place is refused."""
        name = named(request.vae, request.vae_hash)
        path = self.resolver.vae_of(request)
        source = self._vaes.get((name, like))
        if source is None or source.path != path or not as_opened(source):
            self._vaes[name, like] = open_vae(path, like)
        return name

    def _encode(self, request: Request, picture: Tensor) -> Tensor:
        """The latent of a picture by the request's model. For the engine's thread."""
        return self._networks.encode_picture(EncodePicture(picture, network=self._describe(request).name))

    def _open_vae(self, name: str, like: VAESpec) -> VAESource:
        return self._vaes[name, like]


def require(extensions: Extensions, request: Request) -> None:
    """Raise `JobError` where an extension that takes part in a job is not loaded any more: its pictures would be others."""
    for name in request.extensions:
        if name not in extensions.versions:
            raise JobError(f"The extension {name}, which takes part in this job, is not loaded; enable it, or leave it out.")


def registry_of(extensions: Extensions) -> Registry:
    """What jobs may name, and what extensions do in them, by a snapshot."""
    return Registry(samplers=extensions.samplers, schedules=extensions.schedules, hooks=extensions.job_hooks)


def limits_on(device: str) -> Limits:
    """How much the engine does at once: a device of its own has the next call waiting, so that no step waits for the host."""
    return USUAL if device == "cpu" else replace(USUAL, in_flight=2)


def _second(request: Request) -> Request:
    """The request as if its refiner were the model."""
    return replace(request, model=request.refiner, model_hash=request.refiner_hash, override=request.refiner_override)


def open_engine(
    root: Path, *, paths: bool = False, exact: bool = False, models_from: Sequence[Path] = (), memory_megabytes: int = 0,
    open_input: OpenInput | None = None, extensions: Shelf | Extensions | None = None,
) -> Service:
    """The service of the models under `root`/models and in `models_from`; nothing is loaded before it is needed.

    What is measured and computed once is kept in `root`/cache. `paths` lets a model be named by the path of a file, which only
    the machine's owner may; `exact` computes in float32 on the CPU, whatever else there is. `memory_megabytes` is what models may
    take on the device, 0 what is sensible of what is free. `open_input` gives the pictures that requests name, if they are not
    those that were brought to the page of this folder. `extensions` are those to use, if not the folder's own.
    """
    cache = cache_folder(root)
    overrides = Overrides(root / DATA / FILE)
    opened = stored(root) if open_input is None else open_input
    resolver = Resolver(
        models_folder=root / "models", cache=cache, others=tuple(models_from), paths=paths, overrides=overrides,
        open_input=opened, extensions=of_folder(root) if extensions is None else extensions,
    )  # fmt: skip
    return Service(resolver=resolver, cache=cache, exact=exact, open_input=opened, memory_megabytes=memory_megabytes)
