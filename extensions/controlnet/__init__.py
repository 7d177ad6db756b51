"""ControlNets: a picture follows another one, by a network that was trained to steer a model with such maps.

Put a ControlNet into models/ControlNet (published files for Stable Diffusion 1, 2 and XL, as safetensors or pickles), bring a
picture to one of the folds "ControlNet 1" to "3" and name the file there. The picture is a map as the ControlNet was made for it
(lines, depth, a pose), or any picture with a preprocessor that makes one. Several add up. In the second pass of hires fix the map
is made again at its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from webui.extension import ChangeRow, Job, Section, Submission, UserError, hook, quoted

from .units import BUILTIN, DEPTH, ESTIMATORS, FOLDERS, OWN_ESTIMATOR, Unit, sections, units_of


@hook
def params() -> Sequence[Section]:
    """A fold for each ControlNet."""
    return sections()


@hook
def networks() -> Mapping[str, Callable[[str], Any]]:
    """ControlNets and estimators of depth, by the paths of their files."""
    return {"controlnet": controlnet_at, "depth": estimator_at}


def controlnet_at(path: str) -> Any:
    """The ControlNet of a file."""
    from webui.extension import open_controlnet

    return open_controlnet(Path(path))


def estimator_at(path: str) -> Any:
    """The estimator of depth of a file or folder."""
    from webui.extension import open_estimator

    return open_estimator(Path(path))


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """The files that are meant, by their hashes; `UserError` where a picture is missing."""
    units = list(units_of(submission.values))
    return {str(unit.number): noted(unit, submission) for unit in units} or None


def noted(unit: Unit, submission: Submission) -> dict[str, str]:
    """What is kept of one unit: its file's name and hash, and those of the estimator, if it needs one."""
    files = submission.files
    path = files.find(FOLDERS, unit.model)
    if not unit.picture:
        raise UserError(f"{unit.title} has no picture to follow; bring one to {quoted(unit.title)}, or leave its file out.")
    found = {"name": unit.model.strip(), "sha256": files.sha256(path)}
    if unit.preprocessor == DEPTH:
        name = estimator(submission)
        found |= {"estimator": name, "estimator_sha256": files.sha256(files.find(ESTIMATORS, name))}
    return found


def estimator(submission: Submission) -> str:
    """The name of the estimator of depth: beside the model that ships its own, else the first of models/depth."""
    there = sorted(name for name in submission.files.names(ESTIMATORS[:-1]) if submission.request.model != BUILTIN)
    return there[0] if there else OWN_ESTIMATOR


@hook
def metadata(noted: Mapping[str, Any]) -> Mapping[str, str]:
    """The hashes of the files."""
    known = {told["name"]: told["sha256"][:10] for told in noted.values() if isinstance(told, Mapping) and "sha256" in told}
    return {"ControlNet hashes": ", ".join(f"{name}: {digest}" for name, digest in known.items())} if known else {}


@hook
def rows(job: Job) -> ChangeRow | None:
    """What steers each row of a pass."""
    from .steering import controls, steered

    units = list(units_of(job.values))
    return steered(job, controls(job, units, job.noted)) if units else None
