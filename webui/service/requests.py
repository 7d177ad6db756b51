"""From what a person set to a request with nothing left open; reads names and headers of files, and imports no torch."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

    def __post_init__(self) -> None:
        self._catalogue = Catalogue(self.cache)

    def request(self, params: Txt2Img) -> Request:
        """What `params` mean here: every name known, every default filled in; `UserError` where that cannot be."""
        info, schedule = resolve_sampler(
            params.sampler, params.schedule, samplers=self.sampler_infos, schedules=self.schedule_functions
        )
        sampler = SamplerFacts(name=info.name, schedule=schedule, options=tuple(info.options))
        checkpoint = choose(self.checkpoints(), params.model, params.model_hash, self._hash, paths=self.paths)
        facts = model_facts(checkpoint, self._hash(checkpoint.path), self.cache / PREDICTIONS)
        self._known[checkpoint.name] = checkpoint.path
        return resolve(params, model=facts, sampler=sampler, random_seed=self.seed)

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

    def _hash(self, path: Path) -> str:
        return hashes.sha256(path, self.cache / HASHES)
