"""`launch.py plot "a red ball" --x-type Steps --x-values 5,10,20`: a grid of pictures; other scripts by --script."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from webui.commands import making
from webui.commands.flags import add_flags
from webui.commands.making import Outcome
from webui.commands.tasks import Kept, extensions_of, pictures, read_task
from webui.commands.terminal import STOPPED, Bar, Parser, duration, say, show
from webui.errors import JobError, StorageError, UserError, one_line, quoted, unknown
from webui.params import Parameter, Params, parameters
from webui.request import InputFacts
from webui.scripts import Script
from webui.service.composed import composed_tasks
from webui.service.gallery import read_text, save
from webui.service.given import among
from webui.service.grids import Layout, Size, draw
from webui.service.grids_kept import GONE, NO_PICTURE, form_of, text_of
from webui.service.limits import UserLimits
from webui.service.plots import Form, Planned, planned, turns

if TYPE_CHECKING:
    from webui.service.opening import Service

DESCRIPTION = """Make pictures over up to three parameters, and a grid of them with a legend.

  launch.py plot "a red ball" --x-type Steps --x-values 5,10,20 --y-type "CFG scale" --y-values "3-9 (+2)" --seed 1
  launch.py plot --script prompt_matrix "a ball|red|on a table"
  launch.py plot --script prompts_from_file --lines @prompts.txt

Values: 1,2,3; 1-5; 1-5 (+2); 1-10 [5]; "a, b" is one value. A text that begins with @ names a file that holds it. Prints the path
of each picture, that of the grid last. Ctrl+C ends early, with a grid of what there is."""
DEFAULT = "xyz_plot"
MOST_CELLS = 10_000
LARGEST_FILE = 4_000_000  # bytes of a text that is read from a file


@dataclass(kw_only=True)
class Drawn:
    """What came of a plot so far: the outcomes of its cells by place, and why some have none."""

    made: Planned
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    grid: str = ""
    notices: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def code(self) -> int:
        """The exit code."""
        return STOPPED if self.stopped else making.FAILED if self.failures or self.notices else making.DONE


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    began = time.perf_counter()
    extensions = extensions_of(root)
    script, cls = chosen(arguments, extensions.scripts), composed_tasks(extensions)["txt2img"]
    parser = Parser("plot", DESCRIPTION)
    parser.add_argument("--script", default=DEFAULT, metavar="NAME", help=f"One of: {', '.join(extensions.scripts)}.")
    add_flags(parser, script.params, "")
    add_flags(parser, cls, "prompt", optional=True)
    making.add_options(parser)
    options = parser.read(arguments)
    kept: Kept = {}
    params = read_task(options, cls, "prompt", kept)
    values = read_values(options, script)
    folder = making.output_folder(options, root)
    facts = pictures(params, kept)
    drawn = making.run(
        options, root, lambda service, bar: make_all(service, bar, script, values, params, facts, folder, options), among(kept)
    )
    return report(drawn, time.perf_counter() - began, as_json=options.json)


def chosen(arguments: list[str], scripts: Mapping[str, Script]) -> Script:
    """The script that --script names, whose flags are to be known before any is read."""
    name = DEFAULT
    for at, argument in enumerate(arguments):
        if argument == "--script" and at + 1 < len(arguments):
            name = arguments[at + 1]
        elif argument.startswith("--script="):
            name = argument.partition("=")[2]
    if name not in scripts:
        raise unknown("script", name, scripts)
    return scripts[name]


def read_values(options: argparse.Namespace, script: Script) -> dict[str, str]:
    """The script's own values that were given, as texts; those that name a file are what is in it."""
    known = parameters(script.params)
    given = {name: str(value) for name in known if (value := getattr(options, name)) is not None}
    return {name: _content(known[name], value) if value.startswith("@") else value for name, value in given.items()}


def _content(parameter: Parameter, value: str) -> str:
    path = Path(value.removeprefix("@"))
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UserError(f"{parameter.label}: the file {quoted(str(path))} has more than {LARGEST_FILE:,} bytes.")
        return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not a text in UTF-8"
        raise UserError(f"{parameter.label}: the file {quoted(str(path))} cannot be read ({why}).") from error


def make_all(
    service: Service, bar: Bar, script: Script, values: Mapping[str, str], params: Params,
    facts: Mapping[str, InputFacts], folder: Path, options: argparse.Namespace,
) -> Drawn:  # fmt: skip
    """One cell after the other, those of one model together; one that fails does not keep the rest."""
    limits = UserLimits(cells=MOST_CELLS)
    form = Form(task="txt2img", params=params, resolver=service.resolver, facts=facts, limits=limits)
    made = planned(script, values, form)
    drawn = Drawn(made=made)
    with making.stopping() as stop:
        for number, place in enumerate(turns(made.requests), 1):
            try:
                request = service.resolver.complete(made.requests[place])
                before = f"{number}/{len(made.requests)} "
                outcome = Outcome(request=request, folder=folder, before=before, settings=making.saving(options))
                drawn.outcomes[place] = outcome
                making.make(service, outcome, bar, quiet=options.json, stop=stop)
                if outcome.code not in (None, STOPPED):
                    drawn.failures[place] = " ".join(outcome.notices)
            except (UserError, JobError) as error:
                drawn.failures[place] = str(error)
            if stop.pressed:
                drawn.stopped = True
                break
    bar.show("Drawing the grid ...")
    _keep_grid(drawn, folder)
    bar.clear()
    if drawn.grid and not options.json:
        show(drawn.grid)
    return drawn


def _keep_grid(drawn: Drawn, folder: Path) -> None:
    """Draw and save the grid, where there is to be one; without parts, the cells' files are removed then."""
    plan, layout = drawn.made.plan, Layout.of(drawn.made.plan)
    files = {place: Path(outcome.pictures[0]["path"]) for place, outcome in drawn.outcomes.items() if outcome.pictures}
    if not plan.grid or not files:
        return
    sizes = {place: _size(path) for place, path in files.items()}
    labels = [", ".join(cell.labels) for cell in plan.cells]
    first = min(files)
    try:
        grid = draw(layout, [sizes.get(place) for place in range(len(labels))], labels, _opener(drawn, files))
        text = text_of(read_text(files[first]), layout)
        outcome = drawn.outcomes[first]
        form = form_of(outcome.settings, outcome.request.seed)
        saved = save(folder, np.asarray(grid), outcome.request.seed, text, form=form)
    except (StorageError, UserError) as error:
        drawn.notices.append(str(error))
        return
    drawn.grid = str(saved.path)
    if saved.notice:
        drawn.notices.append(saved.notice)
    elif not plan.parts:
        for outcome in drawn.outcomes.values():
            for picture in outcome.pictures:
                Path(picture["path"]).unlink(missing_ok=True)


def _size(path: Path) -> Size | None:
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        return None


def _opener(drawn: Drawn, files: Mapping[int, Path]) -> Callable[[int], Image.Image | str]:
    def opened(place: int) -> Image.Image | str:
        if place not in files:
            return drawn.failures.get(place, NO_PICTURE)
        try:
            with Image.open(files[place]) as picture:
                return picture.convert("RGB")
        except OSError:
            return GONE

    return opened


def report(drawn: Drawn, seconds: float, *, as_json: bool) -> int:
    """Say how it went; returns the exit code."""
    cells = drawn.made.plan.cells
    failed = [(", ".join(label for label in cells[place].labels if label), why) for place, why in drawn.failures.items()]
    pictures: list[dict[str, Any]] = [each for _, one in sorted(drawn.outcomes.items()) for each in one.pictures]
    for sentence in drawn.notices:
        say(sentence)
    if as_json:
        show(json.dumps({
            "pictures": pictures, "grid": drawn.grid or None, "failed": [{"cell": name, "why": why} for name, why in failed],
            "seconds": round(seconds, 3), "notices": drawn.notices,
        }, ensure_ascii=False))  # fmt: skip
    else:
        say(f"{len(pictures)} pictures of {len(cells)} cells in {duration(seconds)}; {len(failed) or 'none'} failed.")
        for name, why in failed:
            say(one_line(f"  {name}: {why}"))
    return drawn.code
