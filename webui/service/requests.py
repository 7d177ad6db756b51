"""From what a person set to a request with nothing left open; reads names and headers of files, and imports no torch."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.errors import ModelFileError
from webui.params import Txt2Img
from webui.pipeline.samplers import AUTOMATIC, SAMPLERS, SamplerInfo
from webui.pipeline.samplers import resolve as resolve_sampler
from webui.pipeline.schedules import SCHEDULES, Schedule
from webui.request import Request, SamplerFacts, resolve
from webui.service.catalogue import HASHES, Catalogue, model_facts
from webui.service.checkpoints import Checkpoint, choose, find
from webui.weights import hashes
from webui.weights.settling import PREDICTIONS

RANDOM_SEEDS = 2**32  # as other programs draw them
LARGEST_OPEN = 768  # pixels: the largest side that a model may turn out to be made for


def random_seed() -> int:
    """A seed nobody chose."""
    return random.SystemRandom().randrange(RANDOM_SEEDS)


@dataclass(kw_only=True, eq=False)
class Resolver:
    """Knows the models, samplers and schedules by name. `paths` lets a model be named by the path of a file."""

    models_folder: Path
    cache: Path
    others: Sequence[Path] = ()
    paths: bool = False
    sampler_infos: Mapping[str, SamplerInfo] = field(default_factory=lambda: SAMPLERS)
    schedule_functions: Mapping[str, Schedule] = field(default_factory=lambda: SCHEDULES)
    seed: Callable[[], int] = random_seed
    _catalogue: Catalogue = field(init=False)
    _known: dict[str, Path] = field(default_factory=dict)  # models by the names that requests give them
    _reading: threading.Lock = field(default_factory=threading.Lock)  # so that no file is read by two at once

    def __post_init__(self) -> None:
        self._catalogue = Catalogue(self.cache)

    def request(self, params: Txt2Img) -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        return self.complete(self.outline(params))

    def outline(self, params: Txt2Img) -> Request:
        """What can be said of `params` at once; `UserError` where they cannot be meant.

        A model that was never read whole has no hash yet, and perhaps no size of its own (0): `complete` finds them out.
        """
        info, schedule = resolve_sampler(
            params.sampler, params.schedule, samplers=self.sampler_infos, schedules=self.schedule_functions
        )
        sampler = SamplerFacts(name=info.name, schedule=schedule, options=tuple(info.options))
        checkpoint = choose(self.checkpoints(), params.model, params.model_hash, self._hash, paths=self.paths)
        digest = self.known_hash(checkpoint.path)
        facts = model_facts(checkpoint, digest, self.cache / PREDICTIONS, ask=False)
        self._known[checkpoint.name] = checkpoint.path
        return resolve(params, model=facts, sampler=sampler, random_seed=self.seed)

    def complete(self, request: Request, told: hashes.Told | None = None) -> Request:
        """The request with nothing left open; the first time that reads the model's whole file, of which `told` hears."""
        if is_complete(request):
            return request
        with self._reading:
            path = self.file_of(request)
            digest = request.model_hash or hashes.sha256(path, self.cache / HASHES, told)
            checkpoint = Checkpoint(name=request.model, path=path)
            size = request.width and request.height
            facts = None if size else model_facts(checkpoint, digest, self.cache / PREDICTIONS, ask=True)
        own = 0 if facts is None else facts.native_size
        return replace(request, model_hash=digest, width=request.width or own, height=request.height or own)

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The files there are now."""
        return find(self.models_folder, self.others)

    def path_of(self, name: str) -> Path:
        """The file of a model as a request names it; `ModelFileError` where it is gone."""
        if name not in self._known:
            self._known.update({each.name: each.path for each in self.checkpoints()})
        if name not in self._known or not self._known[name].is_file():
            raise ModelFileError(f"The model {name} is not here any more; put its file back, or choose another one.")
        return self._known[name]

    def file_of(self, request: Request) -> Path:
        """The file a request was resolved with, whatever it is called now; `ModelFileError` where it is gone or was changed."""
        wanted = request.model_hash
        if not wanted:
            return self.path_of(request.model)
        with contextlib.suppress(ModelFileError):
            if self._hash(path := self.path_of(request.model)) == wanted:
                return path
        renamed = next((each.path for each in self.checkpoints() if self._hash(each.path) == wanted), None)
        if renamed is None:
            raise ModelFileError(
                f"The model {request.model} with the hash {wanted[:10]} is not here any more; put its file back, or choose "
                "another one."
            )
        return renamed

    def models(self) -> list[dict[str, Any]]:
        """Every model for people to choose from, the built-in one first; "problem" says why one cannot be used."""
        return self._catalogue.describe(self.checkpoints())

    def samplers(self) -> list[str]:
        """The names of the samplers."""
        return list(self.sampler_infos)

    def schedules(self) -> list[str]:
        """The names of the schedules, the automatic choice first."""
        return [AUTOMATIC, *self.schedule_functions]

    def known_hash(self, path: Path) -> str:
        """A file's hash, "" where it was never read whole."""
        return hashes.known(path, self.cache / HASHES)

    def _hash(self, path: Path) -> str:
        return hashes.sha256(path, self.cache / HASHES)


def is_complete(request: Request) -> bool:
    """Whether nothing is left open that only the model's whole file tells."""
    return bool(request.model_hash and request.width and request.height)


def at_most(request: Request) -> Request:
    """The request as large as it may turn out to be."""
    return replace(request, width=request.width or LARGEST_OPEN, height=request.height or LARGEST_OPEN)
