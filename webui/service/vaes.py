"""Which autoencoder a request means: a file by its name or hash, the one beside the model, or the model's own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from webui.drawing import Drawing
from webui.errors import ModelFileError, unknown
from webui.params import AUTOMATIC, NONE
from webui.request import FileFacts
from webui.service.checkpoints import Checkpoint, sayable
from webui.weights.vae_files import vae_beside

HashOf = Callable[[Path], str]


def beside(model: Path) -> Checkpoint | None:
    """The file beside a model that has its name and holds an autoencoder."""
    found = vae_beside(model)
    return None if found is None else Checkpoint(name=sayable(found.name), path=found)


def choose(
    params: Drawing, model: Checkpoint, own: str | None, vaes: Sequence[Checkpoint], hash_of: HashOf
) -> Checkpoint | None:
    """The VAE that `params` mean for a model, `own` being what an owner chose for it; None is the model's own.

    A hash counts more than a name, for that is only what the file was called elsewhere. `UserError` where there is no such file.
    """
    near = beside(model.path)
    name = params.vae if not is_automatic(params.vae) or own is None else own
    if digits := (params.vae_hash or "").strip().casefold():
        for each in (*vaes, *([near] if near else [])):
            with contextlib.suppress(ModelFileError):
                if hash_of(each.path).startswith(digits):
                    return each
    if is_automatic(name):
        return near
    if name.strip().casefold() == NONE.casefold():
        return None
    found = by_name(name, (*vaes, *([near] if near else [])))
    if found is None:
        raise unknown("VAE", name, [AUTOMATIC, NONE, *(each.name for each in vaes)])
    return found


def by_name(name: str, vaes: Sequence[Checkpoint]) -> Checkpoint | None:
    """The first file that a name means: its own, else without folder, else without ending; case does not matter."""
    wanted = name.strip().casefold()
    forms = [(each, (each.name, each.path.name, each.path.stem)) for each in vaes]
    return next((each for form in range(3) for each, names in forms if names[form].casefold() == wanted), None)


def is_automatic(name: str) -> bool:
    """Whether the choice is left to the model."""
    return name.strip().casefold() == AUTOMATIC.casefold()


def facts(vae: Checkpoint | None, known_hash: HashOf) -> FileFacts:
    """What a request says of a VAE."""
    return FileFacts() if vae is None else FileFacts(name=vae.name, hash=known_hash(vae.path))
