"""`launch.py txt2img "a red ball"`: pictures from text. Whatever can be refused is refused before torch is imported."""

from __future__ import annotations

import time
from pathlib import Path

from webui.commands import making
from webui.commands.flags import add_flags
from webui.commands.tasks import Kept, parameters_of_task, pictures, read_task
from webui.commands.terminal import Parser
from webui.service.given import among

DESCRIPTION = """Make pictures from a description with the built-in model, or another one.

  launch.py txt2img "a red ball on a wooden table" --count 4 --seed 1

Prints the path of each picture. Ctrl+C ends early and keeps what there is; a second one ends at once."""


def main(arguments: list[str], root: Path) -> int:
    """Carry out the command; returns its exit code."""
    began = time.perf_counter()
    parser = Parser("txt2img", DESCRIPTION)
    cls = parameters_of_task("txt2img", root)
    add_flags(parser, cls, "prompt")
    making.add_options(parser)
    options = parser.read(arguments)
    kept: Kept = {}
    params = read_task(options, cls, "prompt", kept)
    folder, settings = making.output_folder(options, root), making.saving(options)
    outcome = making.run(
        options, root,
        lambda service, bar: making.make(
            service,
            making.Outcome(request=service.request(params, pictures(params, kept)), folder=folder, settings=settings),
            bar, quiet=options.json,
        ),
        among(kept),
    )  # fmt: skip
    return making.report(outcome, time.perf_counter() - began, as_json=options.json)
