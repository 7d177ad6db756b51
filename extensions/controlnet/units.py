"""What people set of each ControlNet of a picture: several may steer it at once, each a fold of its own on the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, make_dataclass
from typing import Any

from webui.extension import Moment, Params, Section, UserError, param

UNITS = (1, 2, 3)
FOLDERS = ("ControlNet", "controlnet")
BUILTIN = "builtin"  # the model that ships, and the folder where it is
ESTIMATORS, OWN_ESTIMATOR = ("depth", "midas", BUILTIN), "depth"  # where estimators of depth are, and what that one is called
NONE, EDGES, DEPTH = "None", "Edges", "Depth"
PREPROCESSORS = (NONE, EDGES, DEPTH)
BALANCED, PROMPT, CONTROL = "Balanced", "Prompt", "ControlNet"
MODES = (BALANCED, PROMPT, CONTROL)
CROP, STRETCH, FILL = "Crop and resize", "Just resize", "Resize and fill"  # as pictures to start from are fitted
FITS = (CROP, STRETCH, FILL)
LESS = 0.825  # of each result to the one after it, where the prompt counts for more: ControlNet's own "guess mode"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One ControlNet as it was set; `number` counts from 1, `model` is its file's name, `picture` a SHA-256 or "".

    It works from the part `start` of the way up to the part `end`.
    """

    number: int
    model: str = NONE
    picture: str = ""
    preprocessor: str = NONE
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: str = BALANCED
    fit: str = CROP
    low: float = 100.0
    high: float = 200.0

    @property
    def title(self) -> str:
        """What people know it as."""
        return f"ControlNet {self.number}"

    def works(self, at: Moment, behind: float, *, guided: bool) -> bool:
        """Whether it counts at a moment: in a row that is `guided` by the prompt, or else in that of the negative prompt.

        `behind` is the part of the way that lies behind, which is asked where nobody knows the number of steps.
        """
        place = behind if at.steps is None else at.step / at.steps
        inside = self.start <= place and (place < self.end or self.end >= 1)
        return inside and self.weight != 0 and (guided or self.mode != CONTROL)

    def strengths(self, sites: int) -> list[float]:
        """What each of its results counts for, the finest first: the same, or the less the finer where the prompt counts more."""
        if self.mode == BALANCED:
            return [self.weight] * sites
        return [self.weight * LESS ** (sites - 1 - site) for site in range(sites)]


def sections() -> list[Section]:
    """A section for each unit; a field `weight` of the second is `weight_2`."""
    return [Section(title=f"ControlNet {number}", params=_params(number)) for number in UNITS]


def units_of(values: Mapping[str, Any]) -> Iterator[Unit]:
    """The units that have a ControlNet."""
    for number in UNITS:
        own = {name: values[f"{name}_{number}"] for name in _fields(number) if f"{name}_{number}" in values}
        if own.get("model", NONE).strip().casefold() not in ("", NONE.casefold()):
            yield Unit(number=number, **own)


def _fields(number: int) -> dict[str, tuple[type, Any]]:
    """The fields of a unit, each with its type and its parameter."""
    key = f"ControlNet {number}"
    return {
        "model": (str, param(
            NONE, "ControlNet", infotext=key, choices="ControlNet files",
            help="A file in models/ControlNet that was made for the same family as the model.",
        )),
        "picture": (str, param(
            "", "Picture", picture=True,
            help="What the picture follows: a map such as the ControlNet was made for, or with a preprocessor any picture.",
        )),
        "preprocessor": (str, param(
            NONE, "Preprocessor", one_of=PREPROCESSORS, infotext=f"{key} preprocessor",
            help="What makes a map of the picture. None: it is one already. Edges: white lines on black. Depth: near is bright.",
        )),
        "weight": (float, param(1.0, "Weight", min=0, max=2, step=0.05, infotext=f"{key} weight", help="How much it steers.")),
        "start": (float, param(
            0.0, "Start", min=0, max=1, step=0.01, infotext=f"{key} start", help="The part of the steps that it lets pass first."
        )),
        "end": (float, param(
            1.0, "End", min=0, max=1, step=0.01, infotext=f"{key} end", help="The part of the steps after which it rests."
        )),
        "mode": (str, param(
            BALANCED, "What counts more", one_of=MODES, infotext=f"{key} mode",
            help="Prompt: its finer results count for less. ControlNet: the same, and not beside the negative prompt, so that "
            "guidance scales it too.",
        )),
        "fit": (str, param(
            CROP, "Fit", one_of=FITS, infotext=f"{key} fit",
            help="How its picture is brought to the size of the picture: its middle, all of it stretched, or all of it with its "
            "edges continued.",
        )),
        "low": (float, param(
            100.0, "Edges from", min=0, max=1020, step=1, infotext=f"{key} low",
            help="How steep a weak edge must be, which is drawn where it goes on from a strong one.",
        )),
        "high": (float, param(
            200.0, "Strong edges from", min=0, max=1020, step=1, infotext=f"{key} high",
            help="How steep a strong edge must be; a straight step from black to white is 1020.",
        )),
    }  # fmt: skip


def _params(number: int) -> type[Params]:
    """The parameters of one unit."""

    def check_together(self: Any) -> None:
        start, end = getattr(self, f"start_{number}"), getattr(self, f"end_{number}")
        if start > end:
            raise UserError(f"ControlNet {number} would start at {start:g} of the steps and end at {end:g}; it must start first.")

    made = make_dataclass(
        f"ControlNet{number}", [(f"{name}_{number}", kind, value) for name, (kind, value) in _fields(number).items()],
        bases=(Params,), frozen=True, kw_only=True,
        namespace={"__doc__": f"What ControlNet {number} is set to.", "__module__": __name__, "check_together": check_together},
    )  # fmt: skip
    assert issubclass(made, Params)
    return made
