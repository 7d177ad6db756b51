"""Which depth estimator a request means: the one inside its model, the one that ships, or one of a folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from webui.errors import UserError, unknown
from webui.params import AUTOMATIC, NONE
from webui.request import ModelFacts
from webui.service.checkpoints import BUILTIN, Checkpoint, find_networks
from webui.service.vaes import by_name
from webui.tasks import OWN_ESTIMATOR

FOLDERS = ("depth", "midas")  # under models/; the second is what other programs call it
BUILTIN_FILE = Path("builtin") / "depth.safetensors"
RESERVED = (AUTOMATIC, NONE, OWN_ESTIMATOR)


def find(models: Path, others: Sequence[Path] = ()) -> tuple[Checkpoint, ...]:
    """The estimators there are, the one that ships first."""
    return find_networks(models, others, FOLDERS, {BUILTIN: models / BUILTIN_FILE}, reserved=RESERVED)


def choose(name: str, model: ModelFacts, there: Sequence[Checkpoint], more: Collection[str] = ()) -> Checkpoint | str:
    """The estimator that a name means for a model: a file or folder, the name of one of `more`, `OWN_ESTIMATOR`, or "" for none.

    `UserError` where there is no such one, or none at all.
    """
    wanted = name.strip().casefold()
    if wanted in ("", NONE.casefold()):
        return ""
    if wanted == OWN_ESTIMATOR.casefold():
        if not model.own_estimator:
            raise UserError(f"The model {model.name} has no depth estimator of its own; choose another one, or {AUTOMATIC}.")
        return OWN_ESTIMATOR
    if wanted == AUTOMATIC.casefold():
        return _suited(model, there)
    found = by_name(name, there) or next((each for each in more if each.casefold() == wanted), None)
    if found is None:
        raise unknown("depth estimator", name, [*RESERVED, *(each.name for each in there), *more])
    return found


def _suited(model: ModelFacts, there: Sequence[Checkpoint]) -> Checkpoint | str:
    if model.own_estimator:
        return OWN_ESTIMATOR
    builtin = next((each for each in there if each.name == BUILTIN), None)
    if builtin is not None and model.name == BUILTIN:
        return builtin
    found = next((each for each in there if each is not builtin), builtin)
    if found is None:
        raise UserError(
            f"There is no depth estimator here: put one into models/{FOLDERS[0]}, give a depth map, or choose {NONE} to draw "
            "without a map."
        )
    return found
