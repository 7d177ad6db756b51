"""Depth estimators and upscalers: which there are, which a request means, and where a request's is now."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from webui.errors import JobError, ModelFileError
from webui.params import AUTOMATIC, NONE
from webui.request import FileFacts, InputFacts, ModelFacts, Request
from webui.service import estimators, upscalers
from webui.service.checkpoints import Checkpoint
from webui.tasks import LANCZOS, LATENT_UPSCALES, OWN_ESTIMATOR, Depth, Extras
from webui.weights import hashes
from webui.weights.folders import weight_files

FIELDS = ("estimator", "upscaler", "upscaler_2")  # of a request
WITHOUT_FILE = ("", OWN_ESTIMATOR, *upscalers.PLAIN, *LATENT_UPSCALES)
REGISTERED = "registered"  # in place of a file's hash, for a function that an extension brought
HashOf = Callable[[Path, "hashes.Told | None"], str]
Functions = Mapping[str, Callable[..., Any]]
"""By name: from `picture` [3, H, W] in [0, 1] to a map [H, W], near is large, or to a larger picture [3, s H, s W]."""


@dataclass(frozen=True, kw_only=True)
class FurtherNetworks:
    """The networks beside models under the folder `models`; `hash_of` reads a file whole where it must, `known` never does.

    `more_estimators` and `more_upscalers` were registered by extensions; a file or folder of the same name goes before.
    """

    models: Path
    others: Sequence[Path]
    hash_of: HashOf
    known: Callable[[Path], str]
    more_estimators: Functions = field(default_factory=dict)
    more_upscalers: Functions = field(default_factory=dict)

    def estimators(self) -> tuple[Checkpoint, ...]:
        """The depth estimators there are now, besides those inside models."""
        return estimators.find(self.models, self.others)

    def upscalers(self) -> tuple[Checkpoint, ...]:
        """The upscalers' files there are now."""
        return upscalers.find(self.models, self.others)

    def estimator_names(self, *, own: bool) -> list[str]:
        """What can be chosen as an estimator; `own` where some model has one inside."""
        files = (each.name for each in self.estimators())
        return list(dict.fromkeys([AUTOMATIC, NONE, *([OWN_ESTIMATOR] if own else []), *files, *self.more_estimators]))

    def upscaler_names(self) -> list[str]:
        """What can be chosen as an upscaler."""
        files = (each.name for each in self.upscalers())
        return list(dict.fromkeys([NONE, *upscalers.PLAIN, *files, *self.more_upscalers]))

    def hires_upscaler_names(self) -> list[str]:
        """What can enlarge a picture before its second pass; None is no second pass."""
        none, *others = self.upscaler_names()
        return [none, *LATENT_UPSCALES, *others]

    def estimator(self, params: Depth, model: ModelFacts, inputs: Mapping[str, InputFacts]) -> FileFacts:
        """The estimator that makes a task's map: none where the map is given, or there is no picture to make one of."""
        if "depth" in inputs or "picture" not in inputs:
            return FileFacts()
        return self._facts(estimators.choose(params.estimator, model, self.estimators(), self.more_estimators))

    def pair(self, params: Extras) -> tuple[FileFacts, FileFacts]:
        """The first and the second upscaler; the second is none where nothing of it would be seen."""
        there, more = self.upscalers(), self.more_upscalers
        first = upscalers.choose(params.upscaler, there, more) or LANCZOS
        second = upscalers.choose(params.upscaler_2, there, more) if params.visibility_2 else ""
        return self._facts(first), self._facts(second)

    def hires_upscaler(self, name: str) -> FileFacts:
        """What enlarges a picture before its second pass, by its name."""
        plain = (*LATENT_UPSCALES, *upscalers.PLAIN)
        return self._facts(upscalers.choose(name, self.upscalers(), self.more_upscalers, plain))

    def complete(self, request: Request, told: hashes.Told | None) -> Request:
        """The request with the hashes of its networks; the first time that reads whole files, of which `told` hears."""
        files = {each: weights_of(self.path(request, each)) for each in unhashed(request)}
        found: dict[str, Any] = {f"{each}_hash": self.hash_of(path, told) for each, path in files.items()}
        return replace(request, **found) if found else request

    def function(self, request: Request, field: str = "estimator") -> Callable[..., Any] | None:
        """What an extension registered as a request's `estimator`, `upscaler` or `upscaler_2`; None where it names a file.

        `JobError` where nobody registers it any more.
        """
        if getattr(request, f"{field}_hash") != REGISTERED:
            return None
        name, known = getattr(request, field), self.more_estimators if field == "estimator" else self.more_upscalers
        if name not in known:
            raise JobError(f"The extension that brought {name} is not here any more; put it back, or choose another one.")
        return known[name]

    def path(self, request: Request, field: str = "estimator") -> Path:
        """The file or folder of a request's `estimator`, `upscaler` or `upscaler_2`, whatever it is called now.

        `ModelFileError` where it is gone or was changed. The estimator inside a model has none of its own.
        """
        name, wanted = getattr(request, field), getattr(request, f"{field}_hash")
        there = self.estimators() if field == "estimator" else self.upscalers()
        for each in sorted(there, key=lambda each: each.name != name):  # its own name first
            with contextlib.suppress(ModelFileError):  # one that cannot be read is not the one
                if self.hash_of(weights_of(each.path), None) == wanted if wanted else each.name == name:
                    return each.path
        kind = "depth estimator" if field == "estimator" else "upscaler"
        hashed = f" with the hash {wanted[:10]}" if wanted else ""
        raise ModelFileError(f"The {kind} {name}{hashed} is not here any more; put its file back, or choose another one.")

    def shown(self, there: Sequence[Checkpoint]) -> list[dict[str, Any]]:
        """Names, paths and known hashes, for lists."""
        return [{"name": each.name, "hash": self._facts(each).hash, "folder": each.path.is_dir()} for each in there]

    def _facts(self, chosen: Checkpoint | str) -> FileFacts:
        if isinstance(chosen, str):
            plain = chosen in WITHOUT_FILE
            return FileFacts(name=chosen, hash="" if plain else REGISTERED)
        with contextlib.suppress(ModelFileError):
            return FileFacts(name=chosen.name, hash=self.known(weights_of(chosen.path)))
        return FileFacts(name=chosen.name)


def unhashed(request: Request) -> list[str]:
    """The fields of a request that name a file whose hash is not known yet."""
    return [each for each in FIELDS if getattr(request, each) not in WITHOUT_FILE and not getattr(request, f"{each}_hash")]


def weights_of(path: Path) -> Path:
    """The file by whose hash a network is known: itself, or the (first) one with a folder's weights that would be loaded.

    `ModelFileError` where a folder has none.
    """
    return weight_files(path, path)[0] if path.is_dir() else path
