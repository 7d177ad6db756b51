"""Parts of a finished picture drawn again, each by itself and larger, so that small things have as much detail as large ones.

Where those parts are, a detector says: "Mask" takes the white parts of a picture that is brought, each by itself; "Nearest" what
is nearest to the viewer, by an estimator of depth in models/depth, or the one that ships. Further extensions may add detectors,
which are then there by their names. What is drawn again is inpainted: by the same model, with the picture's own prompt or another
one, in which a tag counts that the picture's own has too. Extensions with settings of their own take no part in it: those are
meant for the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.extension import Ask, Job, Params, Picture, Section, Submission, UserError, hook, param

NONE, MASK, NEAREST = "None", "Mask", "Nearest"
NETWORK = "nearest"  # before a colon in the names of this extension's networks
ESTIMATORS, OWN_ESTIMATOR = ("depth", "midas", "builtin"), "depth"  # where estimators are, and what the one that ships is called


@dataclass(frozen=True, kw_only=True)
class Detailer(Params):
    """What is found in a finished picture, and how it is drawn again."""

    detector: str = param(
        NONE, "Find by", choices="detectors", infotext="Detailer",
        help="What finds the parts to draw again: Mask, a picture whose white parts they are; Nearest, what is nearest to the "
        "viewer; or what further extensions find.")
    mask: str = param("", "Mask", picture=True, help="For Mask: white is drawn again, each white part by itself.")
    prompt: str = param(
        "", "Prompt for the parts", longest=20_000, infotext="Detailer prompt", help="Empty: the picture's own.")
    negative: str = param(
        "", "Negative prompt for the parts", longest=20_000, infotext="Detailer negative prompt",
        help="Empty: the picture's own.")
    strength: float = param(
        0.4, "Strength for the parts", min=0, max=1, step=0.01, infotext="Detailer strength",
        help="How much of each part is made anew.")
    confidence: float = param(
        0.3, "Least confidence", min=0, max=1, step=0.01, infotext="Detailer confidence",
        help="How sure a detector must be of a part.")
    most: int = param(
        4, "Most parts", min=1, max=32, step=1, infotext="Detailer parts", help="The best or largest ones, one after the other.")
    smallest: float = param(
        0.2, "Smallest part", min=0, max=100, step=0.1, infotext="Detailer smallest", help="In percent of the picture's area.")
    grow: int = param(
        4, "Grow by", min=0, max=256, step=1, infotext="Detailer grow", help="Pixels by which each part is made larger first.")
    blur: int = param(
        4, "Blur by", min=0, max=64, step=1, infotext="Detailer blur", help="How softly each part goes over into the picture.")
    padding: int = param(
        32, "Surroundings", min=0, max=256, step=1, infotext="Detailer padding",
        help="Pixels around each part that are seen while it is drawn.")
    size: int | None = param(
        None, "Size of the parts", min=64, max=2048, step=8, unset="as the picture", infotext="Detailer size",
        help="The sides, in pixels, of the square at which each part is drawn.")
    steps: int | None = param(
        None, "Steps for the parts", min=1, max=150, step=1, unset="as the picture", infotext="Detailer steps",
        help="As many are taken as the strength says of them.")


@hook
def params() -> Sequence[Section]:
    """One fold."""
    return [Section(title="Detailer", params=Detailer)]


@hook
def networks() -> Mapping[str, Callable[[str], Any]]:
    """Estimators of depth, by the paths of their files."""
    return {NETWORK: estimator_at}


def estimator_at(path: str) -> Any:
    """The estimator of depth of a file or folder."""
    from webui.extension import open_estimator

    return open_estimator(Path(path))


@hook
def detectors() -> Mapping[str, Callable[[Job, Picture], Generator[Ask, Any, Any]]]:
    """The two that come with this extension."""
    return {MASK: masked, NEAREST: nearest}


def masked(job: Job, picture: Picture) -> Generator[Ask, Any, Any]:
    """The white parts of the mask that was brought, the largest first."""
    from .regions import parts_of_mask

    yield from ()
    return parts_of_mask(job.pictures["mask"], picture.pixels)


def nearest(job: Job, picture: Picture) -> Generator[Ask, Any, Any]:
    """What is nearest to the viewer, the largest part first."""
    from .regions import nearest_parts

    told = job.noted.get("estimator") or noted_estimator(job.files)
    path = job.files.found(ESTIMATORS, told["name"], told["sha256"])
    return (yield from nearest_parts(picture.pixels, job.network_of(f"{NETWORK}:{path}")))


def noted_estimator(files: Any) -> dict[str, str]:
    """The first estimator of depth in models/depth, or the one that ships, with its hash; `UserError` where there is none."""
    name = next(iter(sorted(files.names(ESTIMATORS[:-1]))), OWN_ESTIMATOR)
    return {"name": name, "sha256": files.sha256(files.find(ESTIMATORS, name))}


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """The estimator that will be asked; `UserError` where what is to be found cannot be."""
    detector = submission.values["detector"]
    if detector == MASK and not submission.values["mask"]:
        raise UserError("The detailer has no mask; bring one, or choose another way to find what is drawn again.")
    return {"estimator": noted_estimator(submission.files)} if detector == NEAREST else None


@hook
def finish(job: Job, picture: Picture) -> Generator[Ask, Any, Picture]:
    """The picture with its parts drawn again."""
    if job.values["detector"] == NONE:
        return picture
    from .drawing import redrawn

    return (yield from redrawn(job, picture))
