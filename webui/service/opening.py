"""The composition root: from a folder with models to an engine that takes what a person asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from webui.engine.engine import Engine, Limits
from webui.engine.jobs import Source
from webui.engine.trial import choice_for
from webui.errors import ModelFileError
from webui.params import Txt2Img
from webui.pipeline.generate import Model, Registry, generate
from webui.pipeline.samplers import resolve as resolve_sampler
from webui.request import ModelFacts, Request, SamplerFacts, resolve
from webui.service.checkpoints import Checkpoint, choose, find
from webui.service.networks import LazyNetworks
from webui.service.previews import Previews
from webui.weights import hashes
from webui.weights.families import DEFAULTS_KEY, detect
from webui.weights.files import read_header
from webui.weights.model import LoadedModel, load

RANDOM_SEEDS = 2**32  # as other programs draw them
HASHES = "hashes.json"
DEVICES = "devices.json"


def random_seed() -> int:
    """A seed nobody chose."""
    return random.SystemRandom().randrange(RANDOM_SEEDS)


@dataclass(kw_only=True, eq=False)
class Service:
    """What people use: parameters in, jobs of the engine out. `paths` lets a model be named by the path of a file."""

    models: Path
    cache: Path
    engine: Engine = field(init=False)
    paths: bool = False
    exact: bool = False
    limits: Limits = field(default_factory=Limits)
    registry: Registry = field(default_factory=Registry)
    seed: Callable[[], int] = random_seed
    _known: dict[str, Path] = field(default_factory=dict)  # models by the names that requests give them
    _networks: LazyNetworks = field(init=False)
    _described: dict[str, Model] = field(default_factory=dict)
    _fresh: dict[str, LoadedModel] = field(default_factory=dict)  # loaded to be described; the networks take it from here

    def __post_init__(self) -> None:
        choice = partial(choice_for, memory=self.cache / DEVICES, exact=self.exact)
        previews = Previews(lambda name: self._known[name])
        self._networks = LazyNetworks(self._load, choice)
        self.engine = Engine(self._start, self._networks, preview=previews, limits=self.limits)

    def request(self, params: Txt2Img) -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        known = self.registry
        info, schedule = resolve_sampler(params.sampler, params.schedule, samplers=known.samplers, schedules=known.schedules)
        sampler = SamplerFacts(name=info.name, schedule=schedule, options=tuple(info.options))
        checkpoint = choose(find(self.models), params.model, params.model_hash, self._hash, paths=self.paths)
        return resolve(params, model=self._facts(checkpoint), sampler=sampler, random_seed=self.seed)

    def close(self) -> None:
        """End the engine; jobs that have not ended are cancelled."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not KeyboardInterrupt:  # who wants to end at once does not wait for a network call
            self.close()

    def _hash(self, path: Path) -> str:
        return hashes.sha256(path, self.cache / HASHES)

    def _facts(self, checkpoint: Checkpoint) -> ModelFacts:
        """What the file's header says; the weights stay where they are."""
        facts = model_facts(checkpoint, self._hash(checkpoint.path))
        self._known[checkpoint.name] = checkpoint.path
        return facts

    def _start(self, request: Request) -> Sequence[Source]:
        """One generation a picture. Runs in the engine's thread, which loads the model."""
        model = self._describe(request.model)
        device = self._networks.device_of(request.model)
        return [generate(request.picture(index), model, self.registry, device=device) for index in range(request.count)]

    def _describe(self, name: str) -> Model:
        if name not in self._described:
            loaded = load(self._known[name])
            self._fresh = {name: loaded}
            self._described[name] = Model(name=name, spec=loaded.spec, tokenizers=loaded.tokenizers)
        return self._described[name]

    def _load(self, name: str) -> LoadedModel:
        return self._fresh.pop(name, None) or load(self._known[name])


def open_engine(root: Path, *, paths: bool = False, exact: bool = False) -> Service:
    """The service of the models under `root`/models; nothing is loaded before it is needed.

    What is measured and computed once is kept in `root`/cache. `paths` lets a model be named by the path of a file, which only
    the machine's owner may; `exact` computes in float32 on the CPU, whatever else there is.
    """
    return Service(models=root / "models", cache=cache_folder(root), paths=paths, exact=exact)


def cache_folder(root: Path) -> Path:
    """`root`/cache, which git is told to ignore; where it cannot be made, what would be kept there is computed again."""
    folder = root / "cache"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError:
        pass
    return folder


def model_facts(checkpoint: Checkpoint, digest: str = "") -> ModelFacts:
    """A checkpoint's native size and defaults, from its header; `ModelFileError` names the file."""
    header = read_header(checkpoint.path)
    try:
        spec = detect(header)
        defaults = json.loads(header.metadata.get(DEFAULTS_KEY, "{}"))
        scale = float(defaults.get("scale", ModelFacts.scale))
    except ModelFileError as error:
        raise ModelFileError(f"{checkpoint.path.name}: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{checkpoint.path.name}: its {DEFAULTS_KEY} are not JSON of the form {{'scale': 5}}.") from error
    layers = min((tower.layers for tower in spec.text), default=1)
    return ModelFacts(name=checkpoint.name, hash=digest, native_size=spec.native_size, scale=scale, text_layers=layers)
