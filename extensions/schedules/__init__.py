"""Custom schedules: noise levels typed as numbers or drawn as a curve, saved by name, for every sampler.

    14.6, 7.2, 3.1, 1.4, 0.6, 0.2, 0              evenly along the steps
    0:14.6, 0.25:4, 0.7:0.8, 1:0.03, 0            each at its part of the way, as the curve is written

Choose the schedule type Custom, and type below Custom schedule or draw. What is saved as "Evening" is a schedule type of its own,
"Evening (custom)". A picture's job keeps the numbers it was submitted with, whatever becomes of the saved ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webui.extension import (
    Asked,
    Home,
    Panel,
    Params,
    Request,
    Route,
    Schedule,
    Section,
    Submission,
    ends,
    hook,
    param,
)

from .points import LONGEST, along, read
from .saved import removed, saved, stored

CUSTOM = "Custom"
ENDING = " (custom)"  # of the names of those that are saved, which no other schedule has
MOST_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Custom(Params):
    """The noise levels of the schedule type Custom."""

    points: str = param(
        "", "Noise levels", longest=LONGEST, infotext="Custom sigmas", unwritten="", schedule_option=True,
        help="For the schedule type Custom: falling noise levels that end at 0, such as 14.6, 7, 3, 1, 0.3, 0.03, 0; or each "
        "with its part of the way before it, such as 0:14.6, 0.4:3, 1:0.03, 0. They are brought to the number of steps.")

    def check_together(self) -> None:
        """Refuse what is no schedule."""
        if self.points.strip():
            read(self.points)


@hook
def params() -> Sequence[Section]:
    """The field for the numbers."""
    return [Section(title="Custom schedule", params=Custom)]


@hook
def schedules(home: Home) -> Mapping[str, Schedule]:
    """What is typed, and everything that is saved."""
    return {CUSTOM: schedule_of(""), **{name + ENDING: schedule_of(each["points"]) for name, each in saved(home.folder).items()}}


def schedule_of(usual: str) -> Schedule:
    """The schedule through some points; what a job was submitted with stands in their stead."""

    def schedule(n: int, table: Any, *, points: str = "", **_: Any) -> tuple[float, ...]:
        """The levels of `points`, brought to `n` steps, then 0; without any, a line in the logarithm through the model's own."""
        low, high = ends(n, table, None, None)
        return along(read(points or usual or f"{high!r}, {low!r}, 0"), n)

    return schedule


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """The points of those schedules of ours that a job names, for its first and its second pass."""
    request = submission.request
    names = {request.schedule, request.hires.get("schedule", "")}
    found = {name + ENDING: each["points"] for name, each in saved(submission.home.folder).items() if name + ENDING in names}
    if CUSTOM in names and submission.values["points"].strip():
        found[CUSTOM] = submission.values["points"]
    return {"schedules": {name: {"points": points} for name, points in found.items()}} if found else None


@hook
def metadata(request: Request, values: Mapping[str, Any], noted: Mapping[str, Any]) -> Mapping[str, str]:
    """The numbers of schedules that were saved, which may be others one day; those that were typed are told as parameters."""
    del request, values
    own = [each["points"] for name, each in noted.get("schedules", {}).items() if name != CUSTOM]
    return {"Saved sigmas": " / ".join(own)} if own else {}


@hook
def panels() -> Sequence[Panel]:
    """The curve, where the settings are."""
    return [Panel(place="settings", element="schedules-curve", title="Draw a custom schedule")]


@hook
def routes() -> Sequence[Route]:
    """What the curve asks."""
    return [
        Route(path="saved", answer=listed),
        Route(path="look", answer=looked),
        Route(path="save", answer=save, method="POST"),
        Route(path="remove", answer=remove, method="POST"),
    ]


def listed(asked: Asked) -> list[dict[str, Any]]:
    """Those that are saved, and whether who asks may replace and remove them."""
    return [
        {"name": name, "schedule": name + ENDING, "points": each["points"], "own": asked.is_owner or each["user"] == asked.user}
        for name, each in saved(asked.home.folder).items()
    ]


def looked(asked: Asked) -> dict[str, Any]:
    """What a text means: its points, and the levels of a number of steps."""
    curve = read(asked.query.get("points", ""))
    steps = asked.query.get("steps", "")
    n = int(steps) if steps.isdecimal() and len(steps) < 5 else len(curve.sigmas)
    return {
        "places": curve.places, "sigmas": curve.sigmas, "text": curve.text,
        "levels": along(curve, min(max(n, 1), MOST_STEPS)),
    }  # fmt: skip


def save(asked: Asked) -> list[dict[str, Any]]:
    """Save points under a name, which is a schedule type from then on."""
    body = asked.body if isinstance(asked.body, dict) else {}
    stored(asked.home.folder, body.get("name"), body.get("points"), asked.user, is_owner=asked.is_owner)
    asked.home.refresh()
    return listed(asked)


def remove(asked: Asked) -> list[dict[str, Any]]:
    """Remove what is saved under a name."""
    body = asked.body if isinstance(asked.body, dict) else {}
    removed(asked.home.folder, body.get("name"), asked.user, is_owner=asked.is_owner)
    asked.home.refresh()
    return listed(asked)
