"""Inspector: what the model does while it makes a picture, for who wants to see it and for who teaches it.

A job with "Inspect" takes down of each of its steps what the network was given, the noise it saw in it and the clean picture it
guessed; where each word of the prompt looks; how hard the prompt pulls; and where on the schedule the step is. The tab Inspector
shows it, while the job runs and afterwards. The picture is the same to the bit. Each step that is kept costs one more row of the
network, and a look through the decoder where that is wanted.

Records are kept in the extension's own folder, and go when there is no more room for them: those first that nobody looked at for
longest. They are shown to whom the picture belongs, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from webui.extension import Denoise, Home, Job, Panel, Params, Request, Route, Section, Submission, Tab, hook, param

from .answers import routes_of
from .keys import key_in, new_record
from .store import Store

TITLE = "Inspector"
MEBIBYTE = 2**20
TASKS = ("txt2img", "img2img", "inpaint", "depth")


@dataclass(frozen=True, kw_only=True)
class Inspected(Params):
    """What is taken down of a picture."""

    inspect: bool = param(
        False, "Inspect", help="Take down what the model does in each step; the tab Inspector shows it. The picture is the same.")
    decode: bool = param(
        True, "Decode every step", help="Sharp pictures of what the model guesses, by its decoder; without it rough and quick.")
    most: int = param(
        24, "Steps to keep", min=2, max=100, step=1, help="Of more steps than this, evenly spaced ones are kept.")


@dataclass(frozen=True, kw_only=True)
class Kept(Params):
    """How much is kept."""

    room: int = param(
        512, "Room for records", min=1, max=1_000_000, step=1, help="In MiB. What nobody looked at for longest goes first.")


@cache
def store(folder: Path) -> Store:
    """The records below an extension's folder: one for all hooks."""
    return Store(folder / "records", 2**62)


@hook
def settings() -> type[Params]:
    """How much is kept."""
    return Kept


@hook
def params() -> Sequence[Section]:
    """What a job can be asked to take down."""
    return [Section(title=TITLE, params=Inspected, tasks=TASKS)]


@hook
def tabs() -> Sequence[Tab]:
    """Where it is shown."""
    return [Tab(name="inspector", title=TITLE, element="inspector-tab")]


@hook
def panels() -> Sequence[Panel]:
    """The way there from a picture."""
    return [Panel(place="picture details", element="inspector-open")]


@hook
def routes(home: Home) -> Sequence[Route]:
    """Where the page gets it from."""
    return routes_of(limited(home))


@hook
def resolve(submission: Submission) -> Mapping[str, Any] | None:
    """A name for the job's records, which only its request holds; and the task, for pictures within it may have another."""
    if not submission.values.get("inspect"):
        return None
    return {"record": new_record(), "task": submission.request.task}


@hook
def denoiser(job: Job, denoise: Denoise) -> Denoise:
    """The denoiser, watched where that was asked for."""
    if "record" not in job.noted or job.request.task != job.noted.get("task"):
        return denoise
    from .recording import recorded

    return recorded(job, denoise, limited(job.home))


@hook
def picture_saved(home: Home, request: Request) -> None:
    """A picture that was inspected is in the gallery, so its record stays."""
    key = key_in(request.to_dict())
    if key is not None:
        limited(home).keep(key)


@hook
def unloaded(home: Home) -> None:
    """No job holds the inspector any more, so a record without a picture will never have one."""
    limited(home).sweep()


def limited(home: Home) -> Store:
    """The records, with the room that an owner gives them now."""
    found = store(home.folder)
    found.limit(int(home.settings.get("room", Kept().room)) * MEBIBYTE)
    return found
